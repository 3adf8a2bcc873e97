"""What a state of recurrent layers is made of, and what an input makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.cells import narrow
from ..recurrent.cells.cell import HIDDEN, Cell
from ..recurrent.cells.lstm import LSTMCell
from ..recurrent.finding import find_layers
from ..recurrent.signals import Signal
from ..recurrent.stepwise import Stepwise


class Dynamics(ABC):
    """The states of recurrent layers, and the step from one state to the next.

    A state is one row of numbers: for an LSTM the cell state, then the hidden state; for a GRU and an RNN the hidden
    state. For a layer that torch does not have it is every part of its state, and its output where that is none of
    them. Many rows of an LSTM of few units, `narrow_cell`, step by `narrow.last`.

    Attributes:
        output: the signal that the layers return at each step, a part of the state.
        signals: the signals of a state, in its order.
        units: how many units the layers have together.
        size: how many numbers a state has.
        cell: the cell of the only layer; None where there are several.
    """

    def __init__(
        self,
        name: str,
        sizes: Mapping[Signal, int],
        inputs: int,
        cell: Cell | None = None,
        narrow_cell: LSTMCell | None = None,
    ) -> None:
        self.name, self.inputs, self.cell, self.narrow_cell = name, inputs, cell, narrow_cell
        self.output = HIDDEN
        self.signals, self.units, self.size = tuple(sizes), next(iter(sizes.values())), sum(sizes.values())
        self._sizes = sizes

    @abstractmethod
    def _read(self, states: Tensor, inputs: Tensor) -> Tensor:
        """Return the states after reading one input at least."""

    def advance(
        self, states: Float[Tensor, "row size"], inputs: Float[Tensor, "row time input"]
    ) -> Float[Tensor, "row size"]:
        """Return the states after reading inputs, of which there may be none."""
        return self._read(states, inputs) if inputs.shape[1] else states

    def columns(self, signal: Signal) -> slice:
        """Return where a signal stands in a state."""
        start = 0
        for name, size in self._sizes.items():
            if name == signal:
                return slice(start, start + size)
            start += size
        raise ProbeError(f"A state of {self.name} holds {', '.join(self.signals)}, not {signal}.")

    def unit(self, number: int) -> list[int]:
        """Return where a unit's numbers stand in a state: for an LSTM the pair (c_u, h_u)."""
        if not 0 <= number < self.units:
            raise ProbeError(f"unit={number} does not exist; {self.name} has {self.units} units.")
        return [self.columns(signal).start + number for signal in self.signals]

    def parts(self, states: Float[Tensor, "row size"]) -> dict[Signal, Tensor]:
        """Return the signals of states, (row, unit) each."""
        return {signal: states[:, self.columns(signal)] for signal in self.signals}

    def joined(self, parts: Mapping[Signal, Tensor]) -> Float[Tensor, "*lead size"]:
        """Return states of their signals, the inverse of `parts`."""
        return torch.cat([parts[signal] for signal in self.signals], dim=-1)

    def repeated(
        self, values: Float[Tensor, "batch number"], rows: Int64[Tensor, " row"], each: int = 1, times: int = 1
    ) -> Float[Tensor, "many number"]:
        """Return values of some rows, each so often after itself, and all of that so many times.

        Their order in memory is the one in which many states are run fastest.
        """
        if self.narrow_cell is None:
            return values.index_select(0, rows).repeat_interleave(each, 0).repeat(times, 1)
        # Torch takes three times as long as numpy to choose columns, and ten times to turn chosen rows round.
        wide = torch.as_tensor(values.T.numpy().take(rows.numpy(), axis=1))[:, None, :, None]
        return wide.expand(-1, times, -1, each).reshape(values.shape[1], -1).T


class CellDynamics(Dynamics):
    """The dynamics of one layer, whose cell is in float64."""

    def __init__(self, name: str, cell: Cell) -> None:
        # Many states of such a cell are run fastest where each number's rows lie one after the other in memory.
        fast = cell if isinstance(cell, LSTMCell) and narrow.few_units(cell) else None
        sizes = {signal: cell.size(signal) for signal in reversed(cell.states)}
        super().__init__(name, sizes, cell.weights.W.shape[1], cell, fast)
        self._run, self._steps = cell.run, None if fast is None else narrow.Steps.of(fast)

    def _read(self, states: Tensor, inputs: Tensor) -> Tensor:
        x, initial = inputs.transpose(0, 1), self.parts(states)
        if self.narrow_cell is not None and self._steps is not None and narrow.suits(self.narrow_cell, x):
            # The numbers stay first, so that the next step need not turn them round again.
            return narrow.last(self._steps, x, *(initial[signal].T for signal in self.signals)).T
        return self.joined(self._run(x, initial, (HIDDEN,))[1])


class StepDynamics(Dynamics):
    """The dynamics of a layer that torch does not have, whose units are the numbers of its state, run in float64."""

    def __init__(self, run: Stepwise) -> None:
        layer = run.layer
        sizes = {signal: layer.size(signal) for signal in layer.whole_state}
        super().__init__(f"layer {layer.name!r}", sizes, layer.inputs, run.cell)
        self.output, self.units, self._step = layer.output, layer.units, run.cell.stepped

    def unit(self, number: int) -> list[int]:
        """Return where a unit stands in a state: the number itself, counted over the parts of the state."""
        if not 0 <= number < self.units:
            raise ProbeError(f"unit={number} does not exist; {self.name} has {self.units} units.")
        return [number]

    def _read(self, states: Tensor, inputs: Tensor) -> Tensor:
        parts = self.parts(states)
        for x in inputs.transpose(0, 1):
            parts = self._step(x, parts)
        return self.joined(parts)


class StackDynamics(Dynamics):
    """The dynamics of layers on top of each other in one module of torch, one direction, batch first, in float64.

    In a stack the memory may lie in any layer: the state of the upper one, put into another sequence's run, is soon
    what the lower ones make of it. So a state is that of all layers: of each signal the lowest layer's numbers first.
    """

    def __init__(self, rnn: nn.RNNBase) -> None:
        signals = (Signal.CELL_STATE, HIDDEN) if isinstance(rnn, nn.LSTM) else (HIDDEN,)
        cell = find_layers(rnn)[0].cell if rnn.num_layers == 1 else None
        super().__init__("the stack", dict.fromkeys(signals, rnn.num_layers * rnn.hidden_size), rnn.input_size, cell)
        self._rnn = rnn

    def _read(self, states: Tensor, inputs: Tensor) -> Tensor:
        shape = len(states), self._rnn.num_layers, self._rnn.hidden_size
        # Torch has the hidden state first, and the layers before the rows.
        begin = [part.view(shape).transpose(0, 1).contiguous() for part in self.parts(states).values()][::-1]
        _, last = self._rnn(inputs, tuple(begin) if len(begin) == 2 else begin[0])
        after = last[::-1] if isinstance(last, tuple) else (last,)
        return torch.cat([part.transpose(0, 1).reshape(len(states), -1) for part in after], 1)
