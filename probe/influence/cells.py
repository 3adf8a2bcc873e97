"""Splits the cell state of an LSTM by the step that wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..hooks.record import record
from ..recurrent.finding import find_layers
from ..recurrent.rows.batches import close
from ..recurrent.signals import Signal

_PARTS = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.CELL_STATE)


def cell_state(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any] | None, name: str | None, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return c_T split by the step that wrote it, (row, step, unit), what is left of c_0, and each row's error.

    c_T = sum_s (prod_{r > s} f_r) i_s g_s + (prod_r f_r) c_0, computed in float64. Steps after T wrote nothing of it.

    Args:
        model: the model.
        inputs: what it is called with.
        kwargs: its keyword arguments.
        name: which layer.
        step: T, from 0, or from each row's last where it is negative.
    """
    layers = find_layers(model, None if name is None else [name])
    names = [layer.name for layer in layers if {*_PARTS} <= {*layer.signals}]
    if len(names) != 1:
        raise ProbeError(
            f"There are several LSTM layers; name one with layer=: {', '.join(map(repr, names))}."
            if names
            else "No layer asked for is an LSTM of torch's, whose cell state could be split. Ask for other methods."
        )
    recording = record(model, *inputs, kwargs=kwargs, layers=names, signals=_PARTS)
    if recording.calls.get(names[0]) != 1:
        raise ProbeError(f"Layer {names[0]!r} is called {recording.calls.get(names[0], 0)} times in a run, not once.")
    i, f, g, c = (recording[one].double() for one in _PARTS)
    lengths = torch.tensor(recording.lengths() or [i.shape[1]] * len(i), device=i.device)
    last = step + lengths * (step < 0)
    if bool(((last < 0) | (last >= lengths)).any()):
        raise ProbeError(
            f"step={step} lies outside a row, which have {int(lengths.min())} to {int(lengths.max())} steps."
        )
    steps = torch.arange(i.shape[1], device=i.device)
    before = (steps <= last.unsqueeze(1)).unsqueeze(-1)
    left = torch.where(before, f, 1.0).flip(1).cumprod(1).flip(1)
    after = torch.cat([left[:, 1:], torch.ones_like(left[:, :1])], 1)
    values, initial = torch.where(before, i * g, 0.0) * after, left[:, 0] * recording.initial[Signal.CELL_STATE]
    reached = recording[Signal.CELL_STATE][torch.arange(len(c), device=c.device), last]
    summed = values.sum(1) + initial
    if not close(reached, summed.to(reached.dtype)):
        raise ProbeError(f"The parts of the cell state of {names[0]!r} do not add up to it.")
    real = (steps < lengths.unsqueeze(1)).unsqueeze(-1)
    return values.masked_fill(~real, torch.nan), initial, (summed - reached).abs().amax(1)
