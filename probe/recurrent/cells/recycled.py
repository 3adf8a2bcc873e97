"""Memory for results, taken again once nobody holds what lay in it.

The first touch of a page costs as much as computing half of the numbers on it, so a recording in new memory is a
third slower (`python -m benchmarks.speed`). A block goes back when the last tensor, array or view of it is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import torch
from torch import Tensor

#: The least bytes worth it, and the most that are held for later.
_LEAST, _MOST = 100_000, 500_000_000


class _Block:
    """A stretch of memory of so many bytes."""

    __slots__ = ("memory", "size")

    def __init__(self, size: int) -> None:
        self.size, self.memory = size, torch.empty(size, dtype=torch.uint8)


#: The blocks that nobody uses, the longest unused first. Each change is one operation of a list, which no thread
#: interrupts: a lock could be held by a thread that a fork leaves behind, or by this one when garbage is collected.
_free: list[_Block] = []


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a contiguous tensor of a type and device with any numbers in it; the CPU's may have been used before.

    Args:
        shape: its shape.
        like: what has its type and device.
    """
    size = prod(shape) * like.element_size()
    if size < _LEAST or not like.is_cpu:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    block = _taken(size) or _Block(size)
    # A tensor of this array holds it, and so does all that is made of the tensor: the array ends with the last.
    array = block.memory.numpy()
    weakref.finalize(array, _give_back, block).atexit = False
    return torch.from_numpy(array).view(like.dtype).view(shape)


def copied(value: Tensor) -> Tensor:
    """Return a copy of a tensor in memory of its own."""
    return value.clone() if value.requires_grad else empty(value.shape, value).copy_(value)


def let_go() -> bool:
    """Give the system what is held for later; return whether there was any."""
    held = bool(_free)
    _free.clear()
    return held


def _taken(size: int) -> _Block | None:
    """Return an unused block of exactly so many bytes, or None."""
    for block in reversed([*_free]):
        if block.size == size:
            try:
                _free.remove(block)
            except ValueError:  # another thread has it
                continue
            return block
    return None


def _give_back(block: _Block) -> None:
    """Hold a block that nobody uses, and let go of those that were unused for longest where that is too much."""
    _free.append(block)
    held = [*_free]
    total = sum(one.size for one in held)
    for one in held:
        if total <= _MOST:
            break
        total -= one.size
        with suppress(ValueError):  # another thread has it
            _free.remove(one)
