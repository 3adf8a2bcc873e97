"""A model as a machine: its dynamics, its readout and its clean run, from which every experiment on a state is run.

Where a model's answer depends on the past through one layer's state alone, nothing before that state is computed
again, and all states of all prefixes can be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import ProbeError
from ..recurrent.calls import replaced_forward, write_output
from ..recurrent.cells.cell import HIDDEN, Cell
from ..recurrent.finding import find_layers, whole_module
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer, OpenLayer, own_forward
from ..recurrent.rounding import check
from ..recurrent.rows.batches import map_tensors
from ..recurrent.runs import Run, reconstruct
from ..recurrent.signals import States
from ..recurrent.stepwise import stepwise
from .clean_run import CleanRun
from .dynamics import CellDynamics, Dynamics, StepDynamics
from .readouts import Answers, StateReadout

#: How many rows are run together: few enough for a cache.
CHUNK = 8_192
_ALLOWED = 1e-9


@dataclass(frozen=True, eq=False)
class Machine:
    """A model that can be run from any of its states, in float64.

    Attributes:
        dynamics: what a state is made of, and what an input makes of it.
        readout: what the model answers, given last states.
        clean: the run with nothing changed.
    """

    dynamics: Dynamics
    readout: StateReadout
    clean: CleanRun

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: nn.Module,
        x: Tensor,
        *,
        answer: Callable[[Any], Tensor],
        expected: Callable[[Any], Tensor],
        layer: str | None = None,
    ) -> Machine:
        """Return a model with one recurrent layer as a machine.

        Args:
            model: a module whose output depends on the sequence through one layer's last state alone, in a single
                call of that layer, which has one level and one direction. A copy of it runs, in evaluation mode.
            x: the sequences of the clean run, (batch, time, ...), all of one length.
            answer: from the model's output to answers, (batch,).
            expected: from the model's output to expected answers, (batch,).
            layer: the layer's name, or None for the only one.

        Raises:
            ProbeError: the layer was not called exactly once, is one of a stack, runs both ways or on packed
                sequences; or the output depends on more than its last state.
        """
        model = in_float64(model)
        only = _only_layer(model, layer)
        x = x.double() if x.is_floating_point() else x
        if isinstance(only, OpenLayer):
            return cls._of_steps(model, only, x, answer, expected)
        run, output = _clean(model, only, x)
        trace = run.traces[0]
        check(trace, trace.opened, None)
        dynamics = CellDynamics(f"layer {only.name!r}", trace.cell)
        write = partial(_written, run)
        readout = StateReadout(_Reader(model, only, dynamics, write, x[:1, -1:]), answer, expected)
        after = {signal: trace.h if signal == HIDDEN else trace.signals[signal] for signal in dynamics.signals}
        states = dynamics.joined(after).transpose(0, 1).contiguous()
        map_tensors(partial(_compare, only), output, readout.read(states[:, -1]))
        initial = dynamics.joined(trace.initial)
        starts = initial.unique(dim=0, return_inverse=True)[1]
        answers, inputs = readout.of_output(output, len(x)), trace.x.transpose(0, 1)
        return cls(dynamics, readout, CleanRun(inputs, initial, states, answers, starts, trace.signals))

    @classmethod
    def _of_steps(
        cls,
        model: nn.Module,
        layer: OpenLayer,
        x: Tensor,
        answer: Callable[[Any], Tensor],
        expected: Callable[[Any], Tensor],
    ) -> Machine:
        """Return a model with a layer that torch does not have as a machine."""
        run = stepwise(model, layer, x)
        run.check()
        dynamics = StepDynamics(run)
        readout = StateReadout(_Reader(model, layer, dynamics, run.write, x[:1, -1:]), answer, expected)
        states = dynamics.joined(run.signals)
        map_tensors(partial(_compare, layer), run.returned, readout.read(states[:, -1]))
        answers, initial = readout.of_output(run.returned, len(x)), dynamics.joined(run.begin)
        starts = initial.unique(dim=0, return_inverse=True)[1]
        signals = {signal: value.transpose(0, 1) for signal, value in run.signals.items()}
        return cls(dynamics, readout, CleanRun(run.x, initial, states, answers, starts, signals))

    @property
    def cell(self) -> Cell:
        """The cell of its one layer.

        Raises:
            ProbeError: it has several layers.
        """
        if self.dynamics.cell is None:
            raise ProbeError("The machine is a stack, and its layers have a cell each. Give a machine of one layer.")
        return self.dynamics.cell

    def follow(self, states: Float[Tensor, "row size"], step: int) -> Float[Tensor, "next size"]:
        """Return the states of the next step's distinct prefixes, given some for each of this step's."""
        clean, size = self.clean, self.dynamics.size
        width = len(states) // len(clean.prefixes[step].rows)
        parent = clean.parents(step + 1)
        if self.dynamics.narrow_cell is not None:
            before = states.T.reshape(size, -1, width).index_select(1, parent).flatten(1).T
        else:
            before = states.view(-1, width, size).index_select(0, parent).view(-1, size)
        read = clean.inputs[clean.prefixes[step + 1].rows, step + 1]
        return self.dynamics.advance(before, read.repeat_interleave(width, 0).unsqueeze(1))

    def answers_of_rows(self, states: Float[Tensor, "row size"]) -> Answers:
        """Return what every row of the clean run answers, given some last states for each distinct sequence."""
        found, prefixes = self.answers(states), self.clean.prefixes[-1]
        if len(prefixes.rows) == len(prefixes.group):
            return found
        shape = len(prefixes.rows), -1
        return Answers(*(a.view(shape)[prefixes.group].flatten() for a in (found.chosen, found.expected)))

    def going_on(
        self, states: Float[Tensor, "row size"], rows: Int64[Tensor, " row"], step: int
    ) -> Iterator[tuple[int, Int64[Tensor, " left"], Float[Tensor, "left size"]]]:
        """Yield every step from one on, with the states after it: a state whose row has ended is left out.

        Yields:
            The step, the places in `states` of those that go so far, and their states after it.
        """
        inputs, left = self.clean.inputs, torch.arange(len(states))
        yield step, left, states
        for now in range(step + 1, inputs.shape[1]):
            if self.clean.lengths is not None:
                there = self.clean.has(now)[rows[left]]
                left, states = left[there], states[there]
            if not len(left):
                return
            states = self.dynamics.advance(states, inputs[rows[left], now : now + 1])
            yield now, left, states

    @torch.no_grad()
    def answers(
        self, states: Float[Tensor, "row size"], rows: Int64[Tensor, " row"] | None = None, step: int = -1
    ) -> Answers:
        """Return what the model answers when it goes on from states.

        Args:
            states: states after a step.
            rows: which row of the clean run each goes on with; None where nothing is left to be read.
            step: after which step they stand; -1 for the last one.
        """
        inputs, pieces = self.clean.inputs, []
        for start in range(0, len(states), CHUNK):
            part = slice(start, start + CHUNK)
            now = states[part]
            if rows is not None and self.clean.lengths is not None:
                now = self._ends(now, rows[part], step)
            elif rows is not None and step not in (-1, inputs.shape[1] - 1):
                now = self.dynamics.advance(now, inputs[rows[part], step + 1 :])
            pieces.append(self.readout.answers(now))
        if not pieces:
            return Answers(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64))
        return Answers(torch.cat([piece.chosen for piece in pieces]), torch.cat([piece.expected for piece in pieces]))

    def _ends(self, states: Tensor, rows: Tensor, step: int) -> Tensor:
        """Return the states after the last step of each row; step -1 is a row's own last one."""
        if step == -1:
            return states
        last = torch.empty_like(states)
        for _, left, now in self.going_on(states, rows, step):
            last[left] = now
        return last


def _written(run: Run, output: Tensor, parts: States) -> Any:
    """Return what the clean run's call would have returned."""
    return write_output(run.layers, output.unsqueeze(0), [parts], run.call)


@dataclass(frozen=True, eq=False)
class _Reader:
    """A model whose layer is put aside: it makes its output of last states.

    Attributes:
        write: from the layer's output and its states to what its call returns.
        blank: one step of the model's input, for the call that comes; it says no more than how many rows it has.
    """

    model: nn.Module
    layer: Layer
    dynamics: Dynamics
    write: Callable[[Tensor, States], Any]
    blank: Tensor

    def __call__(self, states: Tensor) -> Any:
        """Return the model's output where these are the layer's last states."""
        parts = self.dynamics.parts(states)
        # Torch's linear layer is slow over rows whose numbers do not lie side by side.
        output = self.write(parts[self.dynamics.output].contiguous(), parts)
        with replaced_forward(self.layer.module, lambda *_arguments, **_keywords: output):
            return self.model(self.blank.expand(len(states), *self.blank.shape[1:]))


def _compare(layer: Layer, output: Tensor, read: Tensor) -> None:
    if output.shape != read.shape or not torch.allclose(output, read, rtol=_ALLOWED, atol=_ALLOWED):
        raise ProbeError(
            f"The model's output depends on more than the last state of layer {layer.name!r}: read off "
            "that state alone it is another. Choose the layer= that stands last, or study this model with "
            "probe.intervene, which runs it whole."
        )


def _only_layer(model: nn.Module, name: str | None) -> Layer:
    layers = find_layers(model, None if name is None else [name])
    if len(layers) > 1:
        names = ", ".join(repr(layer.name) for layer in layers)
        raise ProbeError(f"The model has several layers: {names}. Choose one with layer=.")
    layer = next(iter(layers))
    if isinstance(layer, OpenLayer):
        return layer
    if layer.is_cell or layer.turned or len(whole_module(layer)) > 1 or own_forward(layer.module):
        raise ProbeError(
            f"Layer {layer.name!r} is a cell in a loop, one of several layers of its module, reads its input from "
            "the end, or has a forward of its own; a Machine needs a module of one level and one direction. "
            "probe.intervene runs such a model whole."
        )
    return layer


@torch.no_grad()
def _clean(model: nn.Module, layer: Layer, x: Tensor) -> tuple[Run, Any]:
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
