"""A stack of layers as a machine: its state is that of all layers, so that nothing below stays as it was."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ProbeError
from ...methods.machines import Machine
from ...recurrent.signals import Signal
from ..definition.readouts import Head


class StackMachine(Machine):
    """Layers on top of each other in one module, and the head that reads the last one, run from any of their states.

    In a stack the memory may lie in any layer: the state of the upper one, put into another sequence's run, is soon
    what the lower ones make of it. A state is one row of numbers: for each state of the cell (an LSTM's cell state,
    then the hidden state) those of all layers, the lowest first.

    Args:
        rnn: the stack, one direction, batch first, in float64.
        head: the readout.
        inputs: what it reads, (batch, time, input).
        begin: the states before that, (batch, size).

    Attributes:
        layers: how many layers it has.
        columns_of: by layer and unit, where the unit's numbers stand in a state.
    """

    @torch.no_grad()
    def __init__(
        self,
        rnn: nn.RNNBase,
        head: Head,
        inputs: Float[Tensor, "batch time input"],
        begin: Float[Tensor, "batch size"],
    ) -> None:
        self.model, self._rnn, self._head = head, rnn.double().eval(), head.double()
        self.layers, self._width = rnn.num_layers, rnn.hidden_size
        self.signals = (
            (Signal.CELL_STATE, Signal.HIDDEN_STATE) if isinstance(rnn, nn.LSTM) else (Signal.HIDDEN_STATE,)
        )
        # What asks for the cell of a single layer has to find none here.
        self.cell: Any = None
        self._steps = {}
        self._read = head.answer, head.expected
        self.inputs = inputs
        states, now = [], begin
        for step in range(inputs.shape[1]):
            now = self.advance(now, inputs[:, step : step + 1])
            states.append(now)
        self.states = torch.stack(states, 1)
        self.natural = self._answers(self.read(self.states[:, -1]), len(inputs))

    @property
    def numbers_first(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - never, of a stack
        """Whether the numbers of a state come first in memory: never, of a stack."""
        return False

    @property
    def units(self) -> int:
        """How many units all layers have together; they are counted from the lowest layer on."""
        return self.layers * self._width

    def columns(self, signal: Signal) -> slice:
        """Return where a signal of all layers stands in a state."""
        if signal not in self.signals:
            raise ProbeError(f"A state of the stack holds {', '.join(self.signals)}, not {signal}.")
        start = self.signals.index(signal) * self.units
        return slice(start, start + self.units)

    def unit(self, number: int) -> list[int]:
        """Return where a unit's numbers stand in a state."""
        if not 0 <= number < self.units:
            raise ProbeError(f"unit={number} does not exist; the stack has {self.units} units.")
        return [place * self.units + number for place in range(len(self.signals))]

    def layer_columns(self, layer: int) -> list[int]:
        """Return where all numbers of a layer stand in a state."""
        return [
            column for unit in range(layer * self._width, (layer + 1) * self._width) for column in self.unit(unit)
        ]

    def advance(
        self, states: Float[Tensor, "row size"], inputs: Float[Tensor, "row time input"]
    ) -> Float[Tensor, "row size"]:
        """Return the states after reading inputs, of which there may be none."""
        if not inputs.shape[1]:
            return states
        parts = [
            states[:, self.columns(signal)].view(len(states), self.layers, self._width).transpose(0, 1).contiguous()
            for signal in self.signals
        ]
        begin = (parts[1], parts[0]) if len(parts) == 2 else parts[0]
        _, last = self._rnn(inputs, begin)
        found = (last[1], last[0]) if isinstance(last, tuple) else (last,)
        return torch.cat([part.transpose(0, 1).reshape(len(states), -1) for part in found], 1)

    def read(self, states: Float[Tensor, "row size"]) -> Tensor:
        """Return the head's scores where these are the last states."""
        return self._head(states[:, -self._width :])
