"""Finds the recurrent layers inside any module, and names them."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules import rnn as torchs

from ..errors import ANOTHER_CELL, ProbeError, unknown
from .cells.cell import Cell, Weights
from .cells.checking import check_cell
from .cells.gru import GRUCell
from .cells.lstm import LSTMCell
from .cells.rnn import RNNCell
from .signals import Signal

_FAMILIES: dict[type[nn.Module], Any] = {
    nn.LSTM: LSTMCell,
    nn.GRU: GRUCell,
    nn.RNN: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
    nn.RNNCell: RNNCell,
}
#: Somebody's own modules whose formulas were tried.
_CHECKED: WeakSet[nn.Module] = WeakSet()
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
        with _at_rest(self.module):
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
            f"Layer {self.name!r} is a {type(module).__name__}, which is of no known kind. {ANOTHER_CELL}"
        )

    def _weights(self, module: Any) -> Weights:
        # By attribute, so that a parametrized weight is computed as the module computes it.
        end = "" if self.is_cell else f"_l{self.level}" + ("_reverse" if self.reverse else "")
        W, U = getattr(module, f"weight_ih{end}"), getattr(module, f"weight_hh{end}")
        biases = (getattr(module, f"bias_ih{end}"), getattr(module, f"bias_hh{end}")) if module.bias else (None, None)
        projected = getattr(module, "proj_size", 0) > 0
        return Weights(W, U, *biases, getattr(module, f"weight_hr{end}") if projected else None)

    @property
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

    @property
    def place(self) -> int:
        """Where the layer stands among the layers of its module, in torch's order of h_n."""
        return self.level * directions(self.module) + int(self.reverse)

    @property
    def units(self) -> int:
        """How many units the layer has; a projected hidden state has fewer."""
        module: Any = self.module
        return module.hidden_size

    @property
    def inputs(self) -> int:
        """How many features the layer reads at a step."""
        return self._plan.weights.W.shape[1]

    @cached_property
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


@contextmanager
def _at_rest(module: nn.Module) -> Iterator[None]:
    """Compute parametrized weights without a trace, as the module's latest call had them.

    In training mode a spectral norm takes a step of its power iteration whenever its weight is read.
    """
    parametrizations: Any = getattr(module, "parametrizations", None)
    training = [] if parametrizations is None else [part for part in parametrizations.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


#: Where the forwards are defined that an edited run knows.
_KNOWN = ("torch.nn.modules.rnn", "probe.recurrent.custom")
_CALLED_BY_FORWARD = ("check_forward_args", "permute_hidden")


def own_forward(module: nn.Module) -> str:
    """Return what runs in place of the forward of a module's kind, in words; nothing where that itself runs."""
    own = getattr(vars(module).get("forward"), "__func__", None)
    if "forward" in vars(module) and not getattr(own, "of_a_session", False):
        return f"the forward of this {type(module).__name__} was replaced"
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


def directions(module: Any) -> int:
    """Return in how many directions a module reads its input."""
    return 2 if getattr(module, "bidirectional", False) else 1


def levels(module: Any) -> int:
    """Return how many layers a module stacks."""
    return getattr(module, "num_layers", 1)


def find_layers(model: nn.Module, names: Iterable[str] | None = None) -> tuple[Layer, ...]:
    """Return the recurrent layers of a model, in the order in which its modules are registered.

    Args:
        model: any module that contains recurrent layers.
        names: the layers wanted, or None for all of them.

    Raises:
        ProbeError: the model has no recurrent layer, a name does not exist, or nobody can look into the model.
    """
    if not isinstance(model, nn.Module):
        raise ProbeError(f"A model must be a torch.nn.Module; this is a {type(model).__name__}.")
    found: dict[str, Layer] = {}
    turned = {inner for one in model.modules() if isinstance(one, Turning) for inner in one.turned().modules()}
    for path, module in _unwrapped(model).named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ProbeError(
                f"{path or 'The model'!r} is a {type(module).__name__}, which torch lets nobody look into. "
                "Give the Python module that it was made from."
            )
        for layer in _layers_of(path, module, module in turned):
            if layer.name in found:
                raise ProbeError(
                    f"Two layers of {type(model).__name__} would both be called {layer.name!r}. Rename the module "
                    f"{path!r}: a name that holds brackets reads like a layer's."
                )
            found[layer.name] = layer
    if not found:
        raise ProbeError(
            f"{type(model).__name__} contains no recurrent layer (torch.nn.LSTM, GRU, RNN, or one of their cells; "
            "or probe.CustomLSTM, CustomGRU, CustomRNN). Give the module that holds the layer itself; a quantized "
            f"one must be opened before it was quantized. {ANOTHER_CELL}"
        )
    wanted = list(found) if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise ProbeError(unknown("layer", name, found))
    chosen = tuple(layer for name, layer in found.items() if name in wanted)
    for layer in chosen:
        _check_own(layer)
    return chosen


def _check_own(layer: Layer) -> None:
    """Try the formulas of somebody's own module when it is first looked at; those of this library are tested.

    They are tried with other weights too: the module's own may hide what a formula reads, as zeros do.
    """
    module = layer.module
    if (
        not isinstance(module, OwnModule)
        or module.make_cell.__module__ == "probe.recurrent.custom"
        or module in _CHECKED
    ):
        return
    if any(parameter.is_meta for parameter in module.parameters()):
        return  # there are no numbers to try them with
    for tried in (layer, replace(layer, module=_redrawn(module, torch.Generator().manual_seed(0)))):
        cell = tried.cell
        sizes = {cell.size(signal) for signal in cell.states}
        if sizes != {module.hidden_size} or getattr(module, "states", len(cell.states)) != len(cell.states):
            raise ProbeError(
                f"{type(module).__name__} of layer {layer.name!r} has hidden_size {module.hidden_size} and states = "
                f"{getattr(module, 'states', len(cell.states))}; its cell hands on {', '.join(cell.states)}, of "
                f"{', '.join(map(str, sorted(sizes)))} units. Both must say the same."
            )
        check_cell(cell, layer.name, cell.weights.W.shape[1], tried.learned)
    _CHECKED.add(module)


@torch.no_grad()
def _redrawn(module: nn.Module, generator: torch.Generator) -> Any:
    """Return a module with other weights, which shares everything else with the one given."""
    drawn = object.__new__(type(module))  # copy.copy refuses a parametrized module
    own = vars(drawn)
    own.update(vars(module))
    own["_modules"] = {name: part and _redrawn(part, generator) for name, part in module._modules.items()}
    own["_parameters"] = {
        name: one if one is None or not one.is_floating_point() else _drawn(one, generator)
        for name, one in module._parameters.items()
    }
    return drawn


def _drawn(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Return a parameter with half to one and a half of each number, and of zeros what a new layer could have."""
    drawn = (torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1).to(parameter)
    usual = drawn / max(1, parameter.shape[-1] if parameter.dim() > 1 else 1) ** 0.5
    return torch.where(parameter == 0, usual, parameter * (1 + drawn / 2))


def _layers_of(path: str, module: nn.Module, turned: bool) -> list[Layer]:
    if isinstance(module, nn.RNNCellBase):
        return [Layer(path or "[0]", module)]
    if not isinstance(module, (nn.LSTM, nn.GRU, nn.RNN, OwnModule)):
        return []
    return [
        Layer(f"{path}[{level}]" + (".reverse" if reverse != turned else ""), module, level, reverse, turned)
        for level in range(levels(module))
        for reverse in (False, True)[: directions(module)]
    ]


def whole_module(layer: Layer) -> tuple[Layer, ...]:
    """Return every layer of the module that a layer belongs to, in torch's order of h_n."""
    reverse = ".reverse" if layer.reverse or layer.turned else ""
    end = "" if layer.is_cell else f"[{layer.level}]{reverse}"
    return tuple(_layers_of(layer.name.removesuffix(end), layer.module, layer.turned))


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside torch.compile's wrapper, DataParallel or DistributedDataParallel, which adds nothing.

    The type decides, not the name of the attribute: a model of one's own may call a part `module` and have others.
    """
    compiler = sys.modules.get("torch._dynamo.eval_frame")  # asking for the type would load the compiler
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    kinds = wrappers if compiler is None else (*wrappers, compiler.OptimizedModule)
    while isinstance(model, kinds) and len(parts := list(model.children())) == 1:
        (model,) = parts
    return model
