"""The random-weights controls: networks of the same sizes with redrawn or shuffled weights."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn

from .finding import find_layers
from .layers import LoopLayer

#: Raised when a seed draws other weights: what a study kept that was measured beside the earlier ones is then stale.
VERSION = 2
#: At most so many copies are drawn for each that is asked for.
TRIES = 4
#: The two kinds of random weights.
FRESH: str = "fresh weights"
SHUFFLED: str = "shuffled weights"
_TORCHS = (nn.RNNBase, nn.RNNCellBase)


def random_weights(
    model: nn.Module, count: int, *, seed: int, cells: Collection[str] = ()
) -> Iterator[tuple[str, nn.Module]]:
    """Yield so many copies of a network with random weights, with their names, half of each kind.

    `fresh weights` are drawn as torch draws them before training (`reset_parameters`); where a part of a recurrent
    module has weights and no such method, nobody knows how, and all copies are shuffled. `shuffled weights` are the
    network's own numbers in another order within each gate's block of each array, so their scale and histogram stay.
    Fresh weights lose a scale that training gave, shuffled weights keep it: neither alone is a fair control. `cells`
    are the names of layers that are cells in a loop; only a run tells that.
    """
    numbers = {FRESH: 0, SHUFFLED: 0}
    for number in range(count):
        # Not the seed itself: `torch.manual_seed(0)` and seed 0 would draw the network that is compared once more.
        generator = torch.Generator().manual_seed(zlib.crc32(f"random weights {seed} {number}".encode()))
        control = copy.deepcopy(model).eval()
        modules = _recurrent(control, cells)
        kind = FRESH if number % 2 == 0 and _reset(modules, generator) else SHUFFLED
        if kind == SHUFFLED:
            _shuffle(modules, generator)
        numbers[kind] += 1
        yield f"{kind} {numbers[kind]}", control


def kind_of(name: str) -> str:
    """Return a control's kind by its name, which is that without its number."""
    return name.rpartition(" ")[0]


def same_states(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether two networks have the same states, each (..., unit), with their units in any order."""
    if not one or [tuple(value.shape) for value in one] != [tuple(value.shape) for value in other]:
        return False
    pairs = list(zip(one, other, strict=True))
    # The last of several rows tells most networks apart, and is sorted at once.
    rows = [(mine[-1:], its[-1:]) for mine, its in pairs if mine.ndim > 1]
    return all(
        torch.allclose(_in_order(mine), _in_order(its), atol=1e-6, equal_nan=True) for mine, its in (*rows, *pairs)
    )


def _in_order(value: Tensor) -> Tensor:
    """Return the units of each state by size, (..., unit)."""
    return (value.abs() if value.is_complex() else value).double().sort(dim=-1)[0]


def _recurrent(model: nn.Module, cells: Collection[str]) -> list[nn.Module]:
    found = (one for one in find_layers(model) if not isinstance(one, LoopLayer) or one.name in cells)
    return list(dict.fromkeys(layer.module for layer in found))


def _reset(modules: Sequence[nn.Module], generator: torch.Generator) -> bool:
    """Draw modules' weights as torch does. Return False if a part of one has weights and does not say how."""
    parts = [part for module in modules for part in _parts(module)]
    if not all(isinstance(part, _TORCHS) or hasattr(part, "reset_parameters") for part in parts):
        return False
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for part in parts:
            if isinstance(part, _TORCHS):
                bound = int(getattr(part, "hidden_size")) ** -0.5  # noqa: B009 - torch's modules have it
                for parameter in part.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            else:
                torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=generator)))
                part.reset_parameters()  # pyright: ignore[reportCallIssue]
    return True


def _parts(module: nn.Module) -> list[nn.Module]:
    """Return the modules that hold a module's weights: itself where it is one of torch's."""
    if isinstance(module, _TORCHS):
        return [module]
    return [part for part in module.modules() if any(True for _ in part.parameters(recurse=False))]


def _shuffle(modules: Sequence[nn.Module], generator: torch.Generator) -> None:
    """Put the numbers of each array of modules into another order, gate by gate."""
    with torch.no_grad():
        for module in modules:
            units = int(getattr(module, "hidden_size", 0))
            for parameter in module.parameters():
                by_gate = units and parameter.dim() and len(parameter) % units == 0
                for block in parameter.split(units) if by_gate else (parameter,):
                    order = torch.randperm(block.numel(), generator=generator)
                    block.copy_(block.flatten()[order].view_as(block))
