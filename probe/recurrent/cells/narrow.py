"""A faster LSTM step for few units and many rows, where torch's float32 kernel is slow.

With up to 16 units and a thousand rows the kernel takes longer than the loop below, of a dozen units 1.1 to 1.6 times
as long (`python -m benchmarks.kernels --only narrow`), since here each gate is one stretch of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from .cell import Weights
    from .lstm import LSTMCell

#: Up to how many units, and from how many rows, in float64 and in float32, whose kernel is quicker.
_MOST_UNITS, _LEAST_ROWS, _LEAST_ROWS_FLOAT = 16, 256, 1024
#: How many rows are computed together: small enough for a cache.
_BLOCK = 12_288


def fits(cell: LSTMCell, x: Tensor) -> bool:
    """Return whether a run is one that the loop is made for."""
    return x.dtype == torch.float32 and x.shape[1] >= _LEAST_ROWS_FLOAT and suits(cell, x)


def suits(cell: LSTMCell, x: Tensor) -> bool:
    """Return whether the loop is faster than one with the rows first, in any type."""
    return few_units(cell) and x.shape[1] >= _LEAST_ROWS and not torch.is_grad_enabled()


def few_units(cell: LSTMCell) -> bool:
    """Return whether an LSTM is plain, has few units and lies on the CPU."""
    return cell.plain and cell.units <= _MOST_UNITS and cell.weights.W.device.type == "cpu"


@dataclass(frozen=True, eq=False)
class Steps:
    """An LSTM's weights as `last` takes them: all units', or those of some that are computed while others are given.

    Attributes:
        matrix: W, the bias and U side by side, the rows of the computed units' gates, (gates, input + 1 + unit);
            U's columns are in the order of those units, then of the others.
        computed: how many units are computed.
        doubled: whether the candidate's rows are doubled, since its tanh is computed as a sigmoid.
    """

    matrix: Float[Tensor, "gates number"]
    computed: int
    doubled: bool

    @classmethod
    def of(cls, cell: LSTMCell, units: Sequence[int] | None = None) -> Steps:
        """Return the weights of a cell.

        Args:
            cell: a plain LSTM.
            units: which units are computed, ascending; None for all.
        """
        matrix, bias = joined_weights(cell.weights)
        inputs = matrix.shape[1] - cell.units
        matrix, doubled = torch.cat([matrix[:, :inputs], bias, matrix[:, inputs:]], dim=1), has_slow_tanh(matrix)
        if not doubled:
            matrix[2 * cell.units : 3 * cell.units] /= 2
        if units is None:
            return cls(matrix, cell.units, doubled)
        others = [unit for unit in range(cell.units) if unit not in units]
        rows = torch.tensor([gate * cell.units + unit for gate in range(4) for unit in units], dtype=torch.long)
        columns = [*range(inputs + 1), *(inputs + 1 + unit for unit in (*units, *others))]
        return cls(matrix[rows][:, columns].contiguous(), len(units), doubled)


def last(
    steps: Steps,
    x: Float[Tensor, "time batch input"],
    c: Float[Tensor, "unit batch"],
    h: Float[Tensor, "unit batch"],
    given: Float[Tensor, "other batch"] | None = None,
) -> Float[Tensor, "both batch"]:
    """Return the state after the last of some steps, numbers first: c, then h, of the units that are computed.

    How much longer interchange and battery take with torch's own module: `python -m benchmarks.kernels --only last`.

    Args:
        steps: the weights.
        x: its inputs, one step at least; one step only where some units are given.
        c: the cell state of the units computed.
        h: their hidden state.
        given: the hidden state of the other units before the step.
    """
    (time, batch, inputs), units = x.shape, steps.computed
    out, ones = c.new_empty(2 * units, batch), c.new_ones(1, batch)
    space = c.new_empty(4 * units, min(batch, _BLOCK))
    # The bias is what a one is multiplied by: to add it would be another pass over memory.
    seen = (x[0].T, ones, h) if given is None else (x[0].T, ones, h, given)
    for first in range(0, batch, _BLOCK):
        rows = slice(first, first + _BLOCK)
        read = torch.cat([part[:, rows] for part in seen])
        a = space[:, : read.shape[1]]
        i, f, g, o = a.chunk(4)
        before, now = c[:, rows], out[:units, rows]
        for t in range(time):
            if t:
                read[:inputs] = x[t, rows].T
            new = out[units:, rows] if t == time - 1 else read[inputs + 1 :]
            torch.mm(steps.matrix, read, out=a)
            if steps.doubled:
                a.sigmoid_()
                # c f + i (2 sigmoid(2 z) - 1)
                torch.mul(before, f, out=now).addcmul_(i, g, value=2).sub_(i)
            else:
                a[: 2 * units].sigmoid_()
                o.sigmoid_()
                torch.mul(before, f, out=now).addcmul_(i, tanh(g, g))
            torch.mul(tanh(now, f), o, out=new)
            before = now
    return out


def has_slow_tanh(z: Tensor) -> bool:
    """Return whether a tanh costs several sigmoids, as torch's do; numpy's of float32 costs one."""
    return z.dtype != torch.float32 or z.device.type != "cpu"


def tanh(z: Tensor, out: Tensor) -> Tensor:
    """Write tanh(z) and return it."""
    if has_slow_tanh(z):
        return torch.tanh(z, out=out)
    np.tanh(z.numpy(), out=out.numpy())
    return out


def joined_weights(weights: Weights) -> tuple[Float[Tensor, "gates number"], Float[Tensor, "gates 1"]]:
    """Return W and U side by side, and the sum of the biases as a column, the candidate's rows doubled.

    tanh(z) = 2 sigmoid(2z) - 1: torch's float32 tanh costs three sigmoids.

    Args:
        weights: of an LSTM.
    """
    biases = [bias for bias in (weights.b_ih, weights.b_hh) if bias is not None]
    matrix = torch.cat([weights.W, weights.U], dim=1)
    units = len(matrix) // 4
    doubled = matrix.new_ones(len(matrix), 1)
    doubled[2 * units : 3 * units] = 2
    return matrix * doubled, sum(biases, matrix.new_zeros(len(matrix))).unsqueeze(1) * doubled
