"""A fast forward and backward pass of a small LSTM, for alignment search (DAS).

A search goes through one stretch of the recurrence some thousand times. How much longer it takes with gradients
through torch's own module: `python -m benchmarks.kernels --only alignment`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...recurrent.cells import narrow
from ...recurrent.cells.lstm import LSTMCell
from ..dynamics import CellDynamics
from ..machines import Machine

_MOST_UNITS = 64


def suits(machine: Machine) -> bool:
    """Return whether a machine is one layer whose cell is one that this is made for."""
    cell = machine.cell if isinstance(machine.dynamics, CellDynamics) else None
    return isinstance(cell, LSTMCell) and cell.plain and cell.units <= _MOST_UNITS and machine.clean.states.is_cpu


class Stretch:
    """A stretch of an LSTM's recurrence, its memory kept between runs.

    With one sigmoid for all gates: tanh(z) = 2 sigmoid(2z) - 1. The gradient is that of the formulas in
    `probe.recurrent.cells.lstm`, in reverse order. Twice c and twice the candidate are kept, which spares passes over
    memory and costs no rounding; the weights of the way back make up for it.

    Args:
        machine: whose cell runs; its states are the cell state, then the hidden state.
        steps: how many steps it reads.
        rows: how many rows run together.
    """

    def __init__(self, machine: Machine, steps: int, rows: int) -> None:
        matrix, bias = narrow.joined_weights(machine.cell.weights)
        matrix, units, inputs = matrix.detach(), machine.dynamics.units, machine.dynamics.inputs
        self.units, self._inputs = units, inputs
        self._matrix = torch.cat([matrix[:, :inputs], bias.detach(), matrix[:, inputs:]], dim=1)
        kept = matrix.new_tensor([0.5, 0.5, 2.0, 1.0]).repeat_interleave(units)
        self._back = (matrix[:, inputs:].T * kept).contiguous()
        #: What each step reads: its input, a one for the bias, the hidden state before it.
        self._read = matrix.new_ones(steps + 1, inputs + 1 + units, rows)
        #: Of each step: 2 g, twice c before it, then i, f, sigmoid(2z) and o: what the gradients of i, f and g are
        #: multiplied by stands in one piece.
        self._kept = matrix.new_empty(steps + 1, 6, units, rows)
        squashed = matrix.new_empty(steps, units, rows)
        self._minus_one, self._minus_two = matrix.new_tensor(-1.0), matrix.new_tensor(-2.0)
        d_gates = matrix.new_empty(4, units, rows)
        self._d_gates = d_gates, d_gates[:3], d_gates[3], d_gates.flatten(0, 1)
        # Views, made once: in a short stretch making them costs as much as the arithmetic.
        before, after, hidden = self._kept[:-1], self._kept[1:, 1], self._read[1:, inputs + 1 :]
        self._onward = [
            (read, kept[2:].flatten(0, 1), *kept, c, own, h)
            for read, kept, c, own, h in zip(self._read[:-1], before, after, squashed, hidden, strict=True)
        ]
        self._backward = [
            (kept[5], own, h, kept[:3], kept[2:], kept[3])
            for kept, own, h in zip(before, squashed, hidden, strict=True)
        ][::-1]

    def __call__(
        self, states: Float[Tensor, "row size"], inputs: Float[Tensor, "row time input"]
    ) -> Float[Tensor, "row size"]:
        """Return the states after reading inputs; gradients reach the states.

        Args:
            states: states before the first step.
            inputs: what is read. The next call overwrites what a gradient of this one needs.
        """
        return _Through.apply(states, inputs, self)

    def forward(
        self, states: Float[Tensor, "size row"], inputs: Float[Tensor, "time input row"]
    ) -> Float[Tensor, "size row"]:
        """Return the states after reading inputs, and keep what the way back needs."""
        units, hidden = self.units, self._inputs + 1
        self._read[:-1, : self._inputs] = inputs
        self._read[0, hidden:] = states[units:]
        torch.mul(states[:units], 2, out=self._kept[0, 1])
        for read, gates, candidate, c_before, i, f, g, o, c, squashed, h in self._onward:
            torch.mm(self._matrix, read, out=gates).sigmoid_()
            torch.add(self._minus_two, g, alpha=4, out=candidate)
            torch.mul(c_before, f, out=c).addcmul_(i, candidate)
            torch.sigmoid(c, out=squashed)
            torch.add(self._minus_one, squashed, alpha=2, out=squashed)
            torch.mul(squashed, o, out=h)
        return torch.cat([self._kept[-1, 1] / 2, self._read[-1, hidden:]])

    def backward(self, gradient: Float[Tensor, "size row"]) -> Float[Tensor, "size row"]:
        """Return the gradient at the states of the latest run."""
        found, (d_gates, d_ifg, d_o, flat) = gradient.clone(), self._d_gates
        d_c, d_h = found[: self.units], found[self.units :]
        for o, squashed, h, others, gates, f in self._backward:
            d_c.addcmul_(d_h, o)
            torch.mul(d_h, squashed, out=d_o)
            d_c.addcmul_(d_o, h, value=-1)
            torch.mul(others, d_c, out=d_ifg)
            torch.ops.aten.sigmoid_backward.grad_input(d_gates, gates, grad_input=d_gates)
            d_c.mul_(f)
            torch.mm(self._back, flat, out=d_h)
        return found


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, inputs: Tensor, stretch: Stretch) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.stretch = stretch
        return stretch.forward(states.T, inputs.permute(1, 2, 0)).T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.stretch.backward(gradient.T.contiguous()).T, None, None
