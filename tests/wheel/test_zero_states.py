"""Cells in loops whose states are zero: which calls make one sequence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from called import BATCH, INPUTS, TIME, UNITS
from torch import Tensor, nn

import probe
from probe import ProbeError


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
    """A copy of a zero state looks like a new sequence's first state."""
    with pytest.raises(ProbeError, match="whether the call goes on or starts a sequence cannot be told"):
        probe.record(Loop(lambda h: h.clone()), torch.randn(BATCH, TIME, INPUTS))
    with pytest.raises(ProbeError, match="whether the call goes on or starts a sequence cannot be told"):
        probe.record(Loop(lambda h: h.add_(1).zero_()), torch.randn(BATCH, TIME, INPUTS))
