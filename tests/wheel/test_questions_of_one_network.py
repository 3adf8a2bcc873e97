"""Questions about states, asked of one network that somebody brings: sequences of several lengths, any number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_studies import brackets, depth
from studied import bits, ones, planted, study_of
from torch import nn

from probe import Study
from probe.questions.states import linear_readout, single_units
from probe.studies.answer import answer
from probe.studies.many import groups_of
from probe.studies.prepare import prepare
from probe.subjects.subject import Subject

QUESTIONS = (single_units, linear_readout)


def group(study: Study, copies: int = 2) -> tuple[Subject, ...]:
    """Return a study's network with its controls."""
    return groups_of(prepare(study), copies=copies)[0].subjects


def gru(features: int, layers: int = 1) -> nn.GRU:
    """Return a GRU that nobody trained."""
    torch.manual_seed(0)
    return nn.GRU(features, 6, layers, batch_first=True)


@pytest.mark.usefixtures("undrawn")
def test_the_planted_unit_is_told_beside_its_controls() -> None:
    """Unit 0 holds the count, is read exactly at all steps, and no control's unit is."""
    subjects = group(study_of(planted()))
    found = answer(single_units.question(subjects[0]), subjects)
    assert found.notes["answer"].startswith(
        "Unit 0 of the cell state of [0] follows “ones” most: within steps |r| is 1.00"
    )
    lasting = found.measurements.query("metric == 'lasting_monotone_accuracy'").set_index("role")["value"]
    assert lasting["trained"] == 1
    assert lasting[["random weights", "fitted head"]].max() < 0.6


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("question", QUESTIONS)
def test_sequences_of_several_lengths_and_undefined_places_are_measured(question: Any) -> None:
    """A concept that is defined at every second step of ragged sequences."""
    x, lengths = brackets(2_000, time=18)
    values = np.array([depth(one) for one in x])
    values[:, ::2] = np.nan
    subjects = group(Study(gru(2), x, {"depth": values}, lengths=lengths))
    table = answer(question.question(subjects[0]), subjects).measurements
    assert len(table)
    assert table["value"].notna().all()
    assert set(table["step"].dropna() % 2) <= {1}


@pytest.mark.usefixtures("undrawn")
def test_a_number_of_any_size_is_only_correlated() -> None:
    """A sum that never repeats: no value is read exactly, and no rounding is measured."""
    x = np.random.default_rng(0).normal(size=(150, 20, 2)).astype(np.float32)
    subjects = group(Study(gru(2), x, {"sum": lambda one: np.cumsum(one[:, 0])}))
    tables = [answer(each.question(subjects[0]), subjects).measurements for each in QUESTIONS]
    assert set(tables[0]["metric"]) == {"within_step_correlation", "largest_correlation"}
    assert not {"rounding_accuracy", "codelength"} & set(tables[1]["metric"])
    assert "selectivity" in set(tables[1]["metric"])


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        (Study(gru(1), bits(), {"kind": lambda x: ["a" if one else "b" for one in x[:, 0]]}), "is categorical"),
        (Study(gru(1), bits(8, 2), {"ones": ones}), "has a value at 6 states that we read; 8 are needed"),
        (Study(gru(1, 2), bits(), {"ones": ones}), "several layers: '[0]', '[1]'"),
    ],
)
def test_what_a_network_lacks_is_said(study: Study, reason: str) -> None:
    """Each question says why it is not asked, before anything is measured."""
    (subject,) = prepare(study)
    for question in QUESTIONS:
        found = answer(question.question(subject), [subject])
        assert reason in found.notes["answer"]
        assert found.measurements.empty


def test_a_layer_that_the_readout_reads_is_studied() -> None:
    """Of a stack with a readout its layer is looked at, and not an error raised."""
    (subject,) = prepare(study_of(nn.GRU(1, 6, 2, batch_first=True), inputs=bits(600)))
    for question in QUESTIONS:
        assert question.question(subject).why_not(subject) is None


def test_probes_name_how_they_were_fitted_and_each_control() -> None:
    """The kind of a score is the probe's, that of a difference the control's; its interval stands in its row."""
    subjects = group(study_of(planted()), copies=4)
    name = linear_readout.names(subjects[0])["ones"]
    asked = linear_readout.reading(subjects[0], "ones")
    table = asked.ask(subjects)
    assert asked.name == name == "reading-ones"
    assert set(table[table["metric"].isin(["score", "best_score"])]["kind"]) == {"ridge"}
    above = table[table["metric"] == "above"].set_index("kind")
    assert list(above.index) == ["step alone", "last inputs", "relabelled", "random weights"]
    assert (above["low"] <= above["value"]).all()
    assert (above["value"] <= above["high"]).all()
    assert above["at"]["last inputs"] == 4
    scores = table[table["metric"] == "score"]
    random = scores[scores["role"] == "random weights"].groupby("network")["value"].max()
    assert len(random) == 4
    best = scores[scores["role"] == "trained"]["value"].max()
    assert above["value"]["random weights"] == pytest.approx(best - random.max())
    assert table.query("metric == 'best_score' and role == 'random weights'")["value"].item() == random.max()
