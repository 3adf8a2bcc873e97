"""An LSTM of few units over many rows, with the units first: there torch's fused float32 kernel is slow.

Measured by `python -m benchmarks.speed` (table of sweeps): with up to 16 units and some hundred rows, the loop below
takes less than half of the kernel's time, since each gate is one stretch of memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..signals import Signal
from .cell import HIDDEN
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
    cell: LSTMCell, x: Float[Tensor, "time batch input"], state: Mapping[Signal, Tensor]
) -> tuple[Float[Tensor, "time batch unit"], dict[Signal, Tensor]]:
    """Run an LSTM from a state; returns the hidden states and the states after the last step."""
    weights, units = cell.weights, cell.units
    doubled = x.new_ones(4 * units, 1)
    doubled[2 * units : 3 * units] = 2  # the candidate's rows, see below
    matrix = torch.cat([weights.W, weights.U], dim=1) * doubled
    biases = [bias for bias in (weights.b_ih, weights.b_hh) if bias is not None]
    bias = sum(biases, x.new_zeros(4 * units)).unsqueeze(1) * doubled
    hidden = x.new_empty(len(x), x.shape[1], units)
    cells = x.new_empty(x.shape[1], units)
    for start in range(0, x.shape[1], _BLOCK):
        rows = slice(start, min(start + _BLOCK, x.shape[1]))
        c = state[_c][rows].T.contiguous()
        read = torch.cat([x[0, rows].T, state[HIDDEN][rows].T])
        h, a = read[x.shape[2] :], x.new_empty(4 * units, c.shape[1])
        i, f, g, o = a.chunk(4)
        for t in range(len(x)):
            read[: x.shape[2]] = x[t, rows].T
            torch.addmm(bias, matrix, read, out=a)
            a.sigmoid_()
            # tanh(z) = 2 sigmoid(2z) - 1: torch's float32 tanh costs three sigmoids.
            g.mul_(2).sub_(1)
            c.mul_(f).addcmul_(i, g)
            torch.mul(c, 2, out=h).sigmoid_().mul_(2).sub_(1).mul_(o)
            hidden[t, rows] = h.T
        cells[rows] = c.T
    return hidden, {HIDDEN: hidden[-1], _c: cells}
