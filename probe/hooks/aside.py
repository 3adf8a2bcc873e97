"""States that a cell keeps on itself beside returning them: an edit changes what it returns, not what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..errors import ProbeError
from ..recurrent.layers import Layer, LoopLayer
from ..recurrent.memory import memory_of
from ..recurrent.steps import trails
from ..recurrent.steps.forms import tensors
from ..recurrent.steps.methods import MethodCell
from ..recurrent.steps.objects import opened
from ..recurrent.steps.readers import Place, Watched, arrays_of
from .sessions import Visit

#: What every module has, in which no state stands.
_USUAL = set(vars(nn.Module()))


class Aside:
    """Follows what cells kept of edited calls, and tells whether the model reads it.

    Args:
        place: where the program stands, from now on.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        #: The cell, under which names it keeps a state, and what is made of that.
        self._kept: list[tuple[Layer, str, Watched]] = []

    def note(self, visit: Visit) -> bool:
        """Note an edited call, and return whether its cell keeps what the edit replaced, so that it is followed."""
        layer = visit.layers[0]
        if not visit.replaced or not isinstance(layer, LoopLayer):
            return False
        pairs = zip(tensors(opened(visit.returned)), tensors(opened(visit.output)), strict=True)
        replaced = {id(old): old for old, new in pairs if not torch.equal(old, new)}
        own = {id(one): memory_of(one) for one in tensors(opened(visit.returned))}
        # What shares its memory with another part cannot be told from that.
        gone = [one for key, one in replaced.items() if list(own.values()).count(own[key]) == 1]
        module = layer.module
        held, found = list(_held_by(module.owner if isinstance(module, MethodCell) else module)), False
        for one in gone:
            names = dict.fromkeys(name for name, memory in held if memory == memory_of(one))
            if names:
                watched, found = Watched(self._place), True
                watched.numbers = one.numel()
                trails.watch(one, watched)
                self._kept.append((layer, " and ".join(map(repr, names)), watched))
        return found

    def check(self, output: Any) -> None:
        """Raise where what a model returned was made of a state that a cell kept, and not of what it returned."""
        for layer, names, watched in self._kept:
            if trails.reaches(output, watched):
                raise ProbeError(
                    f"Cell {layer.name!r} keeps what it returns as {names}, and the model reads it there, where no "
                    "edit changes it. Let the model read what the cell returned."
                )
        for _, _, watched in self._kept:
            trails.forget(watched)
        self._kept.clear()


def _held_by(module: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the memory of tensors in a module's own attributes, in lists, dicts and objects too, with those names."""
    for name, value in (*vars(module).items(), *module.named_buffers(recurse=False)):
        if name not in _USUAL:
            yield from ((name, memory_of(one)) for one in tensors(list(arrays_of(value, depth=2))))
