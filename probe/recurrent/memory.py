"""The computer's memory: results that take it again, tensors that share it, and how much of it is free.

The first touch of a page costs as much as computing half of the numbers on it (`python -m benchmarks.kernels --only
memory`), so what a result lay in is taken again once nobody holds it. `python -m benchmarks.day mixed` measures what
is held.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

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


def memory_of(value: Tensor) -> int:
    """Return where a tensor's memory begins, which views share."""
    return value.untyped_storage().data_ptr()


def free(device: torch.device | str, root: Path = Path("/")) -> int | None:
    """Return how many bytes can be had on a device, or None where nobody says.

    On the CPU the least of what the system has (MemAvailable) and of what is left under the memory limits of the
    process's cgroups (version 2), those around them too.

    Args:
        device: the device.
        root: where /proc and /sys are.
    """
    device = torch.device(device)
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    left = [number * 1024 for number in _numbers(root / "proc/meminfo", "MemAvailable:")]
    # In a container the path may be the host's, which is not mounted: the mount itself is then the process's own.
    path = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::/")), "")
    places = [place for place in path.split("/") if place not in ("", "..")]
    for depth in range(len(places), -1, -1):
        left += _left(root / "sys/fs/cgroup" / "/".join(places[:depth]))
    return max(0, min(left)) if left else None


def _left(folder: Path) -> Iterator[int]:
    """Yield what is left under each limit of one cgroup; files that it caches are let go when memory is needed."""
    used = next(_numbers(folder / "memory.current"), None)
    cached = sum(sum(_numbers(folder / "memory.stat", name)) for name in ("inactive_file", "active_file"))
    for limit in (number for name in ("memory.max", "memory.high") for number in _numbers(folder / name)):
        if used is not None:
            yield limit - used + min(cached, used)


def _numbers(path: Path, name: str = "") -> Iterator[int]:
    """Yield the numbers of a file of the system: of its lines, or of those that begin with a name."""
    for line in _lines(path):
        words = line.split()
        if name and words[:1] == [name]:
            words = words[1:]
        elif name:
            continue
        if words and words[0].isdigit():
            yield int(words[0])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() if os.path.isfile(path) else []
    except (OSError, ValueError):
        return []
