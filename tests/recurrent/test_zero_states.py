"""Cells in loops whose states are zero: which calls make one sequence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from called import BATCH, INPUTS, TIME, UNITS
from refusing import refused, warned
from torch import Tensor, nn

import probe


class Loop(nn.Module):
    """A ReLU cell whose first states are zero, and whose state is handed on in several ways."""

    def __init__(self, hand_on: Callable[[Tensor], Tensor] = lambda h: h, *, batched: bool = True) -> None:
        super().__init__()
        self.cell = nn.RNNCell(INPUTS, UNITS, nonlinearity="relu")
        with torch.no_grad():
            self.cell.bias_ih.fill_(-50.0)
            self.cell.bias_hh.zero_()
        self.hand_on, self.batched = hand_on, batched

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h = None
        for step in x.unbind(0 if not self.batched else 1):
            h = self.cell(step, h)
            h = self.hand_on(h)
        assert h is not None
        return h


HANDED: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda h: h,
    "detached": lambda h: h.detach(),
    "a view": lambda h: h.view(-1).view(h.shape),
}


@pytest.mark.parametrize("how", HANDED)
@pytest.mark.parametrize("batched", [True, False])
def test_zero_states_that_are_handed_on_make_one_sequence(how: str, batched: bool) -> None:
    """An edit of step 0 acts once, also where every state is zero."""
    model = Loop(HANDED[how], batched=batched)
    x = torch.randn(BATCH, TIME, INPUTS) if batched else torch.randn(TIME, INPUTS)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 1}
    assert recording["hidden_state"].shape[1] == TIME
    seen = []
    edit = probe.edit("hidden_state", lambda value, _: seen.append(1) or value + 1, steps=0)
    probe.record(model, x, edits=[edit])
    assert len(seen) == 1


def test_zeros_that_may_be_handed_on_or_new_are_refused() -> None:
    """A zero state from nowhere, or one set to zero in place, looks like a new sequence's first state."""
    with refused():
        probe.record(Loop(torch.zeros_like), torch.randn(BATCH, TIME, INPUTS))
    assert probe.record(Loop(lambda h: h.clone()), torch.randn(BATCH, TIME, INPUTS)).calls == {"cell": 1}
    with refused():
        probe.record(Loop(lambda h: h.add_(1).zero_()), torch.randn(BATCH, TIME, INPUTS))


class Two(nn.Module):
    """Two sequences, step by step, that are the same up to a step."""

    def __init__(self, hand_on: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cell, self.hand_on = nn.GRUCell(INPUTS, UNITS), hand_on
        self.start = nn.Parameter(torch.randn(BATCH, UNITS))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last states of both."""
        one = two = self.start
        for number, step in enumerate(x.unbind(1)):
            one = self.hand_on(self.cell(step, one))
            two = self.hand_on(self.cell(step if number < 2 else -step, two))
        return torch.stack([one, two])


def test_equal_states_of_two_sequences_are_told_apart_by_their_memory_alone() -> None:
    """The very tensors, or copies, make two sequences from one learned state; from nowhere they are nobody's."""
    x = torch.randn(BATCH, TIME, INPUTS)
    for hand_on in (lambda h: h, lambda h: h.clone()):
        recording = probe.record(Two(hand_on), x)
        assert recording.calls == {"cell": 2}
        assert [recording.call(number)["hidden_state"].shape[1] for number in (0, 1)] == [TIME, TIME]
    with refused():
        probe.record(Two(lambda h: torch.as_tensor(h.detach().numpy().copy())), x)


class Mixes(nn.Module):
    """Keeps a part of the old state between two calls, and may send it out of torch."""

    def __init__(self, *, leaves: bool) -> None:
        super().__init__()
        self.cell, self.leaves = nn.GRUCell(INPUTS, UNITS), leaves

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h = x.new_ones(len(x), UNITS)
        for step in x.unbind(1):
            h = 0.9 * self.cell(step, h) + 0.1 * h
            h = torch.as_tensor(h.detach().numpy()) if self.leaves else h
        return h


def test_an_edit_of_a_step_that_cannot_be_counted_is_refused() -> None:
    """Each call would look like a first one; an edit of every step is right."""
    model, x = Mixes(leaves=True), torch.randn(BATCH, TIME, INPUTS)
    with warned():
        assert probe.record(Mixes(leaves=False), x).calls == {"cell": 1}
    for edit in (probe.clamp("update_gate", 1.0, steps=[0]), probe.clamp("update_gate", 1.0, call=0)):
        with refused():
            probe.record(model, x, edits=[edit])
    h = x.new_ones(BATCH, UNITS)  # which this gate keeps
    with warned():
        found = probe.record(model, x, edits=[probe.clamp("update_gate", 1.0)])
    torch.testing.assert_close(found.output, h)


def test_sequences_that_end_one_after_the_other_go_on_in_their_rows() -> None:
    """A loop over a batch that shrinks hands on the first rows of the state."""

    class Shrinks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(INPUTS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            """Return the last state of each row."""
            h, ends = self.cell(x[:, 0]), []
            for step, rows in enumerate(range(BATCH, 0, -1), start=1):
                ends.append(h[rows - 1])
                if rows > 1:
                    h = self.cell(x[: rows - 1, step], h[: rows - 1])
            return torch.stack(ends)

    model, x = Shrinks(), torch.randn(BATCH, BATCH + 1, INPUTS)
    seen = []
    edit = probe.edit("hidden_state", lambda value, _: seen.append(len(value)) or value, steps=[1])
    with torch.no_grad(), probe.intervene(model, edit):
        model(x)
    assert seen == [BATCH - 1]


@pytest.mark.filterwarnings("ignore:The run changed model.h")
def test_an_initial_state_is_what_the_call_was_given() -> None:
    """A model that keeps its state in place changes no recording of it."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.h = nn.GRU(INPUTS, UNITS, batch_first=True), torch.ones(1, BATCH, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            """Return the hidden states."""
            output, h = self.rnn(x, self.h)
            self.h.copy_(h)
            return output

    x = torch.randn(BATCH, TIME, INPUTS)
    assert torch.equal(probe.record(Keeps(), x).initial[probe.Signal.HIDDEN_STATE], torch.ones(BATCH, UNITS))


def test_every_counts_the_calls_of_a_bare_cell() -> None:
    """Each call of it is one."""
    cell = nn.GRUCell(INPUTS, UNITS)
    with probe.watch(cell, every=3, detach=True) as recordings:
        h = None
        for _ in range(7):
            h = cell(torch.randn(BATCH, INPUTS), h)
    assert len(recordings) == 3
