"""The random-weights controls: networks of the same sizes with redrawn or shuffled weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

#: The two kinds of random weights.
FRESH, SHUFFLED = "fresh weights", "shuffled weights"


def random_weights(model: nn.Module, count: int, *, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield copies of a network with random weights, with their names, half of each kind.

    `fresh weights` are drawn as torch draws them before training (`reset_parameters`). `shuffled weights` are the
    network's own numbers in another order within each gate's block of each array, so their scale and histogram stay.
    Fresh weights lose a scale that training gave, shuffled weights keep it: neither alone is a fair control.

    Args:
        model: the network.
        count: how many copies in all.
        seed: of the random numbers.
    """
    numbers = {FRESH: 0, SHUFFLED: 0}
    for number in range(count):
        generator = torch.Generator().manual_seed(seed * 1_000 + number)
        control = copy.deepcopy(model).eval()
        kind = FRESH if number % 2 == 0 and _reset(control, generator) else SHUFFLED
        if kind == SHUFFLED:
            _shuffle(control, generator)
        numbers[kind] += 1
        yield f"{kind} {numbers[kind]}", control


def kind_of(name: str) -> str:
    """Return a control's kind by its name, which is that without its number."""
    return name.rpartition(" ")[0]


def _recurrent(model: nn.Module) -> list[nn.Module]:
    from ..recurrent.layers import find_layers

    return list(dict.fromkeys(layer.module for layer in find_layers(model)))


def _reset(model: nn.Module, generator: torch.Generator) -> bool:
    """Draw the recurrent modules' weights as torch does. Return False if one of them is no module of torch."""
    modules = _recurrent(model)
    if not all(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in modules):
        return False
    with torch.no_grad():
        for module in modules:
            bound = int(getattr(module, "hidden_size")) ** -0.5  # noqa: B009 - torch's modules have it
            for parameter in module.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    return True


def _shuffle(model: nn.Module, generator: torch.Generator) -> None:
    """Put the numbers of each array of the recurrent modules into another order, gate by gate."""
    with torch.no_grad():
        for module in _recurrent(model):
            units = int(getattr(module, "hidden_size"))  # noqa: B009 - torch's modules and our own have it
            for parameter in module.parameters():
                blocks = parameter.split(units) if parameter.dim() and len(parameter) % units == 0 else (parameter,)
                for block in blocks:
                    order = torch.randperm(block.numel(), generator=generator)
                    block.copy_(block.flatten()[order].view_as(block))
