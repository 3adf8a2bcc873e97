"""Runs on a few states: networks for which the class means are all that there is, and one that needs more."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probe import ProbeError
from probe.methods.abstraction.quantised import class_means, quantised_run, share_equal
from probe.methods.machines import Machine

LENGTH = 4
READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}


class Sum(nn.Module):
    """A plain RNN that adds up its input in one unit, 0.01 a one, and remembers the last bit in another."""

    def __init__(self, memory: float = 1.0):
        super().__init__()
        self.rnn = nn.RNN(1, 2, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0")[0, 0] = 1
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[0.01], [memory]]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the count, (batch)."""
        return self.rnn(x)[0][:, -1, 0] * 100


def bits(length: int = LENGTH) -> Tensor:
    """Return all strings, (2^length, length, 1)."""
    return ((torch.arange(2**length)[:, None] >> torch.arange(length - 1, -1, -1)) & 1)[:, :, None].double()


X = bits()
COUNT = X[:, :, 0].cumsum(1)


@pytest.mark.parametrize("by_step", [True, False])
def test_class_means_are_over_prefixes_and_scaled_by_their_spread(by_step: bool) -> None:
    """Worked out by hand from the recorded states; the sizes count the state before the first input once."""
    machine = Machine.of(Sum(), X, **READ)
    book = class_means(machine, COUNT, by_step=by_step)
    assert book.size == (1 + 2 + 3 + 4 + 5 if by_step else 5)
    prefixes = [machine.clean.states[:: 2 ** (LENGTH - step - 1), step] for step in range(LENGTH)]
    counts = [COUNT[:: 2 ** (LENGTH - step - 1), step] for step in range(LENGTH)]
    if by_step:
        assert torch.allclose(book.means[2][1], prefixes[2][counts[2] == 1].mean(0), atol=1e-15)
        assert torch.allclose(book.scales[2], prefixes[2].std(0, correction=0), atol=1e-15)
    else:
        sums = [(p[c == 1].sum(0) / len(p), (c == 1).double().mean()) for p, c in zip(prefixes, counts, strict=True)]
        wanted = sum(total for total, _ in sums) / sum(weight for _, weight in sums)
        for step in range(LENGTH):
            assert torch.allclose(book.means[step][1], torch.as_tensor(wanted), atol=1e-15)


def test_a_sum_alone_runs_on_one_state_a_count() -> None:
    """Without another memory the class means are the states themselves, by step and (nearly) over steps."""
    machine = Machine.of(Sum(memory=0.0), X, **READ)
    for by_step in (True, False):
        run = quantised_run(machine, class_means(machine, COUNT, by_step=by_step))
        assert torch.equal(run.values, COUNT)
        assert torch.equal(run.answers.chosen, machine.clean.answers.chosen)


def test_every_step_goes_on_from_the_mean_and_not_from_the_state() -> None:
    """A step by step run by hand: mean, advance, nearest in units of the spread."""
    machine = Machine.of(Sum(), X, **READ)
    book = class_means(machine, COUNT)
    run = quantised_run(machine, book)
    for row in range(len(X)):
        state, seen = torch.zeros(2, dtype=torch.float64), []
        for step in range(LENGTH):
            state = torch.stack([state[0] + 0.01 * X[row, step, 0], X[row, step, 0]]).tanh()
            distance = (((state - book.means[step]) / book.scales[step]) ** 2).sum(1)
            state = book.means[step][distance.argmin()]
            seen.append(float(book.values[step][distance.argmin()]))
        assert run.values[row].tolist() == seen
        assert float(run.answers.expected[row]) == pytest.approx(float(state[0]) * 100, abs=1e-12)
    assert not torch.equal(run.values, COUNT), "the memory of the last bit must mislead some runs"


def test_a_number_that_does_not_vary_does_not_decide() -> None:
    """An idle unit that is constant up to rounding gets no weight, however little it varies."""
    machine = Machine.of(Sum(memory=1e-17), X, **READ)
    book = class_means(machine, COUNT)
    assert [float(scale[1]) for scale in book.scales] == [math.inf] * LENGTH
    assert torch.equal(quantised_run(machine, book).values, COUNT)


def test_what_does_not_fit_is_refused() -> None:
    """The messages say what was given and what to give."""
    machine = Machine.of(Sum(), X, **READ)
    with pytest.raises(ProbeError, match=r"shape \(16, 3\)"):
        class_means(machine, COUNT[:, :3])
    shorter = bits(3)
    book = class_means(Machine.of(Sum(), shorter, **READ), shorter[:, :, 0].cumsum(1))
    with pytest.raises(ProbeError, match="states for 3 steps and the sequences have 4"):
        quantised_run(machine, book)


def test_a_share_of_equal_rows_is_over_rows() -> None:
    """Whole numbers and floating ones are compared as numbers."""
    assert share_equal(torch.tensor([1, 2, 3, 4]), torch.tensor([1.0, 2.0, 0.0, 4.0])) == 0.75
