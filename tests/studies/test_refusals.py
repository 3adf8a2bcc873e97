"""What a study cannot measure: questions that fail, networks that do not fit, states that never change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import answer, ones
from torch import nn

from probe import Finding, ProbeError, Readout, Study
from probe.evidence import Network, Range, Rule, measurement
from probe.questions import Question
from probe.studies.prepare import prepare

BITS = ((np.arange(64)[:, None] >> np.arange(6)) & 1)[:, :, None].astype(np.float32)


def small(kind: str = "GRU", seed: int = 0, inputs: int = 1) -> nn.RNNBase:
    """Return an untrained network of three units."""
    torch.manual_seed(seed)
    return getattr(nn, kind)(inputs, 3, batch_first=True)


def study(networks: Any, *questions: Any, concept: Any = ones, inputs: Any = BITS, scores: int = 7) -> Study:
    """Return a study of a few bits with a random head."""
    torch.manual_seed(2)
    readout = Readout("ones", function=nn.Linear(3, scores))
    return Study(networks, inputs, {"ones": concept}, readout=readout, questions=questions)


def rows(subjects: Any) -> Any:
    """Return a value of each network: a question that works."""
    return [measurement("own", "size", one.network, 1.0) for one in subjects]


def fails(_: Any) -> Any:
    """Raise what no study expects."""
    raise ZeroDivisionError("nothing there")


@pytest.mark.parametrize("networks", [small(), {"trained": [small(), small(seed=1)]}])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"measure": fails}, r"measure of the question 'own' raised ZeroDivisionError \(nothing there, test_"),
        ({"measure": rows, "needs": (fails,)}, r"need of the question 'own' raised ZeroDivisionError"),
        ({"measure": rows, "needs": (lambda _: False,)}, "need of the question 'own' returned False"),
        ({"measure": lambda _: None}, "measure of the question 'own' returned None"),
        ({"measure": lambda _: [{"metric": "a", "step": 1}]}, "rows without role, network and value"),
    ],
)
def test_a_question_that_fails_stops_the_study(networks: Any, parts: Any, message: str, tmp_path: Path) -> None:
    """Its fault is no reason why a network is not asked; the error names it, and keeps the cause."""
    with pytest.raises(ProbeError, match=message) as caught:
        study(networks, Question("own", "?", **parts)).run(tmp_path)
    assert isinstance(caught.value.__cause__, ZeroDivisionError) or "raised" not in message
    assert ("The network '0'" in str(caught.value)) is isinstance(networks, dict)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", " a"])
def test_a_questions_name_is_that_of_a_folder(name: Any) -> None:
    """A name that leads out of the report is refused."""
    with refused():
        Question(name, "?", rows)


class Within(nn.Module):
    """A network whose inputs only it knows."""

    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.rnn = small(inputs=inputs)

    def forward(self, x: Any) -> Any:
        """Return the hidden states."""
        return self.rnn(x)[0]


def test_one_of_many_networks_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """Another size of input, known before it is run or not, and weights that are no numbers."""
    broken: Any = small()
    with torch.no_grad():
        broken.weight_hh_l0[0] = float("nan")
    for wrong in (small(inputs=2), Within(2), broken):
        good = Within() if isinstance(wrong, Within) else small()
        with refused():
            study({"trained": [good, wrong]}, "answers").run(tmp_path)
        with refused():
            study(wrong, "answers").run(tmp_path)


def still(bias: float = 0) -> nn.RNNBase:
    """Return a plain RNN whose state is the same whatever it reads: all of its weights are zero, and so one bias."""
    network: Any = small("RNN")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.bias_ih_l0.fill_(bias)
    return network


@pytest.mark.usefixtures("undrawn")
def test_a_network_whose_state_never_changes_gets_plain_reasons(tmp_path: Path) -> None:
    """Its answer is always the same, so that nothing is asked of what moves it; one network or several."""
    names = ("unit-shares", "steering", "directions", "ablation")
    for networks in (still(), {"trained": [still(), still(0.5)]}):
        folder = tmp_path / type(networks).__name__
        study(networks, *names).run(folder)
        found = {name: Finding.read(folder / "findings" / name) for name in names}
        assert all("not clearly more often" in one.notes["missing"] for one in found.values())


def last(x: np.ndarray) -> np.ndarray:
    """Return each input itself: a task that needs no state."""
    return x[:, 0]


@pytest.mark.parametrize("many", [False, True])
def test_where_the_state_decides_nothing_no_direction_is_scored(many: bool, tmp_path: Path) -> None:
    """The whole state's patch changes no right answer, so that nothing is judged or drawn, and the page says why."""
    networks = {"trained": [small(), small(seed=1)]} if many else small()
    page = study(networks, "directions", concept=last, scores=2).run(tmp_path)
    found = Finding.read(tmp_path / "findings" / "directions")
    assert not found.claims
    assert not found.figures
    assert "not clearly more often than always giving the most frequent answer" in page.render()


def test_a_judged_value_that_is_no_number_is_told(tmp_path: Path) -> None:
    """The network that lacks it does not count, the others are judged."""

    def measure(subjects: Any) -> Any:
        for one in subjects:
            size = float("nan") if one.network.name == "1" else 1.0
            yield measurement("own", "size", one.network, size)

    bounds = Range.at_least(0.5), Range.below(0.5)
    rule = Rule("large", "It is large.", "size", "a size", "here", *bounds, needs=2)
    networks = {"trained": [small(seed=seed) for seed in range(3)]}
    study(networks, Question("own", "?", measure, rules=(rule,))).run(tmp_path)
    found = Finding.read(tmp_path / "findings" / "own")
    assert [claim.n for claim in found.claims] == [2]
    assert found.notes["missing"] == (
        "Not asked of 1 network: its size is undefined, as a share is where the whole of it is 0."
    )


class Reader(nn.Module):
    """A network that embeds tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.rnn = nn.Embedding(2, 3), nn.GRU(3, 3, batch_first=True)

    def forward(self, ids: Any) -> Any:
        """Return the hidden states."""
        return self.rnn(self.embedding(ids))[0]


def test_reduced_models_of_embedded_tokens_are_not_asked_in_few_words() -> None:
    """No vector of the embedding stands in the reason."""
    given = study(Reader(), "reduced-models", inputs=BITS[:, :, 0].astype(int))
    found = answer(given, "reduced-models")
    assert found.notes["answer"] == (
        "Not asked: its layer reads what the network makes of the inputs, such as an embedding, and not the inputs."
    )


@pytest.mark.parametrize(
    ("role", "kind", "units", "said"),
    [
        ("trained", "LSTM", 3, "LSTM of 3 units: 1 network, such as 'b'"),
        ("trained", "GRU", 4, "GRU of 4 units: 1 network, such as 'b'"),
        ("own initialisation", "RNN", 3, r"RNN \(tanh\) of 3 units: 1 network, such as 'b'"),
        ("other", "LSTM", 3, None),
    ],
)
def test_networks_of_one_verdict_are_of_one_kind_and_size(role: str, kind: str, units: int, said: str | None) -> None:
    """Others may stand beside them, in the role that says so."""
    networks = [
        Network("a", "trained", small(), 0),
        Network("b", role, getattr(nn, kind)(1, units, batch_first=True), int(role == "trained")),
    ]
    given = study(networks, "answers")
    if said is None:
        assert len(prepare(replace(given, readout=None))) == 2
        return
    with refused():
        prepare(replace(given, readout=None))


@pytest.mark.parametrize("name", ["routes", "gate-shares"])
def test_a_cell_without_gates_is_not_asked_which_way_through_it(name: str) -> None:
    """A plain RNN has one; its share would be all, and its rule would speak of a gate."""
    found = answer(study(small("RNN")), name)
    assert found.notes["answer"] == "Not asked: its cell has no gates, so that there is only one way through it."
    assert "gates" not in answer(study(small("GRU")), name).notes["answer"]
