"""A wrong study gets one sentence: what was given, what is allowed and what to do, before anything is asked."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model
from many_counters import counters, findings, initials, study
from refusing import refused
from studied import UNITS, bits, head, ones, planted, study_of
from torch import nn

from probe import Concept, Readout, Study
from probe.evidence import Network, Range, Rule, measurement
from probe.questions import Question
from probe.studies.prepare import prepare
from probe.subjects.alphabet import at_lengths

WEIGHT, BIAS = head()
X = bits(12)


def small(kind: str = "GRU", seed: int = 0, inputs: int = 1, units: int = UNITS) -> Any:
    """Return an untrained network."""
    torch.manual_seed(seed)
    return getattr(nn, kind)(inputs, units, batch_first=True)


def around(rnn: nn.RNNBase) -> Model:
    """Return a network around a layer, whose inputs only it knows."""
    return Model(lambda m, x: m.rnn(x)[0], rnn=rnn)


COMBINED = [Readout("ones", weight=WEIGHT, bias=BIAS, combine=f) for f in (lambda *_: 1 / 0, lambda a, b, c: a[:1])]
#: Parts of studies, each of which fits nothing.
WRONG: dict[str, list[dict[str, Any]]] = {
    "concepts": [
        {"concepts": {}},
        {"concepts": {"ones": np.ones((12, 7))}},
        {"concepts": {"ones": np.ones(12)}},
        {"concepts": {"ones": torch.ones(12)}},
        {"concepts": {"ones": np.ones((8, 12))}},
        {"concepts": {"ones": [["a", "b"][: 1 + row % 2] for row in range(12)]}},
        {"concepts": {"ones": Concept([["a", "b"][: 1 + row % 2] for row in range(12)])}},
        {"concepts": {"ones": torch.ones(12, 8, device="meta")}},
        {"concepts": {"ones": np.where(X[:, :, 0] > 0, np.inf, 0)}},
        {"concepts": {"ones": Concept(np.full((12, 8), "a"), "numeric")}},
        {"concepts": {"ones": Concept(np.arange(96.0).reshape(12, 8), "categorical")}},
        {"concepts": {"ones": lambda x: 1 / 0}},
        {"concepts": {"ones": lambda x: x[:3, 0]}},
        {"concepts": {"ones": lambda x: [None] * len(x)}},
        {"concepts": {"ones": np.ones((12, 8), complex)}},
        *({"concepts": {"ones": one}} for one in (3, "ones.npy", None, {"a": 1}, [1, 2, 3], Concept(3))),
    ],
    "inputs": [
        {"inputs": np.where(X > 2, 0, np.nan)},
        {"inputs": X[:, :, 0]},
        {"inputs": np.zeros((12, 8, 3))},
        {"inputs": "no/such/inputs.npy"},
        {"inputs": torch.zeros(12, 8, 1, device="meta")},
        {"lengths": torch.ones(12, device="meta")},
        {"lengths": np.ones(11, int)},
        {"lengths": np.full(12, 9)},
        {"lengths": np.full(12, 0)},
        *({"fixed_inputs": one} for one in ([[1.0, 2.0]], {"": [0]}, {3: [0]}, {"rest": ["a"]}, {"rest": [np.nan]})),
    ],
    "readouts": [
        {"readout": Readout("ons", weight=WEIGHT)},
        {"readout": Readout("ones", weight=WEIGHT.T)},
        {"readout": Readout("ones", weight=WEIGHT, bias=BIAS[:3])},
        {"readout": Readout("ones", weight="head.weight")},
        {"readout": Readout("ones", weight=WEIGHT[:2])},
        {"readout": Readout("ones", weight=WEIGHT, answers=[0, 1])},
        {"readout": Readout("ones", weight=WEIGHT, kind="number")},
        {"readout": Readout("ones", function=lambda h: 1 / 0)},
        {"readout": Readout("ones", weight=WEIGHT, layer="[3]")},
        {"readout": Readout("ones", function=lambda h: "yes")},
        *({"readout": one, "concepts": {"ones": X[..., 0].cumsum(1)}} for one in COMBINED),
        *({"readout": Readout("ones", weight=one)} for one in (nn.Linear(6, 9), lambda h: h)),
        {"readout": Readout("ones", weight=WEIGHT, bias={})},
        # A number and a logit would give other answers.
        {"readout": Readout("ones", weight=WEIGHT[:1]), "concepts": {"ones": lambda x: np.cumsum(x[:, 0]) % 2}},
    ],
    "settings": [
        {"layer": ["[1]"]},
        {"name": "rnn"},
        {"seed": -1},
        {"programs": {"p": 3}},
        {"controls": ["strange"]},
        {"version": True},
        *({"tolerance": one} for one in (-1e-5, float("nan"), float("inf"))),
        {"questions": ["noise-margn"]},
        {"networks": [small(), small(seed=1)], "questions": []},
    ],
    "networks": [
        *({"networks": one} for one in ("no/such.safetensors", 3, [], [small(), 3], {"trained": "nowhere/*.pt"})),
        {"networks": small().state_dict()},
        # A module of torch is packed; a model around it would read the padding first.
        {
            "networks": around(nn.LSTM(1, 3, bidirectional=True, batch_first=True)),
            "lengths": np.arange(12) % 8 + 1,
            "readout": None,
        },
        {"networks": nn.Linear(1, 6), "readout": None},
        {"networks": nn.LSTM(1, 6), "readout": None},  # time first would mix sequences with steps
        {"networks": {"own initialisation": initials(2)}},
        {"networks": {"trained": [small()], "learned": initials(1)}},
        {"networks": [Network("a", "trained", small()), Network("a", "trained", small(seed=1))]},
        {"networks": [Network("a", "trained", small(), 1), Network("b", "trained", small(seed=1), 1)]},
        {"networks": [Network("a", "trained", small(), 1), Network("b", "own initialisation", small(seed=1), 2)]},
        # Equal states are one training, under whatever names; a control that is the network is none.
        {"networks": [planted(), planted()]},
        {"networks": {"trained": counters(2), "own initialisation": [counters(1)[0], small("LSTM")]}},
        # One verdict is over networks of one kind and size.
        {"networks": [Network("a", "trained", small(), 0), Network("b", "trained", small("LSTM"), 1)]},
        {"networks": [Network("a", "trained", small(), 0), Network("b", "own initialisation", small(units=4), 0)]},
    ],
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("part", WRONG)
def test_what_does_not_fit_is_refused_before_anything_is_asked(part: str, tmp_path: Path) -> None:
    """One sentence names what was given and what would do, and no page is written."""
    for more in WRONG[part]:
        given: dict[str, Any] = {"inputs": X, "networks": planted(), "questions": ["interchange"]} | more
        with refused() as raised:
            study_of(given.pop("networks"), **given).run(tmp_path)
        assert re.fullmatch(r".*[.?)]\s*", str(raised.value))
    assert not (tmp_path / "index.html").exists()


def test_what_is_wrong_by_itself_is_refused_at_once() -> None:
    """Both of weight and function, unknown kinds, and names of questions that lead out of the report."""
    given: list[dict[str, Any]] = [{"function": 3}, {"weight": WEIGHT, "kind": "x"}, {"bias": [1.0]}]
    given += [{"layer": "[0]"}, {"weight": WEIGHT, "function": len}, {"function": len, "transposed": True}]
    for one in given:
        with refused():
            _ = Readout("ones", **one)
    for name in ("", ".", "..", "a/b", "a\\b", " a"):
        with refused():
            _ = Question(name, "?", rows)


def test_one_of_many_networks_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """Another size of input, known before it is run or not, and weights that are no numbers."""
    broken = small("LSTM")
    with torch.no_grad():
        broken.weight_hh_l0[0] = float("nan")
    for wrong in (small("LSTM", inputs=2), around(small("LSTM", inputs=2)), broken):
        good = around(planted()) if isinstance(wrong, Model) else planted()
        for networks in ({"trained": [good, wrong]}, wrong):
            with refused():
                study(networks).run(tmp_path)


def rows(subjects: Any) -> Any:
    """Return a value of each network, and of the one called 1 no number: a question that works."""
    return [measurement("own", "size", one.network, math.nan if one.network.name == "1" else 1.0) for one in subjects]


def fails(_: Any) -> Any:
    """Raise what no study expects."""
    raise ZeroDivisionError("nothing there")


@pytest.mark.parametrize("networks", [planted(), {"trained": counters(2)}], ids=["one", "many"])
def test_a_question_that_fails_stops_the_study(networks: Any, tmp_path: Path) -> None:
    """Its fault is no reason why a network is not asked; the error names it, and keeps the cause."""
    wrong: list[dict[str, Any]] = [
        {"measure": fails},
        {"measure": rows, "needs": (fails,)},
        {"measure": rows, "needs": (lambda _: False,)},
        {"measure": lambda _: None},
        {"measure": lambda _: [{"metric": "a", "step": 1}]},
    ]
    for number, given in enumerate(wrong):
        with refused() as caught:
            study(networks, questions=[Question("own", "?", **given)], controls=()).run(tmp_path)
        assert isinstance(caught.value.__cause__, ZeroDivisionError) or number > 1


def test_a_judged_value_that_is_no_number_is_told(tmp_path: Path) -> None:
    """The network that lacks it does not count, the others are judged."""
    rule = Rule("large", "Large.", "size", "a size", "here", Range.at_least(0.5), Range.below(0.5), needs=2)
    study({"trained": counters(3)}, questions=[Question("own", "?", rows, rules=(rule,))], controls=()).run(tmp_path)
    found = findings(tmp_path)["own"]
    assert [claim.n for claim in found.claims] == [2]
    assert found.notes["missing"].startswith("Not asked of 1 network: its size is undefined")


def still(bias: float = 0) -> nn.RNNBase:
    """Return a plain RNN whose state is the same whatever it reads: all of its weights are zero, and so one bias."""
    network = small("RNN")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.bias_ih_l0.fill_(bias)
    return network


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("networks", [still(), [still(), still(0.5)]], ids=["one", "many"])
def test_where_a_state_decides_nothing_no_part_of_it_is_scored(networks: Any, tmp_path: Path) -> None:
    """The answer is always the same: nothing is asked of what moves it, or of its gates, and the page says why."""
    names = ["unit-shares", "steering", "directions", "ablation"]
    readout = Readout("ones", function=nn.Linear(UNITS, 7))
    page = study(networks, questions=[*names, "routes", "gate-shares"], readout=readout).run(tmp_path)
    for name, found in findings(tmp_path).items():
        assert ("not clearly more often" in found.notes.get("missing", "")) == (name in names)
        assert name == "network" or not [*found.claims, *found.figures]
    assert "not clearly more often than always giving the most frequent answer" in page.render()
    assert "its cell has no gates, so that there is only one way through it." in page.render()


class Off(nn.GRU):
    """A GRU that returns its states a little larger than its weights make them."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return states, (batch, time, unit), and the last ones."""
        states, last = super().forward(input, hx)
        return states * (1 + 3e-4), last * (1 + 3e-4)


@pytest.mark.usefixtures("undrawn")
def test_a_network_that_is_a_little_off_is_asked_what_an_exact_one_is(tmp_path: Path) -> None:
    """Its own output, states in both types of number, answers and controls: no run is refused in the middle."""
    torch.manual_seed(0)
    parts = {"layer": Off(1, 4, batch_first=True), "head": nn.Linear(4, 7)}
    given = Model(lambda m, x: m.head(m.layer(x)[0][:, -1]), **parts), bits(24, 6), {"ones": ones}
    with refused():
        Study(*given).run(tmp_path / "refused")
    page = Study(*given, tolerance=1e-3).run(tmp_path / "taken")
    assert "differ from the network" in page.render()
    found = findings(tmp_path / "taken")
    names = sorted(name for name, finding in found.items() if not finding.measurements.empty)
    exact = "answers best-unit-ones fixed-points gates network one-sequence reading-ones state-space"
    assert " ".join(names) == exact


class Embedded(nn.Module):
    """A network that embeds token ids."""

    def __init__(self, device: str | None = None) -> None:
        super().__init__()
        self.words, self.rnn = nn.Embedding(4, 6, device=device), nn.GRU(6, UNITS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the hidden states."""
        return self.rnn(self.words(x))[0]


def test_numbers_for_an_embedding_are_refused_by_its_name() -> None:
    """One-hot vectors and numbers alone, with what makes ids of them; and weights that hold no numbers."""
    one_hot = np.eye(4)[np.random.default_rng(0).integers(0, 4, (12, 8))]
    for inputs, model in ((one_hot, Embedded()), (X, Embedded()), (one_hot, small(inputs=4).to("meta"))):
        with refused():
            prepare(Study(model, inputs, {"ones": ones}))


def test_what_keeps_other_lengths_from_being_asked_is_said() -> None:
    """The lengths, or how many values the inputs take: not either of the two."""
    many = np.random.default_rng(0).normal(size=(12, 8, 1))
    for given in ({"lengths": np.arange(12) % 8 + 1}, {"inputs": many}):
        (subject,) = prepare(study_of(small(), **({"inputs": X, "readout": None} | given)))
        with refused():
            at_lengths(subject, [3])
