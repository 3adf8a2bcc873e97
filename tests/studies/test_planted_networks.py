"""Planted networks and their controls: each counts once, each concept is read, each control tells."""

from __future__ import annotations

import copy
import dataclasses
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from bodies import Model
from many_counters import counters, study
from planted_cases import words_of
from refusing import refused
from studied import UNITS, beside, bits, ones, planted, study_of
from torch import nn

import probe
from probe import Finding, Study
from probe.evidence import Network
from probe.studies.identity import check_different
from probe.studies.prepare import prepare

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


def counting(lstm: nn.LSTM, signs: torch.Tensor) -> Model:
    """Return an LSTM and its own head, which answers how many ones there are: one number for each sequence."""
    head = nn.Linear(UNITS, 1)
    with torch.no_grad():
        head.weight.copy_(torch.arange(UNITS) * signs)
        head.bias.fill_(1)
    return Model(lambda m, x: m.head(m.lstm(x)[0][:, -1]), lstm=lstm, head=head)


def test_a_draw_that_is_the_network_or_its_initialisation_is_drawn_again() -> None:
    """The network is one that its own controls would have as their first; reordered, it is that one still."""
    (subject,) = prepare(study_of(planted()))
    drawn = [one.model for one in beside(subject)[1:3]]
    given = [Network("a", "trained", drawn[0], 0), Network("before", "own initialisation", reordered(drawn[1]), 0)]
    trained, *controls = beside(prepare(study_of(given))[0])
    models = [one.model for one in (trained, *controls) if one.network.role != "fitted head"]
    with torch.no_grad():
        states = [model(trained.x)[0].sort(-1)[0] for model in models]
    assert len(states) == 9
    for one, other in combinations(states, 2):
        assert float((one - other).abs().max()) > 1e-3
    # The weights of one unit have one order alone: all of its controls have fresh weights.
    (single,) = prepare(Study(nn.LSTM(1, 1, batch_first=True), bits(), {"ones": ones}))
    assert sum("fresh weights" in one.network.name for one in beside(single)) == 8


def test_a_copy_in_another_order_or_with_other_signs_is_the_same_network(tmp_path: Path) -> None:
    """Of a layer, and where its own head turns its weights too; another answer is another network."""
    own = counting(planted(), torch.ones(UNITS))
    same = [study({"trained": [planted(), other]}) for other in (reordered(planted()), reordered(turned(planted())))]
    same.append(study({"trained": [own, counting(turned(planted()), SIGNS)]}, readout=None))
    for role in ("own initialisation", "other"):
        same.append(study([Network("a", "trained", planted(), 0), Network("b", role, reordered(planted()), 0)]))
    for one in same:
        with refused():
            one.run(tmp_path)
    assert not (tmp_path / "index.html").exists()
    check_different(prepare(study({"trained": [own, counting(turned(planted()), -SIGNS)]}, readout=None)))
    other = planted()
    with torch.no_grad():
        other.get_parameter("weight_hh_l0")[1, 2] += 0.01
    check_different(prepare(study([planted(), other, *counters(3)])))


def test_a_probe_is_judged_by_networks_that_count_once_and_by_what_they_leave_unexplained() -> None:
    """Beside a control of .95 there is no room for the margin of .05, and an exact counter is better all the same."""
    x, lstm, signals = torch.tensor(bits(400)), planted(), ["cell_state"]
    own, count = probe.record(lstm, x), x[:, :, 0].cumsum(1)
    drawn = probe.random_weights(lstm, x, count=2)["fresh weights 1"]
    for controls in ({"before": probe.record(reordered(lstm), x)}, {"a": drawn, "b": drawn}):
        with refused():
            probe.linear_probe(own, count, controls=controls)
    torch.manual_seed(1)
    other = {"other": probe.record(nn.LSTM(1, UNITS, batch_first=True), x)}
    (row,) = probe.linear_probe(own, count, signals=signals, controls=other).summary.to_dict("records")
    assert 0.95 < row["its score"] < 0.97
    assert 0.02 < row["low"] < row["above"] < 0.05
    assert row["verdict"] == "above every control"


@pytest.mark.usefixtures("undrawn")
def test_every_concept_is_read_anew_of_what_was_measured(tmp_path: Path) -> None:
    """Of few networks the page counts; measurements are taken up, and an older commit's sentences are not."""
    networks, asked = {"trained": list(counters(3))}, ["reading-ones", "reading-last", "single-units", "class-means"]
    run = study(networks, 8, inputs=bits(), concepts={"ones": ones, "last": lambda x: x[:, 0]}, questions=asked)
    run.run(tmp_path)
    page, said = (tmp_path / "index.html").read_bytes(), words_of(tmp_path)
    for folder in (tmp_path / "findings").iterdir():
        old = Finding.read(folder)
        notes = {name: f"An older sentence. {text}" for name, text in old.notes.items()}
        dataclasses.replace(old, notes=notes, claims=(), figures=()).write(folder)
    run.run(tmp_path)
    assert (tmp_path / "index.html").read_bytes() == page
    for sentence in (
        "All units together hold “ones”, in 3 of 3, better than any control.",
        "“last” is read clearly better than from every control: in 0 of 3",
        "Some unit follows “ones” within steps: in 3 of 3, median",
        "a verdict on it needs more of them, mostly ten",
    ):
        assert sentence in said
    assert not any(word in said for word in ("undecided", "established", "not specific", " nan"))
    table = Finding.read(tmp_path / "findings" / "reading-last").measurements
    assert (table.query("metric == 'best_score' and role == 'trained'")["network"].value_counts() == 1).sum() == 3
