"""An LSTM of few units over many rows, with the units first: there torch's fused float32 kernel is slow.

With up to 16 units and some hundred rows the loop below takes less than half of the kernel's time
(`python -m benchmarks.speed`), since each gate is one stretch of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ..signals import Signal
from .cell import HIDDEN

if TYPE_CHECKING:
    from .lstm import LSTMCell

_c = Signal.CELL_STATE
_MOST_UNITS, _LEAST_ROWS = 16, 256
#: How many rows are computed together: small enough for a cache.
_BLOCK = 2048


def fits(cell: LSTMCell, x: Tensor) -> bool:
    """Return whether a run is one that the loop is made for."""
    return (
        cell.plain
        and cell.units <= _MOST_UNITS
        and x.shape[1] >= _LEAST_ROWS
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
    )


def run(
    cell: LSTMCell, x: Float[Tensor, "time batch input"], state: Mapping[Signal, Tensor], *, keep: bool
) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor]]:
    """Run an LSTM from a state.

    Args:
        cell: the layer's cell.
        x: its inputs.
        state: the states before the first step.
        keep: whether to keep gates and cell states, or h alone.

    Returns:
        The signals, (time, batch, unit) each, views of arrays with the units first; the states after the last step.
    """
    weights, units, (time, batch, inputs) = cell.weights, cell.units, x.shape
    doubled = x.new_ones(4 * units, 1)
    doubled[2 * units : 3 * units] = 2  # the candidate's rows, see below
    matrix = torch.cat([weights.W, weights.U], dim=1) * doubled
    biases = [bias for bias in (weights.b_ih, weights.b_hh) if bias is not None]
    bias = sum(biases, x.new_zeros(4 * units)).unsqueeze(1) * doubled
    hidden = x.new_empty(time, units, batch)
    gates = x.new_empty(time if keep else 1, 4 * units, batch)
    cells = x.new_empty(time if keep else 1, units, batch)
    for start in range(0, batch, _BLOCK):
        rows = slice(start, min(start + _BLOCK, batch))
        read = torch.cat([x[0, rows].T, state[HIDDEN][rows].T])
        h, c = read[inputs:], state[_c][rows].T
        for t in range(time):
            a, now = (gates[t, :, rows], cells[t, :, rows]) if keep else (gates[0, :, rows], cells[0, :, rows])
            read[:inputs] = x[t, rows].T
            torch.addmm(bias, matrix, read, out=a)
            a.sigmoid_()
            i, f, g, o = a.chunk(4)
            # tanh(z) = 2 sigmoid(2z) - 1: torch's float32 tanh costs three sigmoids.
            g.mul_(2).sub_(1)
            c = torch.mul(c, f, out=now).addcmul_(i, g)
            torch.mul(c, 2, out=h).sigmoid_().mul_(2).sub_(1).mul_(o)
            hidden[t, :, rows] = h
    last = {HIDDEN: hidden[-1].T, _c: cells[-1].T}
    if not keep:
        return {HIDDEN: hidden.transpose(1, 2)}, last
    names = (Signal.INPUT_GATE, Signal.FORGET_GATE, Signal.CELL_CANDIDATE, Signal.OUTPUT_GATE)
    found = {name: value.transpose(1, 2) for name, value in zip(names, gates.chunk(4, dim=1), strict=True)}
    return found | {_c: cells.transpose(1, 2), HIDDEN: hidden.transpose(1, 2)}, last
