"""An LSTM of few units run forward and backward over the same number of rows again and again, the units first.

A search goes through one stretch of the recurrence some thousand times. Gradients through the formulas of
`probe.cells` cost three times this: every product allocates, and torch's tanh costs four sigmoids.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..cells import narrow
from ..cells.lstm import LSTMCell
from ..machines import Machine

_MOST_UNITS = 64


def suits(machine: Machine) -> bool:
    """Return whether a machine's cell is one that this is made for."""
    cell = machine.cell
    return isinstance(cell, LSTMCell) and cell.plain and cell.units <= _MOST_UNITS and machine.states.is_cpu


class Stretch:
    """A stretch of an LSTM's recurrence, its memory kept between runs.

    With one sigmoid for all gates: tanh(z) = 2 sigmoid(2z) - 1. The gradient is that of the formulas in
    `probe.cells.lstm`, in reverse order.

    Args:
        machine: whose cell runs; its states are the cell state, then the hidden state.
        steps: how many steps it reads.
        rows: how many rows run together.
    """

    def __init__(self, machine: Machine, steps: int, rows: int) -> None:
        matrix, bias = narrow.joined_weights(machine.cell.weights)
        self.units, self._matrix, self._bias = machine.units, matrix.detach(), bias.detach()
        inputs = machine.inputs.shape[2]
        self._back = self._matrix[:, inputs:].T.contiguous()
        #: What each step reads: its input, then the hidden state before it.
        self._read = matrix.new_empty(steps + 1, inputs + self.units, rows)
        self._gates = matrix.new_empty(steps, 4 * self.units, rows)
        self._candidate = matrix.new_empty(steps, self.units, rows)
        self._cells = matrix.new_empty(steps + 1, self.units, rows)
        self._squashed = matrix.new_empty(steps, self.units, rows)
        self._d_gates, self._slope = (matrix.new_empty(4 * self.units, rows) for _ in range(2))
        self._inputs = inputs

    def __call__(
        self, states: Float[Tensor, "row size"], inputs: Float[Tensor, "row time input"]
    ) -> Float[Tensor, "row size"]:
        """Return the states after reading inputs; gradients reach the states.

        Args:
            states: states before the first step.
            inputs: what is read. The next call overwrites what a gradient of this one needs.
        """
        return _Through.apply(states, inputs, self)

    def forward(self, states: Tensor, inputs: Tensor) -> Tensor:
        """Return the states after reading inputs, and keep what the way back needs."""
        units, read, cells = self.units, self._read, self._cells
        read[:-1, : self._inputs] = inputs.permute(1, 2, 0)
        cells[0], read[0, self._inputs :] = states[:, :units].T, states[:, units:].T
        for t, a in enumerate(self._gates):
            torch.addmm(self._bias, self._matrix, read[t], out=a).sigmoid_()
            i, f, g, o = a.chunk(4)
            candidate = torch.mul(g, 2, out=self._candidate[t]).sub_(1)
            c = torch.mul(cells[t], f, out=cells[t + 1]).addcmul_(i, candidate)
            squashed = torch.mul(c, 2, out=self._squashed[t]).sigmoid_().mul_(2).sub_(1)
            torch.mul(squashed, o, out=read[t + 1, self._inputs :])
        return torch.cat([cells[-1], read[-1, self._inputs :]]).T

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient at the states of the latest run, given that at the states after it."""
        units, d_gates, slope = self.units, self._d_gates, self._slope
        d_c, d_h = gradient[:, :units].T.contiguous(), gradient[:, units:].T
        d_i, d_f, d_g, d_o = d_gates.chunk(4)
        for t in reversed(range(len(self._gates))):
            a, squashed = self._gates[t], self._squashed[t]
            i, f, _, o = a.chunk(4)
            torch.mul(d_h, squashed, out=d_o)
            through = d_h * o
            d_c.add_(through).addcmul_(through.mul_(squashed), squashed, value=-1)
            torch.mul(d_c, self._candidate[t], out=d_i)
            torch.mul(d_c, self._cells[t], out=d_f)
            torch.mul(d_c, i, out=d_g).mul_(2)
            d_c.mul_(f)
            d_gates.mul_(torch.sub(a, torch.mul(a, a, out=slope), out=slope))
            d_h = self._back @ d_gates
        return torch.cat([d_c, d_h]).T


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, inputs: Tensor, stretch: Stretch) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.stretch = stretch
        return stretch.forward(states, inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.stretch.backward(gradient), None, None
