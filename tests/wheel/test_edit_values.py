"""What an edit is: a value that can be printed, compared, hashed and kept, whatever becomes of its source."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError, Signal

C = Signal.CELL_STATE


def test_an_edit_can_be_printed_compared_and_hashed(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Two edits are equal if they do the same: the place and the values both count."""
    source = probe.record(lstm, x)
    one, two = (probe.patch("cell_state", source, steps=3, units=[1]) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two, probe.patch("cell_state", source, steps=4, units=[1])}) == 2
    assert one != probe.patch("cell_state", probe.record(lstm, other), steps=3, units=[1])
    assert one != probe.patch("hidden_state", source, steps=3, units=[1])
    assert repr(one).startswith("patch('cell_state', source=<")
    assert "units=(1,), steps=(3,)" in repr(one)
    assert one.content[:8] in repr(one)


def test_an_edit_is_a_value(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Changing the source after the edit was made does not change the edit."""
    source = probe.record(lstm, other)
    edit = probe.patch(C, source, steps=3)
    values = source[C][:, 3].clone()
    _ = source[C].zero_()
    assert torch.equal(probe.record(lstm, x, edits=[edit])[C][:, 3], values)


def test_a_clamp_keeps_the_numbers_that_it_was_given(lstm: nn.LSTM, x: Tensor) -> None:
    """A Python number is not rounded to float32, and a tensor may change after the edit was made."""
    value = torch.full((5,), 0.1, dtype=torch.float64)
    edits = [probe.clamp(C, 0.1, steps=2), probe.clamp(C, value, steps=2)]
    _ = value.zero_()
    for edit in edits:
        assert bool((probe.record(lstm.double(), x.double(), edits=[edit])[C][:, 2] == 0.1).all())


def test_a_source_that_kept_some_steps_serves_those(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """A source recorded at steps 2 and 5 gives these, by the input's own counting, and refuses others."""
    some, source = probe.record(lstm, other, steps=[5, 2]), probe.record(lstm, other)
    run = probe.record(lstm, x, edits=[probe.patch(C, some, steps=2)])
    assert torch.equal(run[C][:, 2], source[C][:, 2])
    with pytest.raises(ProbeError, match=r"holds steps \(5, 2\) only; name some of them"):
        _ = probe.patch(C, some)
    with pytest.raises(ProbeError, match=r"step"):
        _ = probe.patch(C, some, steps=3)
