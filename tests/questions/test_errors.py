"""What the questions refuse: answers that are not one a row, NaN, steps that do not exist, other concepts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flipflop_by_hand import TIME, Latch
from flipflop_by_hand import subjects as latched
from known_machines import LEAD, LENGTH, WINS, Reader, Tally, X, machine_of
from known_machines import subjects as of_machines
from refusing import refused
from studied import study_of
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.abstraction.programs import slope
from probe.methods.causal.ablation import Resampling
from probe.methods.outputs import per_row
from probe.questions.answers import answers, bit_effects, other_lengths, programs
from probe.questions.interventions import (
    alignment,
    class_means,
    directions,
    erasure,
    gate_shares,
    routes,
    single_answers,
    steering,
    unit_ablation,
    unit_shares,
)
from probe.questions.states import (
    dynamics,
    gate_activity,
    linear_readout,
    noise_margin,
    quantised_states,
    single_units,
    stable_answers,
)
from probe.studies.prepare import prepare
from probe.subjects.concepts import NUMERIC, Known
from probe.subjects.subject import Subject, by_network

CONSTANT = torch.zeros_like(WINS)


def asked(concept: Any = WINS, model: nn.Module | None = None, x: Tensor = X, **read: Any) -> list[Subject]:
    """Return one network with a concept."""
    return of_machines([Network("net", "trained", Reader() if model is None else model, 0)], x, concept, **read)


ALIGNED: tuple[Any, ...] = (
    *(alignment, bit_effects, class_means, directions, erasure, gate_shares, linear_readout, noise_margin, routes),
    *(quantised_states, single_units, steering, unit_ablation, unit_shares),
)


def test_a_concept_of_other_steps_is_refused_by_every_question() -> None:
    """Values of other steps would be held against the states, and each share of it be a wrong number."""
    for question in ALIGNED:
        with refused():
            question.measure(asked(WINS[:, :3]))


def column(output: Tensor) -> Tensor:
    """Return one value a row with an axis too many."""
    return output[:, :1]


def undefined(output: Tensor) -> Tensor:
    """Return one NaN a row."""
    return output[:, 0] * math.nan


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far."""
    return (x[:, 0] > x[:, 1]).cumsum()


def test_answers_are_one_a_row() -> None:
    """A column beside a row would broadcast to every pair of rows; a row of whole numbers is returned as it is."""
    cases: list[Callable[[], object]] = [
        lambda: answers.measure(asked(answer=column), groups=lambda _: {"test": [0, 1]}),
        lambda: answers.measure(asked(answer=undefined), groups=lambda _: {"test": [0, 1]}),
        lambda: other_lengths.measure(asked(won, expected=column)),
        lambda: other_lengths.measure(asked(won, expected=undefined)),
        lambda: per_row("answer(...)", [1, 2], 2),
    ]
    for ask in cases:
        with refused():
            ask()
    assert torch.equal(per_row("answer(...)", WINS[:, 0], 32), WINS[:, 0])


class Twice(nn.Module):
    """Two LSTMs, the upper of which reads one step more than the inputs have."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.LSTM(2, 3, batch_first=True), nn.LSTM(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state of each sequence."""
        h = self.low(x)[0]
        return self.high(torch.cat([h[:, :1], h], 1))[0][:, -1]


@pytest.mark.parametrize("question", [single_units, linear_readout], ids=["units", "readout"])
def test_questions_of_states_want_one_layer_that_reads_each_step(question: Any) -> None:
    """NaN, empty inputs, time first, no layer or one among two, one that reads more steps than there are values."""
    with_nan = WINS.float().index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(math.nan))
    cases: list[Callable[[], list[Subject]]] = [
        lambda: asked(with_nan),
        lambda: asked(WINS[:0], x=X[:0]),
        lambda: asked(WINS[:, :0], x=X[:, :0]),
        lambda: asked(model=nn.LSTM(2, 3)),
        lambda: asked(model=Twice()),
        lambda: asked(model=Twice(), layer="high[0]"),
        lambda: asked(layer="rnn[1]"),
        lambda: asked(model=nn.Flatten()),
    ]
    for ask in cases:
        with refused():
            question.measure(ask())
    many = X.repeat(5, 1, 1) + torch.arange(160)[:, None, None]
    (with_layer,) = asked(WINS.repeat(5, 1), Twice(), many, layer="low[0]")
    assert set(question.measure([with_layer])["layer"]) <= {"low[0]", ""}


def test_steps_layers_and_values_that_cannot_be_asked_are_refused() -> None:
    """Each by what there is, and by what is needed."""
    drawn = torch.as_tensor(np.random.default_rng(0).normal(size=(32, 5)))
    always, some = torch.zeros(2), torch.zeros(1, 2)
    cases: list[Callable[[], object]] = [
        lambda: alignment.measure(asked(), step=9),
        lambda: directions.measure(asked(), step=5),
        lambda: erasure.measure(asked(CONSTANT)),
        lambda: bit_effects.measure(asked(), steps=[0, 1]),
        lambda: bit_effects.measure(asked(), steps=[5]),
        lambda: bit_effects.measure(asked(drawn)),
        lambda: noise_margin.measure(asked(), dose=-0.1),
        lambda: gate_activity.measure(asked(layer="gone[0]")),
        lambda: steering.measure(asked(LEAD), step=1),
        lambda: steering.measure(asked(), step=5),
        lambda: unit_shares.measure(asked(), step=6),
        lambda: unit_shares.measure(asked(CONSTANT), step=3, changed=0),
        lambda: gate_shares.measure(asked(CONSTANT)),
        lambda: routes.measure(asked(), step=-1),
        lambda: Resampling(machine_of(Tally()), draws=0),
        lambda: dynamics.measure(asked(), silent=always, driving=some, steps=[0, 1]),
        lambda: dynamics.measure(asked(), silent=always, driving=some, steps=[]),
        lambda: dynamics.measure(asked(), silent=torch.zeros(3), driving=torch.zeros(1, 3)),
        lambda: dynamics.measure(asked(), silent=always),
        lambda: dynamics.measure(prepare(study_of(nn.GRU(1, 3, 2, batch_first=True), readout=None, layers=["[1]"]))),
        lambda: class_means.draw(class_means.measure(asked(WINS - 100))),
        lambda: directions.draw(directions.measure(asked(CONSTANT), step=2)),
    ]
    for ask in cases:
        with refused():
            ask()


def test_lengths_that_cannot_be_asked_are_refused() -> None:
    """A study whose concept is an array, whose inputs are many, or whose sequences cannot occur."""
    with refused():
        slope({6: 0.0}, (6,), 6)
    with refused():
        programs.measure(asked(won, allowed=lambda x: x[0, 0] > 1), {"sum": len}, lengths=(4,))
    for (subject,) in (
        asked(),
        asked(won, x=torch.rand(64, 5, 2)),
        asked(won, allowed=lambda one: len(one) == LENGTH),
    ):
        with refused():
            other_lengths.measure([subject])
        reason = other_lengths.question(subject).why_not(subject)
        assert reason is not None
        assert not reason.endswith(".")


def of_latch(**changed: Any) -> list[Subject]:
    """Return a latch's two answers with parts changed."""
    return [replace(each, **changed) for each in latched(Latch())]


def arrays(value: float | None = None) -> dict[str, Known]:
    """Return a latch's concepts without their functions, or all of one value."""
    known = latched(Latch())[0].concepts.values()
    values = [one.values if value is None else np.full(one.values.shape, value) for one in known]
    return {one.name: Known(one.name, NUMERIC, own) for one, own in zip(known, values, strict=True)}


def test_several_answers_that_cannot_be_asked_are_refused() -> None:
    """Concepts without a function, steps without a later one, too few sequences, what is no answer of one network."""
    one, other = latched(Latch()), latched(Latch(1.5))
    short = np.where(np.arange(60) < 6, TIME, 4)
    cases: list[Callable[[], object]] = [
        lambda: single_answers.measure(one, steps=-1),
        lambda: single_answers.measure(one, steps=12),
        lambda: single_answers.measure(of_latch(allowed=lambda _: False), steps=3),
        lambda: single_answers.measure(of_latch(concepts=arrays()), steps=3),
        lambda: single_answers.measure(latched(Latch(), lengths=short), steps=5),
        lambda: stable_answers.measure(one, silent=torch.zeros(3).double()),
        lambda: answers.measure_steps(of_latch(concepts=arrays(math.nan))),
        lambda: answers.measure_steps(asked()),
        lambda: by_network([one[0], replace(one[1], x=one[1].x + 1)]),
        lambda: by_network([one[0], *other]),
        lambda: by_network([one[0], one[0]]),
    ]
    for ask in cases:
        with refused():
            ask()
