"""What the questions refuse: answers that are not one a row, NaN, steps that do not exist, other axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.outputs import per_row
from probe.questions.answers import answers, other_lengths
from probe.questions.states import linear_readout, single_units
from probe.subjects.subject import Subject

X = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(0))
CONCEPT = (X[:, :, 0] > X[:, :, 1]).cumsum(1)


class Last(nn.Module):
    """An LSTM that returns its last hidden state, whichever axis is time."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state of each sequence."""
        return self.lstm(x)[0][:, -1]


def column(output: Tensor) -> Tensor:
    """Return one value a row with an axis too many."""
    return output[:, :1]


def row(output: Tensor) -> Tensor:
    """Return one value a row."""
    return output[:, 0]


def undefined(output: Tensor) -> Tensor:
    """Return one NaN a row."""
    return output[:, 0] * math.nan


def networks(batch_first: bool = True) -> list[Network]:
    """Return one network."""
    return [Network("net", "trained", Last(batch_first), 0)]


def asked(concept: Tensor = CONCEPT, **read: Any) -> list[Subject]:
    """Return one network with a concept, answers that are one value a row unless said otherwise."""
    return subjects(networks(), X, concept, **({"answer": row, "expected": row} | read))


def of_accuracy(concept: Tensor = CONCEPT, **read: Any) -> object:
    """Ask for the accuracy."""
    return answers.measure(asked(concept, **read), groups=lambda _: {"test": [0, 1]})


def of_lengths(expected: Callable[[Tensor], Tensor]) -> object:
    """Ask for the drift."""
    read = {"answer": row, "expected": expected}
    bits = Subject.of(networks()[0], torch.zeros(6, 5, 2), lambda x: x[:, 0], **read)
    return other_lengths.measure([bits])


@pytest.mark.parametrize(
    "ask",
    [
        lambda: of_accuracy(answer=column),
        lambda: of_accuracy(answer=undefined),
        lambda: of_accuracy(CONCEPT[:, -1:]),
        lambda: of_accuracy(CONCEPT[:5]),
        lambda: of_lengths(column),
        lambda: of_lengths(undefined),
    ],
)
def test_answers_are_one_a_row(ask: Callable[[], object]) -> None:
    """A column beside a row would broadcast to every pair of rows, and each share of it be a wrong number."""
    with refused():
        _ = ask()


def test_what_is_no_tensor_is_no_answer() -> None:
    """Its type and the shape wanted are named; a row of whole numbers is returned as it is."""
    with refused():
        _ = per_row("answer(...)", [1, 2], 2)
    assert torch.equal(per_row("answer(...)", CONCEPT[:, 0], 6), CONCEPT[:, 0])


@pytest.mark.parametrize("question", [single_units, linear_readout])
def test_questions_of_states_refuse_what_is_not_aligned(question: Any) -> None:
    """NaN in the concept, empty inputs and a network that reads time first raise, each by its own words."""
    with_nan = CONCEPT.float().index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(math.nan))
    for x, concept in ((X, with_nan), (X[:0], CONCEPT[:0]), (X[:, :0], CONCEPT[:, :0]), (X, CONCEPT[:, :1])):
        with refused():
            _ = question.measure(subjects(networks(), x, concept))
    with refused():
        _ = question.measure(subjects(networks(batch_first=False), X, CONCEPT))


class Twice(nn.Module):
    """Two LSTMs, the upper of which reads one step more than the inputs have."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.LSTM(2, 3, batch_first=True)
        self.high = nn.LSTM(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last hidden state of each sequence."""
        h = self.low(x)[0]
        return self.high(torch.cat([h[:, :1], h], 1))[0][:, -1]


@pytest.mark.parametrize("question", [single_units, linear_readout])
def test_questions_of_states_want_one_layer_that_reads_each_step(question: Any) -> None:
    """No layer is taken among two; one that reads more steps would have its states held against others' values."""
    twice, flat = Network("twice", "trained", Twice()), Network("flat", "other", nn.Flatten())
    with refused():
        _ = question.measure(subjects([twice], X, CONCEPT))
    with refused():
        _ = question.measure(subjects([twice], X, CONCEPT, layer="high[0]"))
    with refused():
        _ = question.measure(subjects([flat], X, CONCEPT))
    many = X.repeat(25, 1, 1) + torch.arange(150)[:, None, None]
    (with_layer,) = subjects([twice], many, CONCEPT.repeat(25, 1), layer="low[0]")
    assert set(question.measure([with_layer])["layer"]) <= {"low[0]", ""}


def test_single_units_reads_values_by_their_order() -> None:
    """Halves are read off a unit as exactly as whole numbers, by the order of the values."""
    found = []
    for values in (CONCEPT, CONCEPT / 2):
        torch.manual_seed(0)
        found.append(single_units.measure(asked(values))["value"].tolist())
    assert found[0] == pytest.approx(found[1])
