"""Shares, noise and few states, asked of studies: drawn and ragged sequences, stacks, categories, undefined steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from studied import bits, head, planted, study_of
from tables_read import rows, value, values
from torch import nn

from probe import Readout
from probe.questions.interventions import gate_shares, routes, unit_shares
from probe.questions.states import noise_margin, quantised_states
from probe.studies.measuring import groups_of
from probe.studies.prepare import prepare
from probe.subjects.ends import ends_of
from probe.subjects.pairs import input_pairs, pairs_by_step, usual_steps
from probe.subjects.subject import Subject

LENGTH = 8
SHARES = (unit_shares, gate_shares, routes)


def subject_of(model: nn.Module | None = None, inputs: np.ndarray | None = None, **more: Any) -> Subject:
    """Return the planted network with drawn bits."""
    inputs = bits(200, LENGTH) if inputs is None else inputs
    (subject,) = prepare(study_of(planted() if model is None else model, inputs=inputs, **more))
    return subject


def why_not(subject: Subject, *modules: Any) -> str:
    """Return the one reason why questions are not asked of a network."""
    (reason,) = {str(module.question(subject).why_not(subject)) for module in modules}
    return reason


def test_pairs_of_drawn_sequences_share_what_is_known_by_hand() -> None:
    """Pairs differ in the one bit alone; unit 0, the candidate and c have the whole share.

    Two runs draw the same pairs, and a network with random weights gets them too; another seed draws others.
    """
    subject = subject_of()
    changed, step = usual_steps(subject)
    base, source = (torch.as_tensor(rows) for rows in input_pairs(subject, changed, step).pairs)
    x = ends_of(subject).machine.clean.inputs
    assert ((x[base] != x[source]).any(2).nonzero()[:, 1] == changed).all()
    assert (x[source, changed] == 1).all()
    assert value(unit_shares.measure([subject]), "unit_share", units="0") == pytest.approx(1)
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)
    assert value(routes.measure([subject]), "route_share", signal="cell_state") == pytest.approx(1)
    control = next(iter(groups_of([subject]).values()))[1]
    drawn = [
        input_pairs(each, changed, step, most=40).pairs[0].tolist()
        for each in (subject, subject_of(), control, subject_of(seed=1))
    ]
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3]
    # Hardly two of 12 sequences differ in one bit alone; a single step has no state before it.
    few = subject_of(inputs=bits(12, LENGTH, seed=1))
    assert all("6 are needed. Give more sequences" in why_not(few, module) for module in SHARES)
    single = subject_of(inputs=bits(20, 1))
    assert all("single step" in why_not(single, module) for module in (routes, gate_shares))


def test_sequences_of_several_lengths_are_asked_at_their_ends() -> None:
    """Rows of one window differ in the bit alone, from the same state; the shares are those of whole sequences."""
    lengths = np.random.default_rng(0).integers(7, LENGTH + 1, 200)
    subject = subject_of(lengths=lengths)
    end = ends_of(subject)
    assert not end.whole
    for pairs in pairs_by_step(subject).values():
        base, source = (torch.as_tensor(rows) for rows in pairs.pairs)
        assert torch.equal(end.machine.clean.initial[base], end.machine.clean.initial[source])
    assert why_not(subject, noise_margin, quantised_states) == "its sequences differ in length"
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)
    assert value(unit_shares.measure([subject]), "unit_share", units="0") == pytest.approx(1)


def stacked(units: int) -> Subject:
    """Return two layers, read by a random head."""
    weight = np.random.default_rng(0).normal(size=(LENGTH + 1, units))
    return subject_of(nn.GRU(1, units, 2, batch_first=True), readout=Readout("ones", weight=weight))


def test_units_of_all_layers_share_and_gates_are_those_of_one_layer() -> None:
    """Units of a stack are named by their layers; questions about one layer's formulas say why they are not asked."""
    subject = stacked(3)
    table = unit_shares.measure([subject])
    shares = rows(table, "unit_share")
    assert shares["units"].tolist() == [f"[{layer}]:{unit}" for layer in (0, 1) for unit in range(3)]
    assert shares["value"].sum() == pytest.approx(1)
    assert rows(table, "correlated_unit_share")["units"].item() in shares["units"].tolist()
    assert "stack of several layers" in why_not(subject, gate_shares, routes)


def test_many_units_share_by_random_orders_and_wider_ones_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """18 units have intervals and say how many orders were run; thousands are not asked."""
    subject = stacked(9)
    # A random head answers nothing right, and would not be asked.
    told = answer(dataclasses.replace(unit_shares.question(subject), needs=()), [subject])
    shares, best = (rows(told.measurements, metric) for metric in ("unit_share", "largest_unit_share"))
    assert shares["value"].sum() == pytest.approx(1)
    assert (shares["n"] == 512).all()
    assert ((shares["low"] < shares["value"]) & (shares["value"] < shares["high"])).all()
    assert (best["low"] < best["high"]).all()
    assert "95 % interval" in told.notes["answer"]
    assert "we drew 512 orders" in told.notes["setup"]
    monkeypatch.setattr(unit_shares, "TOO_MUCH", 0)
    assert "18 units" in why_not(subject, unit_shares)


def named(x: np.ndarray) -> list[str | None]:
    """Return how many ones there are as a name, from the fifth step on."""
    return [f"{count:02.0f}" if step >= 4 else None for step, count in enumerate(x[:, 0].cumsum())]


def test_categories_that_are_undefined_at_first_have_states_where_they_are_defined() -> None:
    """Quantised after eight of twelve steps; noise asks for the last value alone; shares need a scale."""
    weight, bias = head(LENGTH)
    readout = Readout("ones", weight=weight, bias=bias, answers=[f"{count:02d}" for count in range(LENGTH + 1)])
    subject, numbers = subject_of(concepts={"ones": named}, readout=readout), subject_of()
    table, every = (quantised_states.measure([each]) for each in (subject, numbers))
    assert value(table, "own_accuracy") == 1
    assert rows(table, "right_class", kind="by_step")["step"].tolist() == list(range(4, LENGTH))
    assert value(table, "states", kind="by_step") < value(every, "states", kind="by_step")
    noisy = [value(noise_margin.measure([one], draws=4), "noisy_accuracy") for one in (subject, numbers)]
    assert noisy[0] == noisy[1]
    assert "has several categories" in why_not(subject, *SHARES)
    last = subject_of(concepts={"ones": lambda x: [*[np.nan] * (len(x) - 1), x[:, 0].sum()]})
    assert "one step alone after which all sequences with an answer" in why_not(last, quantised_states)
    assert value(unit_shares.measure([last]), "unit_share", units="0") == pytest.approx(1)


def test_answers_that_are_never_exact_are_asked_for_shares_alone() -> None:
    """A number without levels is neither right nor wrong, and its gates have shares all the same."""
    inputs = bits(200, LENGTH) * np.random.default_rng(0).normal(size=(LENGTH, 1)).astype(np.float32)
    weight, sums = np.random.default_rng(1).normal(size=(1, 6)), {"sum": lambda x: x[:, 0].cumsum()}
    subject = subject_of(inputs=inputs, concepts=sums, readout=Readout("sum", weight=weight))
    assert "too many values to call one answer right" in why_not(subject, noise_margin, quantised_states)
    table = gate_shares.measure([subject])
    assert sum(values(table, "gate_share")) == pytest.approx(1)
    assert not len(rows(table, "constant_gates_accuracy"))
    assert sum(values(unit_shares.measure([subject]), "unit_share")) == pytest.approx(1)


@pytest.mark.parametrize("module", [*SHARES, noise_margin, quantised_states], ids=lambda module: module.__name__)
def test_the_page_of_one_network_says_in_sentences_what_was_found(module: Any) -> None:
    """An answer with a number, how it was measured, and a picture; beside the answer the controls, or none."""
    subject = subject_of(inputs=bits(100, 6))
    asked = answer(module.question(subject), next(iter(groups_of([subject]).values())))
    assert ("fitted head" in asked.notes["answer"]) is (module not in (gate_shares, routes))
    (figure,) = asked.figures
    for text in (*asked.notes.values(), figure.alt):
        assert text.endswith(".")
        assert any(letter.isdigit() for letter in text)
        assert "nan" not in text
    assert len(figure.data)
