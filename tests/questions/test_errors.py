"""What the questions refuse: answers that are not one a row, NaN, steps that do not exist, other concepts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from flipflop_by_hand import TIME, Latch
from flipflop_by_hand import subjects as latched
from known_machines import LEAD, LENGTH, WINS, Reader, Tally, X, machine_of, won
from known_machines import subjects as of_machines
from refusing import refused
from studied import study_of
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.causal.ablation import Resampling
from probe.methods.readouts import per_row
from probe.questions.answers import answers
from probe.questions.interventions import class_means, directions, single_answers
from probe.studies.asked import TOPICS
from probe.studies.prepare import prepare
from probe.subjects.concepts import NUMERIC, Known
from probe.subjects.subject import Subject, by_network

CONSTANT = torch.zeros_like(WINS)
MEASURE: dict[str, Callable[..., object]] = {
    name.rpartition(".")[2]: import_module(f"probe.questions.{name}").measure
    for name in (*chain(*TOPICS.values()), "interventions.alignment", "states.stable_answers")
}


def asked(concept: Any = WINS, model: nn.Module | None = None, x: Tensor = X, **read: Any) -> list[Subject]:
    """Return one network with a concept."""
    return of_machines([Network("net", "trained", Reader() if model is None else model, 0)], x, concept, **read)


def test_a_concept_of_other_steps_is_refused_by_every_question() -> None:
    """Values of other steps would be held against the states, and each share of it be a wrong number."""
    of_states = "linear_readout noise_margin quantised_states single_units"
    of_patches = "alignment class_means directions erasure gate_shares routes steering unit_ablation unit_shares"
    for name in ("bit_effects", *of_states.split(), *of_patches.split()):
        with refused():
            MEASURE[name](asked(WINS[:, :3]))


def column(output: Tensor) -> Tensor:
    """Return one value a row with an axis too many."""
    return output[:, :1]


def undefined(output: Tensor) -> Tensor:
    """Return one NaN a row."""
    return output[:, 0] * math.nan


class Twice(nn.Module):
    """Two LSTMs, the upper of which reads one step more than the inputs have."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.LSTM(2, 3, batch_first=True), nn.LSTM(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state of each sequence."""
        h = self.low(x)[0]
        return self.high(torch.cat([h[:, :1], h], 1))[0][:, -1]


@pytest.mark.parametrize("name", ["single_units", "linear_readout"])
def test_questions_of_states_want_one_layer_that_reads_each_step(name: str) -> None:
    """NaN, empty inputs, time first, no layer or one among two, one that reads more steps than there are values."""
    with_nan = WINS.float().index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(math.nan))
    cases: list[dict[str, Any]] = [
        {"concept": with_nan},
        {"concept": WINS[:0], "x": X[:0]},
        {"concept": WINS[:, :0], "x": X[:, :0]},
        {"model": nn.LSTM(2, 3)},
        {"model": Twice()},
        {"model": Twice(), "layer": "high[0]"},
        {"layer": "rnn[1]"},
        {"model": nn.Flatten()},
    ]
    for given in cases:
        with refused():
            MEASURE[name](asked(**given))
    many = X.repeat(5, 1, 1) + torch.arange(160)[:, None, None]
    table: Any = MEASURE[name](asked(WINS.repeat(5, 1), Twice(), many, layer="low[0]"))
    assert set(table["layer"]) <= {"low[0]", ""}


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("alignment", {}, {"step": 9}),
    ("erasure", {"concept": CONSTANT}, {}),
    ("bit_effects", {}, {"steps": [0, 1]}),
    ("bit_effects", {"concept": torch.as_tensor(np.random.default_rng(0).normal(size=(32, 5)))}, {}),
    ("noise_margin", {}, {"dose": -0.1}),
    ("gate_activity", {"layer": "gone[0]"}, {}),
    ("steering", {"concept": LEAD}, {"step": 1}),
    ("gate_shares", {"concept": CONSTANT}, {}),
    ("routes", {}, {"step": -1}),
    ("dynamics", {}, {"silent": torch.zeros(3), "driving": torch.zeros(1, 3)}),
    ("dynamics", {}, {"silent": torch.zeros(2)}),
    ("other_lengths", {"concept": won, "expected": column}, {}),
    ("other_lengths", {"concept": won, "expected": undefined}, {}),
    ("other_lengths", {}, {}),
    ("other_lengths", {"concept": won, "x": torch.rand(64, 5, 2)}, {}),
    ("other_lengths", {"concept": won, "allowed": lambda one: len(one) == LENGTH}, {}),
    ("programs", {"concept": won, "allowed": lambda x: x[0, 0] > 1}, {"programs": {"sum": len}, "lengths": (4,)}),
]


def test_what_networks_do_not_allow_to_ask_is_refused() -> None:
    """By what there is, and what is needed. A column beside a row would broadcast to every pair of rows."""
    for name, given, options in REFUSED:
        with refused():
            MEASURE[name](asked(**given), **options)
    (upper,) = prepare(study_of(nn.GRU(1, 3, 2, batch_first=True), readout=None, layer=["[1]"]))
    cases: list[Callable[[], object]] = [
        lambda: answers.measure(asked(answer=column), groups=lambda _: {"test": [0, 1]}),
        lambda: answers.measure(asked(answer=undefined), groups=lambda _: {"test": [0, 1]}),
        lambda: per_row("answer(...)", [1, 2], 2),
        lambda: Resampling(machine_of(Tally()), draws=0),
        lambda: MEASURE["dynamics"]([upper]),
        lambda: class_means.draw(class_means.measure(asked(WINS - 100))),
        lambda: directions.draw(directions.measure(asked(CONSTANT), step=2)),
    ]
    for ask in cases:
        with refused():
            ask()
    assert torch.equal(per_row("answer(...)", WINS[:, 0], 32), WINS[:, 0])


def of_latch(**changed: Any) -> list[Subject]:
    """Return a latch's two answers with parts changed."""
    return [replace(each, **changed) for each in latched(Latch())]


def test_several_answers_that_cannot_be_asked_are_refused() -> None:
    """Concepts without a function, steps without a later one, too few sequences, what is no answer of one network."""
    one = latched(Latch())
    short, known = np.where(np.arange(60) < 6, TIME, 4), one[0].concepts.items()
    arrays = {name: Known(name, NUMERIC, given.values) for name, given in known}
    undefined = {name: Known(name, NUMERIC, np.full(given.values.shape, np.nan)) for name, given in known}
    cases: list[Callable[[], object]] = [
        lambda: single_answers.measure(one, steps=-1),
        lambda: single_answers.measure(of_latch(allowed=lambda _: False), steps=3),
        lambda: single_answers.measure(of_latch(concepts=arrays), steps=3),
        lambda: single_answers.measure(latched(Latch(), lengths=short), steps=5),
        lambda: MEASURE["stable_answers"](one, silent=torch.zeros(3).double()),
        lambda: answers.measure_steps(of_latch(concepts=undefined)),
        lambda: answers.measure_steps(asked()),
        lambda: by_network([one[0], replace(one[1], x=one[1].x + 1)]),
        lambda: by_network([one[0], one[0]]),
    ]
    for ask in cases:
        with refused():
            ask()
