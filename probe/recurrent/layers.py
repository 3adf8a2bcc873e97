"""`Layer`: one recurrent layer of one direction, whatever kind of module runs it.

And what an error says of a module that has a forward of its own, or that may be a cell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import rnn as torchs

from ..errors import ProbeError, another_cell
from .cells.cell import Cell, Weights
from .cells.gru import GRUCell
from .cells.lstm import LSTMCell
from .cells.rnn import RNNCell
from .cells.step_cell import StepCell
from .global_state import grad_mode_kept
from .signals import OUTPUT, UNKNOWN, Signal
from .steps.forms import advice, registered
from .steps.methods import steps_in
from .steps.registry import adapter_of
from .steps.step import Step, begin

_FAMILIES: dict[type[nn.Module], Any] = {
    nn.LSTM: LSTMCell,
    nn.GRU: GRUCell,
    nn.RNN: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
    nn.RNNCell: RNNCell,
}
_ACTIVATIONS: dict[str, Any] = {"tanh": torch.tanh, "relu": torch.relu}


class OwnModule(nn.Module, ABC):
    """A recurrent module of this library: one layer in one direction, which makes its own cell.

    Attributes:
        hidden_size: how many units it has.
        batch_first: whether the batch is the first axis of its inputs and outputs.
        h_0: the initial hidden state where it is learned, (unit,), or None.
        c_0: the initial cell state where it is learned, or None.
    """

    hidden_size: int
    batch_first: bool
    h_0: nn.Parameter | None
    c_0: nn.Parameter | None

    @abstractmethod
    def make_cell(self) -> Cell:
        """Return its cell with its weights as they are now."""

    @abstractmethod
    def check_call(self, x: Any, state: Any) -> None:
        """Raise ProbeError where it cannot be called with an input and an initial state (or None)."""


class Turning(nn.Module, ABC):
    """A module around others that gives some of them each sequence from its end.

    A step of their layers is an index of the wrapper's input all the same.
    """

    @abstractmethod
    def turned(self) -> nn.Module:
        """Return the module that is given the sequences from their end."""


@dataclass(frozen=True)
class Layer:
    """One recurrent layer of one direction inside a module.

    Attributes:
        name: the module's dotted name, the layer's index and its direction: `encoder.rnn[0]`,
            `encoder.rnn[0].reverse`; a cell that is called in a loop has its module's name alone.
        module: the torch module that runs it.
        level: which layer of a stack.
        reverse: whether it is the second direction of its module.
        turned: whether a wrapper gives its module each sequence from the end; see `Turning`.
    """

    name: str
    module: nn.Module
    level: int = 0
    reverse: bool = False
    turned: bool = False

    @property
    def reads_back(self) -> bool:
        """Whether the layer reads the input from its end."""
        return self.reverse != self.turned

    @property
    def cell(self) -> Cell:
        """The layer's cell with its weights as they are now."""
        parametrizations = self.module._modules.get("parametrizations")  # by attribute it takes ten times as long
        if parametrizations is None:
            return self._cell(self.module)
        with _at_rest(parametrizations):
            return self._cell(self.module)

    def _cell(self, module: Any) -> Cell:
        if isinstance(module, OwnModule):
            return module.make_cell()
        weights = self._weights(module)
        for kind, family in _FAMILIES.items():
            if isinstance(self.module, kind):
                options = [_ACTIVATIONS[module.nonlinearity]] if family is RNNCell else []
                return family(weights, *options)
        raise ProbeError(
            f"Layer {self.name!r} is a {type(module).__name__}, which is of no known kind. {another_cell()}"
        )

    def _weights(self, module: Any) -> Weights:
        # By attribute, so that a parametrized weight is computed as the module computes it.
        end = "" if self.is_cell else f"_l{self.level}" + ("_reverse" if self.reverse else "")
        W, U = getattr(module, f"weight_ih{end}"), getattr(module, f"weight_hh{end}")
        biases = (getattr(module, f"bias_ih{end}"), getattr(module, f"bias_hh{end}")) if module.bias else (None, None)
        projected = vars(module).get("proj_size", 0) > 0
        return Weights(W, U, *biases, getattr(module, f"weight_hr{end}") if projected else None)

    @cached_property
    def is_cell(self) -> bool:
        """Whether the layer is a cell, called once for each step."""
        return isinstance(self.module, nn.RNNCellBase)

    @property
    def learned(self) -> dict[Signal, Tensor]:
        """The initial states that are learned, (unit,) each: torch's modules have none, and begin with zeros."""
        if not isinstance(self.module, OwnModule):
            return {}
        states = {Signal.HIDDEN_STATE: self.module.h_0, Signal.CELL_STATE: self.module.c_0}
        return {signal: value for signal, value in states.items() if value is not None}

    @cached_property
    def levels(self) -> int:
        """How many layers its module stacks."""
        return getattr(self.module, "num_layers", 1)

    @cached_property
    def directions(self) -> int:
        """In how many directions its module reads its input."""
        return 2 if getattr(self.module, "bidirectional", False) else 1

    @cached_property
    def place(self) -> int:
        """Where the layer stands among the layers of its module, in torch's order of h_n."""
        return self.level * self.directions + int(self.reverse)

    @property
    def units(self) -> int:
        """How many units the layer has; a projected hidden state has fewer."""
        module: Any = self.module
        return module.hidden_size

    @property
    def inputs(self) -> int:
        """How many features the layer reads at a step; `UNKNOWN` where only a call tells."""
        return self._plan.weights.W.shape[1]

    @cached_property
    @grad_mode_kept
    def _plan(self) -> Cell:
        """The cell as it was first seen: its signals and sizes stay, whatever becomes of its weights."""
        with torch.no_grad():
            return self.cell

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What the layer computes at a step, in the order in which it computes it."""
        return self._plan.signals

    @property
    def states(self) -> tuple[Signal, ...]:
        """What is handed from step to step, in torch's order: the hidden state first."""
        return self._plan.states

    def size(self, signal: Signal) -> int:
        """Return how many units a signal of the layer has."""
        return self._plan.size(signal)

    @property
    def output(self) -> Signal:
        """What the layer returns at each step."""
        return Signal.HIDDEN_STATE

    @property
    def whole_state(self) -> tuple[Signal, ...]:
        """What the rest of a run follows from: of an LSTM the cell state, then the hidden state."""
        return self.states[::-1]

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """Return the shape of a signal at one step of one row."""
        return self._plan.shape(signal)

    @property
    def matrices(self) -> dict[Signal, tuple[int, ...]]:
        """The shapes of the signals that have several axes."""
        return self._plan.matrices

    def bytes_of(self, signal: Signal) -> int | None:
        """Return how many bytes a signal has at one step of one row, or None where only a call tells."""
        return self.size(signal) * self._plan.weights.W.element_size()


@dataclass(frozen=True)
class Seen:
    """What a call told of a layer that torch does not have.

    Attributes:
        states: what is handed from step to step.
        output: what it returns at each step: a part of the state where it is that.
        sizes: by signal, how many numbers it has.
        inputs: how many numbers it reads at a step.
    """

    states: tuple[Signal, ...]
    output: Signal
    sizes: Mapping[Signal, int]
    inputs: int


@dataclass(frozen=True)
class OpenLayer(Layer):
    """A layer that torch does not have; a unit of it is one number of its state.

    Attributes:
        seen: what a call told of it, where one was looked at.
    """

    seen: Seen | None = field(default=None, compare=False)

    @cached_property
    def levels(self) -> int:
        """One."""
        return 1

    @cached_property
    def directions(self) -> int:
        """One."""
        return 1

    @property
    def output(self) -> Signal:
        """What it returns at each step: a part of the state where a call has shown that it is that."""
        return OUTPUT if self.seen is None else self.seen.output

    @property
    def whole_state(self) -> tuple[Signal, ...]:
        """What the rest of a run follows from: the parts of the state, and the output where that is none of them."""
        return self.states if self.output in self.states else (*self.states, self.output)

    @property
    def units(self) -> int:
        """How many numbers its state has; `UNKNOWN` where only a call tells."""
        return sum(map(self.size, self.states)) if self.states else UNKNOWN

    def unit_name(self, unit: int) -> str:
        """Return what a unit is called: its number, after the name of its part of the state if there are several."""
        if len(self.states) < 2:
            return str(unit)
        named = [f"{signal}:{number}" for signal in self.states for number in range(self.size(signal))]
        return named[unit]

    @property
    def inputs(self) -> int:
        """How many numbers it reads at a step; `UNKNOWN` where only a call tells."""
        return UNKNOWN if self.seen is None else self.seen.inputs

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The parts of its state and its output; none where only a call tells."""
        return () if self.seen is None else tuple(self.seen.sizes)

    @property
    def states(self) -> tuple[Signal, ...]:
        """What is handed from step to step; nothing where only a call tells."""
        return () if self.seen is None else self.seen.states

    def size(self, signal: Signal) -> int:
        """Return how many numbers a signal has; `UNKNOWN` where only a call tells."""
        return UNKNOWN if self.seen is None else self.seen.sizes[signal]


@dataclass(frozen=True)
class StepLayer(OpenLayer):
    """A layer that an adapter runs; see `probe.Step`.

    Attributes:
        step: its adapter's class.
    """

    step: type[Step] = Step

    def _cell(self, module: Any) -> Cell:
        return self.cell_made(self.step(module))

    def cell_made(self, adapter: Step) -> StepCell:
        """Return the cell of an adapter."""
        return StepCell(adapter, begin(adapter, 1))

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The parts of its state and its output."""
        return self._plan.signals if self.seen is None else super().signals

    @property
    def states(self) -> tuple[Signal, ...]:
        """What is handed from step to step."""
        return self._plan.states if self.seen is None else super().states

    def size(self, signal: Signal) -> int:
        """Return how many numbers a signal has; of the output it is `UNKNOWN` where only a call tells."""
        return self._plan.size(signal) if self.seen is None else super().size(signal)

    def bytes_of(self, signal: Signal) -> int | None:
        """Return how many bytes a part of the state has at one step of one row; None of the output."""
        plan: Any = self._plan
        return None if signal == OUTPUT else self.size(signal) * plan.types[signal].itemsize


@dataclass(frozen=True)
class LoopLayer(OpenLayer):
    """A cell that a loop calls once a step, whatever it computes: only a call tells what its state is."""

    @cached_property
    def is_cell(self) -> bool:
        """Whether the layer is a cell, called once for each step."""
        return True

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """Return `(UNKNOWN,)`."""
        return (UNKNOWN,)

    @property
    def matrices(self) -> dict[Signal, tuple[int, ...]]:
        """None that is known before a call."""
        return {}

    def bytes_of(self, signal: Signal) -> int | None:
        """Return None: only a call tells."""
        return None

    @property
    def registered(self) -> bool:
        """Whether somebody said where the state of its class stands."""
        return registered(self.module)


@contextmanager
def _at_rest(parametrizations: nn.Module) -> Iterator[None]:
    """Compute parametrized weights without a trace, as the module's latest call had them.

    In training mode a spectral norm takes a step of its power iteration whenever its weight is read.
    """
    training = [part for part in parametrizations.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


#: Where the forwards are defined that an edited run knows.
_KNOWN = ("torch.nn.modules.rnn", "probe.recurrent.custom")
_OURS = (nn.RNNBase, nn.RNNCellBase, OwnModule)
_CALLED_BY_FORWARD = ("check_forward_args", "permute_hidden")


def own_forward(module: nn.Module) -> str:
    """Return what runs in place of the forward of a module's kind, in words; nothing where that itself runs."""
    own = getattr(vars(module).get("forward"), "__func__", None)
    if "forward" in vars(module) and not getattr(own, "of_a_session", False):
        return f"the forward of this {type(module).__name__} was replaced"
    if adapter_of(module) is not None or registered(module) or not isinstance(module, _OURS):
        return ""  # its adapter is compared with the module itself, or its own calls are all that is read
    names = ("forward", *_CALLED_BY_FORWARD) if isinstance(module, nn.RNNBase) else ("forward",)
    for name in names:
        kind = next(kind for kind in type(module).__mro__ if name in vars(kind))
        function = vars(kind)[name]
        where = getattr(function, "__module__", "")
        # A wrapper may call itself like what it wraps; its code lies elsewhere.
        wrapped = where == torchs.__name__ and function.__code__.co_filename != torchs.__file__
        if where not in _KNOWN or kind.__module__ not in _KNOWN or wrapped:
            return f"{kind.__module__}.{kind.__qualname__}.{name}"
    return ""


def refusal(name: str, module: nn.Module) -> str:
    """Return why a layer with a forward of its own can neither be edited nor run again."""
    return (
        f"Layer {name!r} has a forward of its own ({own_forward(module)}), and an edited run would pass "
        "over what that adds. Leave torch's module as it is and put what you add around it, in a module that holds "
        "it: self.rnn = torch.nn.LSTM(...)."
    )


def refuse_own_forward(layers: Iterable[Layer]) -> None:
    """Raise ProbeError where a layer's module does not run its kind's own forward."""
    for layer in layers:
        if own_forward(layer.module):
            raise ProbeError(refusal(layer.name, layer.module))


def perhaps(layer: Layer) -> bool:
    """Return whether only a run tells that a layer is recurrent."""
    return isinstance(layer, LoopLayer) and not layer.registered


def no_recurrence_in(layers: Sequence[Layer]) -> ProbeError:
    """Return the error for modules that could be cells where no call went on from a state that one had returned."""
    steps = [(type(one.module).__name__, name) for one in layers for name in steps_in(one.module)]
    named = (
        f"Where its step is a method, name that: probe.register({steps[0][0]}, step={steps[0][1]!r}). "
        if steps
        else ""
    )
    return ProbeError(
        f"None of {', '.join(repr(layer.name) for layer in layers)} was called with a state that it had returned "
        "before, so that no recurrent layer was seen. Of a cell with its state in another argument say where it is: "
        f"{advice(layers[0].module)}. {named}{another_cell()}"
    )


def not_shown(layer: Layer) -> str:
    """Return that no call of a module that could be a cell shows its state, and what to do, in words."""
    return (
        f"what {layer.name!r} was called with and what it returned do not show its state. Say where it is: "
        f"{advice(layer.module)}."
    )
