"""Planted studies of networks and their controls: each counts once, each concept is read, each control tells."""

from __future__ import annotations

import copy
import dataclasses
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from many_counters import counters, study
from planted_cases import Planted
from refusing import refused
from studied import UNITS, beside, bits, ones, planted, study_of, without_pictures
from torch import nn

import probe
from probe import Concept, Finding, Study
from probe.evidence import Network
from probe.studies.identity import check_different
from probe.studies.measuring import Progress
from probe.studies.prepare import prepare


def reordered(lstm: Any, seed: int = 0) -> nn.LSTM:
    """Return the same LSTM with its units in another order."""
    order = torch.randperm(lstm.hidden_size, generator=torch.Generator().manual_seed(seed))
    found = copy.deepcopy(lstm)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            blocks = lstm.get_parameter(name).view(4, lstm.hidden_size, -1)[:, order]
            parameter.copy_((blocks[:, :, order] if "hh" in name and "weight" in name else blocks).view_as(parameter))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_network_is_not_its_own_control(seed: int) -> None:
    """It was drawn as torch draws it; no control of it is this draw, and none is another one's."""
    torch.manual_seed(seed)
    network = nn.LSTM(1, UNITS, batch_first=True)
    (subject,) = prepare(study_of(network, seed=seed))
    models = [one.model.state_dict() for one in beside(subject) if one.network.role != "fitted head"]
    assert len(models) == 33
    for one, other in combinations(models, 2):
        assert not torch.equal(one["weight_hh_l0"], other["weight_hh_l0"])


def test_a_draw_that_is_the_network_or_its_initialisation_is_drawn_again() -> None:
    """The network is one that its own controls would have as their first; reordered, it is that one still."""
    (subject,) = prepare(study_of(planted()))
    drawn = [one.model for one in beside(subject)[1:3]]
    given = [
        Network("a", "trained", drawn[0], 0),
        Network("before", "own initialisation", reordered(drawn[1]), 0),
    ]
    trained, *controls = beside(prepare(study_of(given))[0])
    with torch.no_grad():
        states = [
            one.model(trained.x)[0].sort(-1)[0] for one in (trained, *controls) if one.network.role != "fitted head"
        ]
    assert len(states) == 33
    for one, other in combinations(states, 2):
        assert float((one - other).abs().max()) > 1e-3


def test_one_unit_has_no_shuffled_controls() -> None:
    """Its weights have one order alone: all controls have fresh weights."""
    torch.manual_seed(0)
    (subject,) = prepare(Study(nn.LSTM(1, 1, batch_first=True), bits(), {"ones": lambda x: np.cumsum(x[:, 0])}))
    assert sum("fresh weights" in one.network.name for one in beside(subject)) == 32


class Counting(nn.Module):
    """An LSTM and its own head, which answers how many ones there are."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm, self.head = lstm, nn.Linear(lstm.hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one number for each sequence."""
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize("own_head", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_copies_of_one_network_count_once(exact: bool, own_head: bool, tmp_path: Path) -> None:
    """Twelve copies with their units in other orders, or none, are one training."""
    copies: list[Any] = [planted() if exact else reordered(planted(), seed) for seed in range(12)]
    more: dict[str, Any] = {}
    if own_head:
        copies, more = [Counting(one) for one in copies], {"readout": None}
        for one in copies:
            with torch.no_grad():
                one.head.weight.zero_()
                at = one.lstm.weight_hh_l0.abs().sum(0).argmin()
                one.head.weight[0, at], one.head.bias[0] = 10.0, 0.0
    with refused():
        study({"trained": copies}, **more).run(tmp_path)
    assert not (tmp_path / "index.html").exists()


def turned(lstm: Any) -> nn.LSTM:
    """Return the same LSTM with the signs of every second unit turned."""
    found, signs = copy.deepcopy(lstm), torch.tensor([1.0, -1.0]).repeat(UNITS)[:UNITS]
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.view(4, UNITS, -1)[2].mul_(signs[:, None])
            if name.startswith("weight_hh"):
                parameter.mul_(signs)
    return found


def test_a_copy_with_other_signs_is_the_same_network(tmp_path: Path) -> None:
    """Where a layer is read, or its own head turns its weights too; an answer of another sign is another network."""
    with refused():
        study({"trained": [planted(), reordered(turned(planted()))]}).run(tmp_path)
    one, other = Counting(planted()), Counting(turned(planted()))
    with torch.no_grad():
        other.head.weight.copy_(one.head.weight * torch.tensor([1.0, -1.0]).repeat(UNITS)[:UNITS])
        other.head.bias.copy_(one.head.bias)
    with refused():
        study({"trained": [one, other]}, readout=None).run(tmp_path)
    with torch.no_grad():
        other.head.weight.mul_(-1)
    check_different(prepare(study({"trained": [one, other]}, readout=None)))


def test_networks_that_differ_in_one_weight_are_two() -> None:
    """A unit that others read a little more is another network."""
    other = planted()
    with torch.no_grad():
        other.get_parameter("weight_hh_l0")[1, 2] += 0.01
    check_different(prepare(study([planted(), other, *counters(3)])))


def test_a_network_is_no_control_of_itself(tmp_path: Path) -> None:
    """Handed as its own initialisation, or as another role, it is refused, its units in any order."""
    for role in ("own initialisation", "other", "template"):
        given = [Network("a", "trained", planted(), 0), Network("b", role, reordered(planted()), 0)]
        with refused():
            study(given).run(tmp_path)


def test_a_recording_is_no_control_of_itself() -> None:
    """A probe's controls are other networks, and each of them once."""
    x, lstm = torch.tensor(bits()), planted()
    own, again = probe.record(lstm, x), probe.record(reordered(lstm), x)
    ones = x[:, :, 0].cumsum(1)
    with refused():
        probe.linear_probe(own, ones, controls={"before": again})
    drawn = probe.random_weights(lstm, x, count=2)
    with refused():
        probe.linear_probe(own, ones, controls={"a": drawn["fresh weights 1"], "b": drawn["fresh weights 1"]})


def last(x: np.ndarray) -> np.ndarray:
    """Return the last input."""
    return x[:, 0]


def of_two_concepts(count: int) -> Study:
    """Return a study of planted counters that names two concepts, of which their readout answers one."""
    given = {"trained": list(counters(count))}
    questions = ["reading-ones", "reading-last", "single-units", "class-means"]
    concepts = {"ones": ones, "last": last}
    return study(given, 8, inputs=bits(), concepts=concepts, questions=questions)


@pytest.mark.parametrize(
    "case",
    [
        Planted(
            "three counters",
            lambda: of_two_concepts(3),
            says=(
                r"What do 3 networks hold of ones and last\?",
                r"score of “last” is above 0.05 in networks trained so: in 3 of 3",
                r"Some unit follows “ones” within every step: in 3 of 3, median",
                r"a verdict on it needs more of them, mostly ten",
            ),
            never=("undecided", "established", "not specific", r"\bnan\b"),
        ),
        Planted(
            "ten counters",
            lambda: of_two_concepts(10),
            says=(r"Some unit follows “ones” within every step: .*(established|undecided)",),
            never=(
                r"score of “ones” is above 0.05 in networks trained so: [^()]*\([^)]*\) . established",
                r"\bnan\b",
            ),
        ),
    ],
    ids=lambda case: case.name,
)
def test_every_concept_is_read_in_every_network(case: Planted, tmp_path: Path) -> None:
    """Of fewer than ten networks the page counts; a readout's concept is one among the others."""
    case.check(tmp_path)
    table = Finding.read(tmp_path / "findings" / "reading-last").measurements
    networks = table[(table["metric"] == "best_score") & (table["role"] == "trained")]["network"]
    assert len(set(networks)) == len(networks) == int(case.name == "ten counters") * 7 + 3
    assert Finding.read(tmp_path / "findings" / "reading-last").figures


@pytest.mark.parametrize("count", [1, 2])
def test_what_an_older_commit_said_is_not_taken_up(count: int, tmp_path: Path) -> None:
    """Its measurements are; its sentences, verdicts and pictures are made anew, and the page is that of one run."""
    given: Any = planted() if count == 1 else list(counters(count))
    run = study(given, questions=["reading-ones", "single-units", "class-means"])
    with without_pictures():
        run.run(tmp_path)
        page = (tmp_path / "index.html").read_bytes()
        for folder in (tmp_path / "findings").iterdir():
            old = Finding.read(folder)
            said = {name: f"An older sentence. {text}" for name, text in old.notes.items()}
            dataclasses.replace(old, notes=said, claims=(), figures=()).write(folder)
        told = list[Progress]()
        run.run(tmp_path, progress=told.append)
    assert (tmp_path / "index.html").read_bytes() == page
    if count == 1:
        kept = [one.question for one in told if one.state == "kept"]
        assert kept == ["reading-ones", "single-units", "class-means", "network"]


@pytest.mark.parametrize(
    "given",
    [
        3,
        "ones.npy",
        None,
        {"a": 1},
        np.zeros(160),
        [1, 2, 3],
        torch.zeros(160, 8, 1),
        np.zeros((160, 7)),
        Concept(3),
        Concept(Concept(np.zeros((160, 8)))),
    ],
)
def test_a_concept_that_is_none_is_refused_at_once(given: Any) -> None:
    """Before anything runs, with what is allowed."""
    with refused():
        _ = study_of(planted(), concepts={"ones": given})


def test_a_study_prints_what_it_is_in_a_line() -> None:
    """No tensor of its networks, inputs or concepts is written out."""
    one = "Study(LSTM(1, 6, batch_first=True), inputs=ndarray (160, 8, 1), concepts=ones, readout=ones)"
    assert repr(study_of(planted())) == one
    concept = Concept(torch.zeros(160, 8), description="how many")
    many = Study({"trained": list(counters(3))}, torch.zeros(160, 8, 1), {"ones": concept})
    assert repr(many).startswith("Study({'trained': [LSTM(1, 6, batch_first=True), ")
    assert repr(many).endswith("..., inputs=Tensor (160, 8, 1), concepts=ones)")
    assert repr(concept) == "Concept(kind=None, description='how many')"


def test_near_the_ceiling_what_is_left_unexplained_decides() -> None:
    """Beside a control of .95 there is no room for the margin of .05, and an exact counter is better all the same."""
    x = torch.tensor(bits(400))
    exact = probe.record(planted(), x)
    torch.manual_seed(1)
    other = probe.record(nn.LSTM(1, UNITS, batch_first=True), x)
    count, signals = x[:, :, 0].cumsum(1), ["cell_state"]
    (row,) = probe.linear_probe(exact, count, signals=signals, controls={"other": other}).summary.to_dict("records")
    assert 0.95 < row["its score"] < 0.97
    assert 0.02 < row["low"] < row["above"] < 0.05
    assert row["verdict"] == "above every control"
