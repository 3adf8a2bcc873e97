"""The two questions that probe states: of networks that do not count, and of one that somebody brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import Reader, subjects
from known_studies import brackets, depth
from studied import bits, ones, planted, study_of
from tables_read import by, rows, value, values
from torch import nn

import probe
from probe import Signal, Study
from probe.evidence.measurements import Network
from probe.methods.probing.controls import signed_sums
from probe.methods.probing.fits import LeastSquares
from probe.methods.probing.scores import of_parts
from probe.methods.probing.splits import folds
from probe.questions.states import linear_readout, single_units
from probe.studies.measuring import groups_of
from probe.studies.prepare import prepare
from probe.subjects.states import step_states
from probe.subjects.subject import Subject

QUESTIONS = (single_units, linear_readout)
INPUTS = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 6, 2))).float()
WON = (INPUTS[:, :, 0] > INPUTS[:, :, 1]).cumsum(1)
NETWORKS = [
    Network(f"{role} {seed}", role, Reader("lstm", 4, seed + before), seed)
    for seed in (1, 2)
    for before, role in ((0, "trained"), (10, "own initialisation"))
]


def test_single_units_measures_every_network_once() -> None:
    """Each summary metric has one value a network, the unit's own correlations one a unit; values count by order."""
    table = single_units.measure(subjects(NETWORKS, INPUTS, WON))
    for metric in ("largest_correlation", "mean_monotone_accuracy", "lasting_monotone_accuracy"):
        assert list(by("network", table, metric)) == [network.name for network in NETWORKS]
    own = by("units", table, "within_step_correlation", network="trained 1")
    states = probe.record(NETWORKS[0].model.double(), INPUTS.double())["cell_state"].detach().numpy()
    within, count = states - states.mean(0), WON.numpy() - WON.numpy().mean(0)
    r = [np.corrcoef(within[:, :, unit].ravel(), count.ravel())[0, 1] for unit in range(4)]
    assert list(own.values()) == pytest.approx(r, abs=1e-6)
    best = max(own, key=lambda unit: abs(own[unit]))
    assert by("units", table, "largest_correlation", network="trained 1") == pytest.approx({best: abs(own[best])})
    halves = single_units.measure(subjects(NETWORKS[:1], INPUTS, WON / 2))
    assert halves["value"].tolist() == pytest.approx(table[table["network"] == "trained 1"]["value"].tolist())


def test_linear_readout_reports_each_signal_with_its_controls() -> None:
    """R2 at each step, selectivity, variance shares that sum to 1, and the smaller of the last two R2."""
    (subject,) = subjects(NETWORKS[:1], INPUTS, WON)
    table = linear_readout.measure([subject])
    for signal in ("cell_state", "hidden_state"):
        assert list(by("step", table, "r_squared", signal=signal)) == list(range(6))
        assert sum(values(table, "variance_share", signal=signal)) == pytest.approx(1)
    assert value(table, "last_step_r_squared") == pytest.approx(min(values(table, "r_squared", step=5)))
    own = step_states(subject, [Signal.CELL_STATE, Signal.HIDDEN_STATE])[-1]
    targets = np.column_stack([own.concept, signed_sums(INPUTS)[own.rows, -1]])
    for signal, states in own.states.items():
        parts = folds(len(states), 2)
        predicted = LeastSquares().held_out(states, targets, parts)
        explained = [of_parts(*pair, parts).value for pair in zip(targets.T, predicted.T, strict=True)]
        selective = explained[0] - np.mean(explained[1:])
        assert value(table, "selectivity", signal=signal) == pytest.approx(selective)


def group(study: Study, copies: int = 2) -> tuple[Subject, ...]:
    """Return a study's network with its controls."""
    return next(iter(groups_of(prepare(study), copies=copies).values()))


@pytest.mark.usefixtures("undrawn")
def test_the_planted_unit_is_told_beside_its_controls() -> None:
    """Unit 0 holds the count, is read exactly at all steps, and no control's unit is."""
    beside = group(study_of(planted()))
    found = answer(single_units.question(beside[0]), beside)
    first = "Unit 0 of the cell state of [0] follows “ones” best within steps: |r| is 1.00 (random weights 0."
    assert found.notes["answer"].startswith(first)
    lasting = rows(found.measurements, "lasting_monotone_accuracy").set_index("role")["value"]
    assert lasting["trained"] == 1
    assert lasting[["random weights", "fitted head"]].max() < 0.6


@pytest.mark.usefixtures("undrawn")
def test_sequences_of_several_lengths_and_numbers_of_any_size_are_measured() -> None:
    """A concept at every second step of ragged sequences; of a sum that never repeats no value is read exactly."""
    x, lengths = brackets(800, time=18)
    depths = np.array([depth(one) for one in x])
    depths[:, ::2] = np.nan
    beside = group(Study(nn.GRU(2, 6, batch_first=True), x, {"depth": depths}, lengths=lengths))
    for question in QUESTIONS:
        table = answer(question.question(beside[0]), beside).measurements
        assert len(table)
        assert table["value"].notna().all()
        assert set(table["step"].dropna() % 2) <= {1}
    x = np.random.default_rng(0).normal(size=(150, 20, 2)).astype(np.float32)
    beside = group(Study(nn.GRU(2, 6, batch_first=True), x, {"sum": lambda one: np.cumsum(one[:, 0])}))
    units, readout = (set(answer(each.question(beside[0]), beside).measurements["metric"]) for each in QUESTIONS)
    assert units == {"within_step_correlation", "largest_correlation"}
    assert not {"rounding_accuracy", "codelength"} & readout
    assert "selectivity" in readout


def test_what_a_network_lacks_is_said() -> None:
    """Each question says why it is not asked, before anything is measured; the layer of a readout is studied."""
    kinds = {"kind": lambda x: ["a" if one else "b" for one in x[:, 0]]}
    for model, x, concepts, reason in (
        (nn.GRU(1, 6, batch_first=True), bits(), kinds, "is categorical"),
        (nn.GRU(1, 6, batch_first=True), bits(8, 2), {"ones": ones}, "is defined after 6 distinct beginnings"),
        (nn.GRU(1, 6, 2, batch_first=True), bits(), {"ones": ones}, "several layers: '[0]', '[1]'"),
    ):
        (subject,) = prepare(Study(model, x, concepts))
        assert all(reason in str(question.question(subject).why_not(subject)) for question in QUESTIONS)
    (subject,) = prepare(study_of(nn.GRU(1, 6, 2, batch_first=True), inputs=bits(600)))
    assert [question.question(subject).why_not(subject) for question in QUESTIONS] == [None] * 2


def test_a_reading_is_what_the_front_door_reads_beside_each_control() -> None:
    """The same seed draws the same states and folds, so that scores and their intervals are the same.

    The kind of a score is the probe's, that of a difference the control's; its interval stands in its row.
    """
    model, x = planted(), bits(160)
    beside = group(Study(model, x, {"ones": ones}), copies=4)
    question = linear_readout.reading(beside[0], "ones")
    assert question.name == linear_readout.names(beside[0])["ones"] == "reading-ones"
    table = question.ask(beside)
    assert {*rows(table, "score")["kind"], *rows(table, "best_score")["kind"]} == {"ridge"}
    above = rows(table, "above").set_index("kind")
    assert list(above.index) == ["step alone", "last 4 inputs", "relabelled", "random weights"]
    assert ((above["low"] <= above["value"]) & (above["value"] <= above["high"])).all()
    random = rows(table, "score", role="random weights").groupby("network")["value"].max()
    assert len(random) == 4
    best = max(values(table, "score", role="trained"))
    assert above["value"]["random weights"] == pytest.approx(best - random.max())
    assert value(table, "best_score", role="random weights") == random.max()
    recording = probe.record(model, torch.tensor(x))
    public = probe.linear_probe(recording, np.array([ones(one) for one in x])).table
    one: Any = rows(table, "score", role="trained").sort_values("value").iloc[-1]
    front: Any = public[public["network"] == "this network"].sort_values("score").iloc[-1]
    assert [one["value"], one["low"], one["high"]] == pytest.approx([front["score"], front["low"], front["high"]])
