"""Shares, noise and few states, asked of studies: drawn and ragged sequences, stacks, categories, undefined steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from studied import bits, head, planted, study_of, without_pictures
from torch import nn

from probe import Readout
from probe.evidence.measurements import only
from probe.questions.interventions import gate_shares, routes, unit_shares
from probe.questions.question import Question
from probe.questions.states import noise_margin, quantised_states
from probe.studies.measuring import groups_of
from probe.studies.prepare import prepare
from probe.subjects.ends import ends_of
from probe.subjects.pairs import input_pairs, pairs_by_step, usual_steps
from probe.subjects.subject import Subject

LENGTH = 8
SHARES = (unit_shares, gate_shares, routes)
EVERY = (*SHARES, noise_margin, quantised_states)
QUESTIONS: list[Callable[[Subject], Question]] = [module.question for module in EVERY]


def subject_of(model: nn.Module | None = None, inputs: np.ndarray | None = None, **more: Any) -> Subject:
    """Return the planted network with drawn bits."""
    weight, bias = head(LENGTH)
    given: dict[str, Any] = {"readout": Readout("ones", weight=weight, bias=bias)} | more
    inputs = bits(200, LENGTH) if inputs is None else inputs
    (subject,) = prepare(study_of(planted() if model is None else model, inputs=inputs, **given))
    return subject


def value(table: pd.DataFrame, metric: str, **columns: str) -> float:
    """Return the one value of a metric."""
    return only(table, metric=metric, **columns)["value"].item()


def test_pairs_of_drawn_sequences_share_what_is_known_by_hand() -> None:
    """Pairs differ in the one bit alone; unit 0, the candidate and c have the whole share."""
    subject = subject_of()
    changed, step = usual_steps(subject)
    pairs = input_pairs(subject, changed, step)
    base, source = (torch.as_tensor(rows) for rows in pairs.pairs)
    x = ends_of(subject).machine.clean.inputs
    assert ((x[base] != x[source]).any(2).nonzero()[:, 1] == changed).all()
    assert (x[source, changed] == 1).all()
    assert value(unit_shares.measure([subject]), "unit_share", units="0") == pytest.approx(1)
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)
    assert value(routes.measure([subject]), "route_share", signal="cell_state") == pytest.approx(1)


def test_pairs_are_those_of_the_seed_and_the_same_for_a_control() -> None:
    """Two runs draw alike; a network with random weights gets the same pairs; another seed draws others."""
    one, again, other = subject_of(), subject_of(), subject_of(seed=1)
    control = next(iter(groups_of([one]).values()))[1]
    steps = usual_steps(one)
    base = {
        name: input_pairs(each, *steps, most=40).pairs[0].tolist()
        for name, each in enumerate((one, again, control, other))
    }
    assert base[0] == base[1] == base[2] != base[3]


def test_too_few_pairs_are_a_reason() -> None:
    """Hardly two of 12 sequences differ in one bit alone; a single step has no state before it."""
    subject = subject_of(inputs=bits(12, LENGTH, seed=1))
    for module in SHARES:
        asked = answer(module.question(subject), [subject])
        assert asked.measurements.empty
        assert "6 are needed. Give more sequences" in asked.notes["answer"]
    (single,) = prepare(study_of(planted(), inputs=bits(20, 1)))
    assert answer(routes.question(single), [single]).notes["answer"] == "Not asked: its sequences have a single step."
    assert "single step" in answer(gate_shares.question(single), [single]).notes["answer"]


def test_sequences_of_several_lengths_are_asked_at_their_ends() -> None:
    """Rows of one window differ in the bit alone, from the same state; the shares are those of whole sequences."""
    inputs, lengths = bits(200, LENGTH), np.random.default_rng(0).integers(7, LENGTH + 1, 200)
    subject = subject_of(inputs=inputs, lengths=lengths)
    end = ends_of(subject)
    assert not end.whole
    for pairs in pairs_by_step(subject).values():
        base, source = (torch.as_tensor(rows) for rows in pairs.pairs)
        assert torch.equal(end.machine.clean.initial[base], end.machine.clean.initial[source])
    with without_pictures():
        for module in EVERY:
            asked = answer(module.question(subject), next(iter(groups_of([subject]).values())))
            if module in (noise_margin, quantised_states):
                assert asked.notes["answer"] == "Not asked: its sequences differ in length."
                continue
            assert len(asked.measurements)
            assert end.said in asked.notes["setup"]
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)


class Stack(nn.Module):
    """Two layers of GRUs."""

    def __init__(self, units: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.rnn = nn.GRU(1, units, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the hidden states."""
        return self.rnn(x)[0]


def stacked(units: int) -> Subject:
    """Return two layers, read by a random head."""
    weight = np.random.default_rng(0).normal(size=(LENGTH + 1, units))
    return subject_of(Stack(units), readout=Readout("ones", weight=weight))


def test_units_of_all_layers_share_and_gates_are_those_of_one_layer() -> None:
    """Units of a stack are named by their layers; questions about one layer's formulas say why they are not asked."""
    subject = stacked(3)
    table = unit_shares.measure([subject])
    shares = only(table, metric="unit_share")
    assert shares["units"].tolist() == [f"rnn[{layer}]:{unit}" for layer in (0, 1) for unit in range(3)]
    assert shares["value"].sum() == pytest.approx(1)
    assert only(table, metric="correlated_unit_share")["units"].item() in shares["units"].tolist()
    for module in (gate_shares, routes):
        assert "stack of several layers" in answer(module.question(subject), [subject]).notes["answer"]


def test_many_units_share_by_random_orders_and_wider_ones_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """18 units have intervals and say how many orders were run; thousands are not asked."""
    subject = stacked(9)
    table = unit_shares.measure([subject])
    shares = only(table, metric="unit_share")
    assert shares["value"].sum() == pytest.approx(1)
    assert (shares["n"] == 512).all()
    assert ((shares["low"] < shares["value"]) & (shares["value"] < shares["high"])).all()
    best = only(table, metric="largest_unit_share")
    assert (best["low"] < best["high"]).all()
    # A random head answers nothing right, and would not be asked.
    asked = dataclasses.replace(unit_shares.question(subject), needs=())
    told = answer(asked, [subject])
    assert "95 % interval" in told.notes["answer"]
    assert "we drew 512 orders" in told.notes["setup"]
    monkeypatch.setattr(unit_shares, "TOO_MUCH", 0)
    assert "18 units" in answer(unit_shares.question(subject), [subject]).notes["answer"]


def named(x: np.ndarray) -> list[str | None]:
    """Return how many ones there are as a name, from the fifth step on."""
    return [f"{count:02.0f}" if step >= 4 else None for step, count in enumerate(x[:, 0].cumsum())]


def test_categories_that_are_undefined_at_first_have_states_where_they_are_defined() -> None:
    """Quantised after eight of twelve steps; noise asks for the last value alone; shares need a scale."""
    weight, bias = head(LENGTH)
    readout = Readout("ones", weight=weight, bias=bias, answers=[f"{count:02d}" for count in range(LENGTH + 1)])
    subject = subject_of(concepts={"ones": named}, readout=readout)
    table = quantised_states.measure([subject])
    assert value(table, "own_accuracy") == 1
    right = only(table, metric="right_class", kind="by_step")
    assert right["step"].tolist() == list(range(4, LENGTH))
    numbers = quantised_states.measure([subject_of()])
    assert value(table, "states", kind="by_step") < value(numbers, "states", kind="by_step")
    noisy = [value(noise_margin.measure([one], draws=4), "noisy_accuracy") for one in (subject, subject_of())]
    assert noisy[0] == noisy[1]
    for module in SHARES:
        assert "has several categories" in answer(module.question(subject), [subject]).notes["answer"]
    last = subject_of(concepts={"ones": lambda x: [*[np.nan] * (len(x) - 1), x[:, 0].sum()]})
    assert (
        "there is one step alone after which all sequences with an answer have a value of “ones”"
        in answer(quantised_states.question(last), [last]).notes["answer"]
    )
    assert value(unit_shares.measure([last]), "unit_share", units="0") == pytest.approx(1)


def test_answers_that_are_never_exact_are_asked_for_shares_alone() -> None:
    """A number without levels is neither right nor wrong, and its gates have shares all the same."""
    inputs = bits(200, LENGTH) * np.random.default_rng(0).normal(size=(LENGTH, 1)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(1, 6))
    sums: dict[str, Any] = {"sum": lambda x: x[:, 0].cumsum()}
    subject = subject_of(inputs=inputs, concepts=sums, readout=Readout("sum", weight=weight))
    for module in (noise_margin, quantised_states):
        assert (
            "too many values to call one answer right" in answer(module.question(subject), [subject]).notes["answer"]
        )
    table = gate_shares.measure([subject])
    assert only(table, metric="gate_share")["value"].sum() == pytest.approx(1)
    assert only(table, metric="constant_gates_accuracy").empty
    assert only(unit_shares.measure([subject]), metric="unit_share")["value"].sum() == pytest.approx(1)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_of_one_network_says_in_sentences_what_was_found(question: Callable[[Subject], Question]) -> None:
    """An answer with a number, how it was measured, and a picture; beside the answer the controls, or none."""
    subject = subject_of(inputs=bits(100, 6))
    asked = answer(question(subject), next(iter(groups_of([subject]).values())))
    assert ("fitted head" in asked.notes["answer"]) is (asked.question not in ("gate-shares", "routes"))
    for text in (*asked.notes.values(), *(figure.alt for figure in asked.figures)):
        assert text.endswith(".")
        assert any(letter.isdigit() for letter in text)
        assert "nan" not in text
    (figure,) = asked.figures
    assert len(figure.data)
