"""Memory for results, taken again once nobody holds what lay in it.

The first touch of a page costs as much as computing half of the numbers on it (`python -m benchmarks.kernels --only
recycled`), and `python -m benchmarks.day mixed` measures what is held.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

#: The least bytes worth it, and the most of the blocks that are remembered.
_LEAST, _MOST = 1 << 20, 1 << 28
#: How many are remembered: those of a few recordings. Of other sizes than today's none is taken again.
_MANY = 32
#: They are asked of the system, and go back to it: among what torch takes they would leave holes (not on Windows).
_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

#: The latest blocks, used or not, the latest last. Nothing runs when a tensor ends: a block that nothing else refers
#: to is unused. A thread takes a block out of the list, which nothing interrupts, before it asks. So no two get one.
_blocks: list[np.ndarray] = []


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a contiguous tensor of a type and device with any numbers in it; the CPU's may have been used before.

    Args:
        shape: its shape.
        like: what has its type and device.
    """
    size = prod(shape) * like.element_size()
    if size < _LEAST or not like.is_cpu:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    block = _taken(size)
    # A tensor of this array refers to it, and so does all that is made of the tensor.
    tensor = torch.from_numpy(block[:size]).view(like.dtype).view(shape)
    if block.nbytes <= _MOST:
        _blocks.append(block)
    return tensor


def copied(value: Tensor) -> Tensor:
    """Return a copy of a tensor in memory of its own."""
    return value.clone() if value.requires_grad else empty(value.shape, value).copy_(value)


def let_go() -> bool:
    """Forget all blocks, so that the system has those that nobody uses; return whether there were any."""
    held = bool(_blocks)
    _blocks.clear()
    return held


def _taken(size: int) -> np.ndarray:
    """Return an unused block for so many bytes, which is in the list no more, or a new one; forget the oldest."""
    # Sizes in steps of an eighth to a quarter, so that sequences of other lengths find a block, too.
    step = 1 << (size.bit_length() - 3)
    size = -(-size // step) * step
    held = size
    for place in range(len(_blocks) - 1, -1, -1):  # the latest first: some of it is in the cache
        try:
            block, references = _popped(_blocks, place)
        except IndexError:  # another thread has it
            continue
        if block.nbytes == size and references == _ALONE:
            return block
        held += block.nbytes
        if held <= _MOST and len(_blocks) - place < _MANY:
            _blocks.insert(place, block)
    return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.uint8)


def _popped(blocks: list[np.ndarray], place: int) -> tuple[np.ndarray, int]:
    """Take a block out of a list, and count the references to it."""
    block = blocks.pop(place)
    return block, sys.getrefcount(block)


#: The count of a block that nothing else refers to, which depends on the version of Python.
_ALONE = _popped([np.empty(1)], 0)[1]
