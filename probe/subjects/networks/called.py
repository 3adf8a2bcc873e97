"""A network as its study calls it: by somebody's function, on blocks of inputs, for an item of what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError, unknown
from ...recurrent.named_network import Around
from ..blocks import Blocks

#: How a study says how a model is called, to be filled in.
CALL = "call=lambda model, x, lengths: {}"


class Called(Around):
    """A network that a function of somebody's calls.

    Args:
        model: the network.
        call: takes it, inputs (batch, time, feature) or token ids (batch, time), and how many steps each sequence
            has, (batch,); returns what counts as the network's output.
    """

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Any]) -> None:
        super().__init__(model)
        self.call = call

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Return what the function returns; without lengths all sequences have the whole time axis."""
        whole = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        return self.call(self.model, x, whole)


class Blocked(Around):
    """A network that gets the inputs of each state as one.

    Args:
        model: the network.
        blocks: which inputs belong together.
    """

    def __init__(self, model: nn.Module, blocks: Blocks) -> None:
        super().__init__(model)
        self.blocks = blocks

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Return what the network returns of the inputs one by one."""
        inputs = self.blocks.parted(x)
        if lengths is None:
            return self.model(inputs)
        return self.model(inputs, torch.as_tensor(self.blocks.inputs(lengths.numpy())))


class OneItem(Around):
    """A network that returns an item of what it returns.

    Args:
        model: the network.
        item: which: its place in a tuple, or its name in a dict or an object.
    """

    def __init__(self, model: nn.Module, item: int | str) -> None:
        super().__init__(model)
        self.item = item

    def forward(self, *inputs: Any) -> Any:
        """Return the item."""
        returned = self.model(*inputs)
        items = items_of(returned)
        if self.item not in items:
            raise ProbeError(
                f"The model returns a {type(returned).__name__}. {unknown('item of it', self.item, list(items))}"
            )
        return items[self.item]


def items_of(returned: Any) -> dict[int | str, Any]:
    """Return the items of what a model returned, by place or name; none of a tensor."""
    if isinstance(returned, Tensor):
        return {}
    if isinstance(returned, (tuple, list)):
        return dict(enumerate(returned))
    if isinstance(returned, Mapping):
        return {name: one for name, one in returned.items() if isinstance(name, str)}
    if dataclasses.is_dataclass(returned):
        return {one.name: getattr(returned, one.name) for one in dataclasses.fields(returned)}
    return dict(getattr(returned, "__dict__", {}))


def inner(model: nn.Module) -> nn.Module:
    """Return the network inside the modules of this file."""
    while isinstance(model, Around):
        model = model.model
    return model


def blocks_of(model: nn.Module) -> Blocks | None:
    """Return which inputs belong to a state of a network; None where each has one."""
    return next((module.blocks for module in model.modules() if isinstance(module, Blocked)), None)


def calls_of(model: nn.Module) -> list[Callable[..., Any]]:
    """Return the functions by which a network is called: one, which is told the lengths, or none."""
    return [module.call for module in model.modules() if isinstance(module, Called)]
