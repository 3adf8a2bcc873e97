"""Planted networks and their controls: each counts once, each concept is read, each control tells."""

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
from planted_cases import words_of
from refusing import refused
from studied import UNITS, beside, bits, ones, planted, study_of, without_pictures
from torch import nn

import probe
from probe import Concept, Finding, Study
from probe.evidence import Network
from probe.studies.identity import check_different
from probe.studies.measuring import Progress
from probe.studies.prepare import named, prepare

SIGNS = torch.tensor([1.0, -1.0]).repeat(UNITS)[:UNITS]


def reordered(lstm: Any, seed: int = 0) -> nn.LSTM:
    """Return the same LSTM with its units in another order."""
    order = torch.randperm(lstm.hidden_size, generator=torch.Generator().manual_seed(seed))
    found = copy.deepcopy(lstm)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            blocks = lstm.get_parameter(name).view(4, lstm.hidden_size, -1)[:, order]
            parameter.copy_((blocks[:, :, order] if "hh" in name and "weight" in name else blocks).view_as(parameter))
    return found


def turned(lstm: Any) -> nn.LSTM:
    """Return the same LSTM with the signs of every second unit turned."""
    found = copy.deepcopy(lstm)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.view(4, UNITS, -1)[2].mul_(SIGNS[:, None])
            if name.startswith("weight_hh"):
                parameter.mul_(SIGNS)
    return found


class Counting(nn.Module):
    """An LSTM and its own head, which answers how many ones there are."""

    def __init__(self, lstm: nn.LSTM, signs: torch.Tensor) -> None:
        super().__init__()
        self.lstm, self.head = lstm, nn.Linear(UNITS, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.arange(UNITS) * signs)
            self.head.bias.fill_(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one number for each sequence."""
        return self.head(self.lstm(x)[0][:, -1])


def test_a_draw_that_is_the_network_or_its_initialisation_is_drawn_again() -> None:
    """The network is one that its own controls would have as their first; reordered, it is that one still."""
    (subject,) = prepare(study_of(planted()))
    drawn = [one.model for one in beside(subject)[1:3]]
    given = [Network("a", "trained", drawn[0], 0), Network("before", "own initialisation", reordered(drawn[1]), 0)]
    trained, *controls = beside(prepare(study_of(given))[0])
    models = [one.model for one in (trained, *controls) if one.network.role != "fitted head"]
    with torch.no_grad():
        states = [model(trained.x)[0].sort(-1)[0] for model in models]
    assert len(states) == 33
    for one, other in combinations(states, 2):
        assert float((one - other).abs().max()) > 1e-3
    # The weights of one unit have one order alone: all of its controls have fresh weights.
    (single,) = prepare(Study(nn.LSTM(1, 1, batch_first=True), bits(), {"ones": ones}))
    assert sum("fresh weights" in one.network.name for one in beside(single)) == 32


def test_a_copy_in_another_order_or_with_other_signs_is_the_same_network(tmp_path: Path) -> None:
    """Of a layer, and where its own head turns its weights too; another answer is another network."""
    own = Counting(planted(), torch.ones(UNITS))
    with refused():
        study({"trained": [reordered(planted(), seed) for seed in range(12)]}).run(tmp_path)
    with refused():
        study({"trained": [planted(), reordered(turned(planted()))]}).run(tmp_path)
    with refused():
        study({"trained": [own, Counting(turned(planted()), SIGNS)]}, readout=None).run(tmp_path)
    for role in ("own initialisation", "other", "template"):
        given = [Network("a", "trained", planted(), 0), Network("b", role, reordered(planted()), 0)]
        with refused():
            study(given).run(tmp_path)
    assert not (tmp_path / "index.html").exists()
    check_different(prepare(study({"trained": [own, Counting(turned(planted()), -SIGNS)]}, readout=None)))
    other = planted()
    with torch.no_grad():
        other.get_parameter("weight_hh_l0")[1, 2] += 0.01
    check_different(prepare(study([planted(), other, *counters(3)])))


def test_a_recording_is_no_control_of_itself() -> None:
    """A probe's controls are other networks, and each of them once."""
    x, lstm = torch.tensor(bits()), planted()
    own, count = probe.record(lstm, x), x[:, :, 0].cumsum(1)
    drawn = probe.random_weights(lstm, x, count=2)["fresh weights 1"]
    for controls in ({"before": probe.record(reordered(lstm), x)}, {"a": drawn, "b": drawn}):
        with refused():
            probe.linear_probe(own, count, controls=controls)


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


@pytest.mark.parametrize("count", [1, 3])
def test_every_concept_is_read_anew_of_what_was_measured(count: int, tmp_path: Path) -> None:
    """Of few networks the page counts; measurements are taken up, and an older commit's sentences are not."""
    networks: Any = planted() if count == 1 else {"trained": list(counters(count))}
    asked = ["reading-ones", "reading-last", "single-units", "class-means"]
    run = study(networks, 8, inputs=bits(), concepts={"ones": ones, "last": lambda x: x[:, 0]}, questions=asked)
    with without_pictures():
        run.run(tmp_path)
        page, said = (tmp_path / "index.html").read_bytes(), words_of(tmp_path)
        for folder in (tmp_path / "findings").iterdir():
            old = Finding.read(folder)
            notes = {name: f"An older sentence. {text}" for name, text in old.notes.items()}
            dataclasses.replace(old, notes=notes, claims=(), figures=()).write(folder)
        told = list[Progress]()
        run.run(tmp_path, progress=told.append)
    assert (tmp_path / "index.html").read_bytes() == page
    if count == 1:
        assert [one.question for one in told if one.state == "kept"] == [*asked, "network"]
        return
    for sentence in (
        "What do 3 networks hold of ones and last?",
        "score of “last” is above 0.05 in networks trained so: in 3 of 3",
        "Some unit follows “ones” within every step: in 3 of 3, median",
        "a verdict on it needs more of them, mostly ten",
    ):
        assert sentence in said
    assert not any(word in said for word in ("undecided", "established", "not specific", " nan"))
    table = Finding.read(tmp_path / "findings" / "reading-last").measurements
    assert (table.query("metric == 'best_score' and role == 'trained'")["network"].value_counts() == 1).sum() == 3


def test_a_concept_that_is_none_is_refused_at_once() -> None:
    """Before anything runs, with what is allowed."""
    arrays: list[Any] = [np.zeros(160), torch.zeros(160, 8, 1), np.zeros((160, 7))]
    for given in (*arrays, 3, "ones.npy", None, {"a": 1}, [1, 2, 3], Concept(3), Concept(Concept(np.zeros((9, 8))))):
        with refused():
            _ = study_of(planted(), concepts={"ones": given})


def test_a_study_prints_what_it_is_in_a_line() -> None:
    """No tensor of its networks, inputs or concepts is written out."""
    concept = Concept(torch.zeros(160, 8), description="how many")
    many = Study({"trained": list(counters(3))}, torch.zeros(160, 8, 1), {"ones": concept})
    assert repr(many).startswith("Study({'trained': [LSTM(1, 6, batch_first=True), ")
    assert repr(many).endswith("..., inputs=Tensor (160, 8, 1), concepts=ones)")
    assert repr(concept) == "Concept(kind=None, description='how many')"


def test_a_table_of_one_network_a_role_names_them() -> None:
    """One trained network and its own initialisation are a pair, in lists or not."""
    pair = {role: nn.RNN(1, 2) for role in ("own initialisation", "trained")}
    for given in (pair, {role: [one] for role, one in pair.items()}):
        names = [("trained", "0", "0"), ("own initialisation", "0/own initialisation", "0")]
        assert [(one.role, one.name, one.pair) for one in named(given)] == names
    (alone,) = named({"trained": [pair["trained"]]})
    assert (alone.name, alone.pair) == ("", "0")
