"""Whether what a recording keeps fits into memory: asked before a layer runs, so that nothing is lost.

What is kept is the least that a recording takes: it is refused only where it cannot be made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import ProbeError, several
from ..recurrent.calls import Call
from ..recurrent.cells import recycled
from ..recurrent.layers import Layer, StepLayer
from ..recurrent.signals import UNKNOWN, Signal

#: Below this many bytes the free memory is not looked up.
ASK_FROM = 50_000_000


@dataclass(frozen=True)
class Request:
    """What a recording is to keep, as far as it decides how much memory that takes.

    Attributes:
        keep: the signals kept of each layer that is called.
        steps: how many steps are kept of this call and of those before it, which are still there.
        dtype: in which type, or None for the run's.
        device: where, or None for where the run is.
        differentiate: whether a derivative is kept of each value.
        later: the signals of layers that torch does not have, whose calls are still to come; each is taken to be
            called once, with as many rows and steps as the first of them.
    """

    keep: Mapping[Layer, Sequence[Signal]]
    steps: int
    dtype: torch.dtype | None
    device: torch.device | str | None
    differentiate: bool
    later: Mapping[Layer, Sequence[Signal]]


def check_fits(call: Call, request: Request) -> int:
    """Raise where what is kept of a call does not fit into memory; return how many bytes that is.

    Args:
        call: what a layer was given.
        request: what is to be recorded.

    Raises:
        ProbeError: it does not fit; the message names both numbers and what takes less.
    """
    needed = kept(call, request)
    if needed < ASK_FROM:
        return needed
    device = torch.device(call.x.device if request.device is None else request.device)
    available = free(device)
    if available is not None and needed > available and recycled.let_go():
        available = free(device)
    if available is not None and needed > available:
        later = f", the {several(len(request.later), 'layer')} still to be called included," if request.later else ""
        advice = "Keep less with signals=, layer= or steps=, record fewer rows at a time"
        raise ProbeError(
            f"The recording keeps {needed / 1e9:.1f} GB on {device}{later} and {available / 1e9:.1f} GB are free. "
            f"{advice}, or {'a shorter input' if request.differentiate else 'stream to disk with out='}."
        )
    return needed


def kept(call: Call, request: Request) -> int:
    """Return how many bytes are kept of a call, and of the layers still to be called."""
    numbers = sum(
        _bytes_of(layer, signal, call, request.dtype)
        for layers in (request.keep, request.later)
        for layer, signals in layers.items()
        for signal in signals
    )
    return numbers * request.steps * call.x.shape[1] * (1 + request.differentiate)


def _bytes_of(layer: Layer, signal: Signal, call: Call, dtype: torch.dtype | None) -> int:
    """Return the bytes of a signal at one step of one row; an output is taken to be as wide as the input."""
    if dtype is None and isinstance(layer, StepLayer) and (size := layer.bytes_of(signal)) is not None:
        return size
    units = call.x.shape[2] if layer.size(signal) == UNKNOWN else layer.size(signal)
    return units * (call.x.dtype if dtype is None else dtype).itemsize


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
