"""Modules around a network, in which its layers keep the names that they have in it, or in its file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class NamedNetwork(nn.Module):
    """A network under the name that it has in its file, so that its layers get the names that they have in its model.

    Called with (batch, time, input), or, a stack, with packed sequences. A cell is called once for each step, from a
    zero state; its layer is `[0]` where it was saved alone.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        first, _, rest = name.partition(".")
        # Not as an attribute: a name such as `train` is a method of this class.
        self._modules[first or "[0]"] = NamedNetwork(rest, module) if rest else module

    def forward(self, x: Tensor | PackedSequence) -> Any:
        """Return what the network returns; of a cell, its hidden states, (batch, time, unit)."""
        (inner,) = self.children()
        if not isinstance(inner, nn.RNNCellBase) or isinstance(x, PackedSequence):
            return inner(x)
        return run(inner, x)


class Around(nn.Module):
    """A module around a network, in which the network's layers keep their names.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside the names that a file gave it; any other model as it is."""
    while isinstance(model, NamedNetwork):
        (model,) = model.children()
    return model


def named_network(name: str, module: nn.Module) -> nn.Module:
    """Return a model whose only network is the one given, with its layers named as in the file."""
    return NamedNetwork(name, module) if name or isinstance(module, nn.RNNCellBase) else module


def run(module: nn.Module, x: Tensor) -> Tensor:
    """Return the hidden states of a recurrent module, (batch, time, unit); a cell is called step by step."""
    if not isinstance(module, nn.RNNCellBase):
        return module(x)[0]
    states: list[Any] = []
    for step in x.unbind(1):
        states.append(module(step, states[-1] if states else None))
    return torch.stack([state[0] if isinstance(state, tuple) else state for state in states], dim=1)
