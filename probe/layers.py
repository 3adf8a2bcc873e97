"""Finds the recurrent layers inside any module and reads what a call of one of them did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .cells import lstm
from .errors import ProbeError, unknown
from .signals import Signal

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
#: Prefixes that torch.compile and DataParallel put before the names of a wrapped model's modules.
_WRAPPERS = ("_orig_mod.", "module.")


@dataclass(frozen=True)
class Layer:
    """One recurrent layer of one direction inside a module.

    Attributes:
        name: the module's dotted name and the layer's index, such as `encoder.rnn[0]`.
        module: the torch module that runs it.
    """

    name: str
    module: nn.LSTM

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return self.module.hidden_size

    @property
    def inputs(self) -> int:
        """How many features the layer reads at a step."""
        return self.module.input_size

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What the layer computes at a step, in the order in which it computes it."""
        return lstm.SIGNALS

    @property
    def weights(self) -> lstm.Weights:
        """The layer's parameters; biases are None where the module has none."""
        # By attribute, so that a parametrized weight is computed as the module computes it.
        module: Any = self.module
        biases = (module.bias_ih_l0, module.bias_hh_l0) if module.bias else (None, None)
        return lstm.Weights(module.weight_ih_l0, module.weight_hh_l0, *biases)


def find_layers(model: nn.Module, names: Iterable[str] | None = None) -> tuple[Layer, ...]:
    """Return the recurrent layers of a model, in the order in which its modules are registered.

    Args:
        model: any module that contains recurrent layers.
        names: the layers wanted, or None for all of them.

    Raises:
        ProbeError: the model has no recurrent layer, a name does not exist, or a wanted layer is of a
            kind that cannot be opened yet.
    """
    if not isinstance(model, nn.Module):
        raise ProbeError(f"A model must be a torch.nn.Module; this is a {type(model).__name__}.")
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ProbeError(
                f"{path or 'The model'!r} is a {type(module).__name__}, which torch lets nobody look into. "
                "Give the Python module that it was made from."
            )
        if isinstance(module, _RECURRENT):
            found[f"{_unwrapped(path)}[0]"] = module
    if not found:
        raise ProbeError(
            f"{type(model).__name__} contains no recurrent layer (torch.nn.LSTM). "
            "Give the module that holds the layer itself."
        )
    wanted = list(found) if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise ProbeError(unknown("layer", name, found))
    return tuple(Layer(name, _openable(name, found[name])) for name in found if name in wanted)


def _unwrapped(path: str) -> str:
    for wrapper in _WRAPPERS:
        path = path.removeprefix(wrapper)
        if path == wrapper.rstrip("."):
            return ""
    return path


def _openable(name: str, module: nn.Module) -> nn.LSTM:
    if isinstance(module, nn.LSTM):
        plain = module.num_layers == 1 and not module.bidirectional and module.proj_size == 0
        if plain:
            return module
        found = f"an nn.LSTM of {module.num_layers} layers" + (", bidirectional" if module.bidirectional else "")
        found += f", proj_size={module.proj_size}" if module.proj_size else ""
    else:
        found = f"a {type(module).__name__}"
    raise ProbeError(
        f"Layer {name!r} is {found}. This version opens nn.LSTM of one layer and one direction, without "
        "projection; name the layers to look at with layers=."
    )


@dataclass(frozen=True)
class LayerInput:
    """What one call of a layer was given, time-major.

    Attributes:
        x: inputs, (time, batch, input).
        initial: the states before the first step, (batch, unit) each.
        batched: whether the caller's input had a batch axis.
    """

    x: Tensor
    initial: Mapping[Signal, Tensor]
    batched: bool


def read_input(layer: Layer, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> LayerInput:
    """Return what a call `module(*arguments, **keywords)` gave the layer; a missing state is zero.

    Raises:
        ProbeError: the input is a PackedSequence.
    """
    given = dict(zip(("input", "hx"), arguments, strict=False)) | dict(keywords)
    x, state = given["input"], given.get("hx")
    if not isinstance(x, Tensor):
        raise ProbeError(
            f"Layer {layer.name!r} was called with a {type(x).__name__}. This version reads tensors only: "
            "call the model with a padded tensor."
        )
    batched = x.dim() == 3
    if not batched:
        x = x.unsqueeze(1)
    elif layer.module.batch_first:
        x = x.transpose(0, 1)
    if state is None:
        zeros = x.new_zeros(x.shape[1], layer.units)
        return LayerInput(x, {Signal.HIDDEN_STATE: zeros, Signal.CELL_STATE: zeros}, batched)
    h, c = (part[0] if batched else part for part in state)
    return LayerInput(x, {Signal.HIDDEN_STATE: h, Signal.CELL_STATE: c}, batched)


def read_output(layer: Layer, output: Any, *, batched: bool) -> tuple[Tensor, Tensor]:
    """Return the hidden states (time, batch, unit) and the last cell state (batch, unit) of a call."""
    h, (_, c) = output
    if not batched:
        return h.unsqueeze(1), c
    return (h.transpose(0, 1) if layer.module.batch_first else h), c[0]


def write_output(layer: Layer, h: Tensor, c: Tensor, *, batched: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return hidden states (time, batch, unit) and the last cell state (batch, unit) as the module would."""
    if not batched:
        return h[:, 0], (h[-1], c)
    output = h.transpose(0, 1) if layer.module.batch_first else h
    return output, (h[-1:], c.unsqueeze(0))
