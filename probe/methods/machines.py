"""A model as a machine: the state that its recurrent layer hands on, what an input does to it, what is read off it.

Where a model's answer depends on the past through one layer's state alone, every experiment on that state can be run
from the state itself: nothing before it is computed again, and all states of all prefixes can be tried.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import ProbeError, unknown
from ..recurrent.batches import map_tensors
from ..recurrent.calls import write_output
from ..recurrent.cells import narrow
from ..recurrent.cells.cell import HIDDEN, Cell
from ..recurrent.cells.lstm import LSTMCell
from ..recurrent.layers import Layer, find_layers, own_forward, whole_module
from ..recurrent.runs import Run, check, reconstruct
from ..recurrent.signals import Signal
from .outputs import per_row
from .probing.prefixes import grouped_prefixes

#: How many rows are run together: few enough for a cache.
CHUNK = 8_192
_ALLOWED = 1e-9


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers.

    Attributes:
        chosen: the answer, (row,).
        expected: the expected answer on the same scale, (row,), float64; it shows what a choice can hide.
    """

    chosen: Tensor
    expected: Tensor


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The distinct stretches of input up to a step; a state depends on nothing else.

    Attributes:
        rows: the first row that starts with each, ascending, (prefix,).
        group: which of them each row starts with, (row,).
    """

    rows: Int64[Tensor, " prefix"]
    group: Int64[Tensor, " row"]


class Machine:
    """A model with one recurrent layer, run from any of its states, in float64.

    A state is one row of numbers: for an LSTM the cell state, then the hidden state; otherwise the hidden state.

    Args:
        model: a module whose output depends on the sequence through one layer's last state alone, in a single call of
            that layer, which has one level and one direction. A float64 copy of it runs, in evaluation mode.
        x: the sequences of the natural run, (batch, time, ...), all of one length.
        answer: from the model's output to answers, (batch,).
        expected: from the model's output to expected answers, (batch,).
        layer: the layer's name, or None for the only one.

    Attributes:
        cell: the layer's cell.
        inputs: what the layer read in the natural run, (batch, time, input).
        states: its states after each step, (batch, time, size).
        natural: what the model answered.

    Raises:
        ProbeError: the layer was not called exactly once, is one of a stack, runs both ways or on packed sequences;
            or the output depends on more than its last state.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        *,
        answer: Callable[[Any], Tensor],
        expected: Callable[[Any], Tensor],
        layer: str | None = None,
    ) -> None:
        self.model = copy.deepcopy(model).double().eval()
        self._read = answer, expected
        self._steps: dict[tuple[int, ...] | None, narrow.Steps] = {}
        self._layer = _only_layer(self.model, layer)
        x = x.double() if x.is_floating_point() else x
        run, output = _natural(self.model, self._layer, x)
        trace, self._run = run.traces[0], run
        check(self._layer, trace.opened, torch.float64, None)
        self.cell: Cell = trace.cell
        #: The signals of a state, in its order.
        self.signals: tuple[Signal, ...] = tuple(reversed(self.cell.states))
        self.inputs: Float[Tensor, "batch time input"] = trace.x.transpose(0, 1)
        joined = torch.cat([trace.h if s == HIDDEN else trace.signals[s] for s in self.signals], dim=2)
        self.states: Float[Tensor, "batch time size"] = joined.transpose(0, 1).contiguous()
        self._blank = x[:1, -1:]
        map_tensors(self._compare, output, self.read(self.states[:, -1]))
        self.natural = self._answers(output, len(x))

    def _compare(self, found: Tensor, wanted: Tensor) -> None:
        if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=_ALLOWED, atol=_ALLOWED):
            raise ProbeError(
                f"The model's output depends on more than the last state of layer {self._layer.name!r}: read off "
                "that state alone it is another. Choose the layer= that stands last, or study this model with "
                "probe.questions.interventions.state_patching, which runs it whole."
            )

    def recorded(self, signal: Signal) -> Float[Tensor, "batch time unit"]:
        """Return a signal of the natural run, a gate for instance."""
        if signal not in self.cell.signals:
            raise ProbeError(unknown("signal", str(signal), [str(one) for one in self.cell.signals]))
        return self._run.traces[0].signals[signal].transpose(0, 1)

    @property
    def initial(self) -> Float[Tensor, "batch size"]:
        """The states before the first step."""
        return self.joined(dict(self._run.traces[0].initial))

    @cached_property
    def prefixes(self) -> tuple[Prefixes, ...]:
        """The distinct prefixes of the natural run after each step."""
        return tuple(
            Prefixes(torch.as_tensor(rows), torch.as_tensor(group)) for rows, group in grouped_prefixes(self.inputs)
        )

    @property
    def size(self) -> int:
        """How many numbers a state has."""
        return self.states.shape[2]

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return self.cell.size(self.signals[0])

    def columns(self, signal: Signal) -> slice:
        """Return where a signal stands in a state."""
        start = 0
        for one in self.signals:
            if one == signal:
                return slice(start, start + self.cell.size(one))
            start += self.cell.size(one)
        raise ProbeError(f"A state of layer {self._layer.name!r} holds {', '.join(self.signals)}, not {signal}.")

    def unit(self, number: int) -> list[int]:
        """Return where a unit's numbers stand in a state: for an LSTM the pair (c_u, h_u)."""
        if not 0 <= number < self.units:
            raise ProbeError(f"unit={number} does not exist; layer {self._layer.name!r} has {self.units} units.")
        return [self.columns(signal).start + number for signal in self.signals]

    def parts(self, states: Float[Tensor, "row size"]) -> dict[Signal, Tensor]:
        """Return the signals of states, (row, unit) each."""
        return {signal: states[:, self.columns(signal)] for signal in self.signals}

    def joined(self, parts: dict[Signal, Tensor]) -> Float[Tensor, "row size"]:
        """Return states of their signals, the inverse of `parts`."""
        return torch.cat([parts[signal] for signal in self.signals], dim=1)

    @cached_property
    def numbers_first(self) -> bool:
        """Whether many states are run fastest where each number's rows lie one after the other in memory."""
        return isinstance(self.cell, LSTMCell) and narrow.few_units(self.cell)

    def repeated(
        self, values: Float[Tensor, "batch number"], rows: Int64[Tensor, " row"], each: int = 1, times: int = 1
    ) -> Float[Tensor, "many number"]:
        """Return values of rows in the order in memory that suits the machine.

        Args:
            values: numbers of every row of the natural run.
            rows: which rows.
            each: how often each row stands after itself.
            times: how often all of that is repeated.
        """
        chosen = values.index_select(0, rows)
        if not self.numbers_first:
            return chosen.repeat_interleave(each, 0).repeat(times, 1)
        wide = chosen.T.contiguous()[:, None, :, None]
        return wide.expand(-1, times, -1, each).reshape(values.shape[1], -1).T

    def advance(
        self, states: Float[Tensor, "row size"], inputs: Float[Tensor, "row time input"]
    ) -> Float[Tensor, "row size"]:
        """Return the states after reading inputs, of which there may be none."""
        if not inputs.shape[1]:
            return states
        x, initial, cell = inputs.transpose(0, 1), self.parts(states), self.cell
        if isinstance(cell, LSTMCell) and narrow.suits(cell, x):
            # The numbers stay first, so that the next step need not turn them round again.
            return narrow.last(self.steps_of(None), x, *(initial[signal].T for signal in self.signals)).T
        return self.joined(cell.run(x, initial, (HIDDEN,))[1])

    def steps_of(self, units: tuple[int, ...] | None) -> narrow.Steps:
        """Return the weights of an LSTM for `narrow.last`, made once.

        Args:
            units: which units are computed, ascending; None for all.

        Raises:
            ProbeError: the cell is another.
        """
        if not isinstance(self.cell, LSTMCell):
            kind = type(self.cell).__name__
            raise ProbeError(f"Layer {self._layer.name!r} is a {kind}; give an LSTM, which the narrow loop runs.")
        if units not in self._steps:
            self._steps[units] = narrow.Steps.of(self.cell, units)
        return self._steps[units]

    def parents(self, step: int) -> Int64[Tensor, " prefix"]:
        """Return for each distinct prefix after a step its place among those of the step before."""
        return self.prefixes[step - 1].group[self.prefixes[step].rows]

    def follow(self, states: Float[Tensor, "row size"], step: int) -> Float[Tensor, "next size"]:
        """Return the states of the next step's distinct prefixes, given some for each of this step's.

        Args:
            states: as many for each distinct prefix after a step, those of a prefix one after the other.
            step: after which step they stand; another follows.
        """
        rows = self.prefixes[step + 1].rows
        width = len(states) // len(self.prefixes[step].rows)
        parent = self.parents(step + 1)
        if self.numbers_first:
            before = states.T.reshape(self.size, -1, width).index_select(1, parent).flatten(1).T
        else:
            before = states.view(-1, width, self.size).index_select(0, parent).view(-1, self.size)
        return self.advance(before, self.inputs[rows, step + 1].repeat_interleave(width, 0).unsqueeze(1))

    def answers_of_rows(self, states: Float[Tensor, "row size"]) -> Answers:
        """Return what every row of the natural run answers, given some last states for each distinct sequence.

        Args:
            states: as many for each, those of a sequence one after the other; so are the answers of a row.
        """
        found, prefixes = self.answers(states), self.prefixes[-1]
        if len(prefixes.rows) == len(prefixes.group):
            return found
        shape = len(prefixes.rows), -1
        return Answers(*(a.view(shape)[prefixes.group].flatten() for a in (found.chosen, found.expected)))

    def read(self, states: Float[Tensor, "row size"]) -> Any:
        """Return the model's output where these are the layer's last states."""
        parts = self.parts(states)
        own = vars(self._layer.module)
        with narrow.NumbersFirst():
            # As the natural run's call was answered: the one that comes says no more than how many rows it has.
            output = write_output(self._run.layers, parts[HIDDEN].unsqueeze(0), [parts], self._run.call)
            own["forward"] = lambda *_arguments, **_keywords: output
            try:
                return self.model(self._blank.expand(len(states), *self._blank.shape[1:]))
            finally:
                own.pop("forward")

    @torch.no_grad()
    def answers(
        self, states: Float[Tensor, "row size"], rows: Int64[Tensor, " row"] | None = None, step: int = -1
    ) -> Answers:
        """Return what the model answers when it goes on from states.

        Args:
            states: states after a step.
            rows: which row of the natural run each goes on with; None where nothing is left to be read.
            step: after which step they stand; -1 for the last one.
        """
        pieces = []
        for start in range(0, len(states), CHUNK):
            part = slice(start, start + CHUNK)
            now = states[part]
            if rows is not None and step not in (-1, self.inputs.shape[1] - 1):
                now = self.advance(now, self.inputs[rows[part], step + 1 :])
            pieces.append(self._answers(self.read(now), len(now)))
        if not pieces:
            return Answers(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64))
        return Answers(torch.cat([piece.chosen for piece in pieces]), torch.cat([piece.expected for piece in pieces]))

    def _answers(self, output: Any, rows: int) -> Answers:
        chosen, expected = (
            per_row(name, _read(name, read, output), rows)
            for name, read in zip(("answer(...)", "expected(...)"), self._read, strict=True)
        )
        return Answers(chosen, expected.double())


def _read(name: str, read: Callable[[Any], Tensor], output: Any) -> Tensor:
    try:
        with narrow.NumbersFirst():
            return read(output)
    except RuntimeError as error:
        raise ProbeError(
            f"{name} failed on the output of the float64 copy that runs: {error}. Let it take any floating type, "
            "such as by `.to(output)`."
        ) from error


def _only_layer(model: nn.Module, name: str | None) -> Layer:
    layers = list(find_layers(model, None if name is None else [name]))
    if len(layers) > 1:
        names = ", ".join(repr(layer.name) for layer in layers)
        raise ProbeError(f"The model has several layers: {names}. Choose one with layer=.")
    layer = layers[0]
    if layer.is_cell or layer.turned or len(whole_module(layer)) > 1 or own_forward(layer.module):
        raise ProbeError(
            f"Layer {layer.name!r} is a cell in a loop, one of several layers of its module, reads its input from "
            "the end, or has a forward of its own; a Machine needs a module of one level and one direction. "
            "probe.questions.interventions.state_patching runs such a model whole."
        )
    return layer


@torch.no_grad()
def _natural(model: nn.Module, layer: Layer, x: Tensor) -> tuple[Run, Any]:
    runs: list[Run] = []

    def hook(_module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        runs.append(reconstruct(whole_module(layer), arguments, keywords, output))

    handle = layer.module.register_forward_hook(hook, with_kwargs=True, prepend=True)
    try:
        output = model(x)
    finally:
        handle.remove()
    if len(runs) != 1 or runs[0].call.lengths is not None or tuple(runs[0].call.x.shape[:2]) != (x.shape[1], len(x)):
        raise ProbeError(
            f"Layer {layer.name!r} was called {len(runs)} times; a Machine needs one call on a padded-free batch of "
            f"the input's {len(x)} rows and {x.shape[1]} steps."
        )
    return runs[0], output
