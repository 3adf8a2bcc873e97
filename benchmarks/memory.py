"""What recordings that nobody keeps take, of changing lengths and of one: memory over the bare module's, and time.

    python -m benchmarks.memory

Each number of memory is the peak of a process of its own. Times are CPU seconds of one thread, `time.thread_time`, of
every tenth length, with `probe.recurrent.cells.recycled` and with new memory each time, in interleaved pairs; the
ratio is the median over the pairs.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch import nn

import probe
from probe.recurrent.cells import recycled

from .speed_page import machine

#: Rows, features and units, and the lengths of the calls of each walk over data.
ROWS, FEATURES, UNITS = 64, 16, 64
WALKS = {"380 lengths, 20 to 399 steps": range(20, 400), "one length, 40 times 400 steps": [400] * 40}
#: How much of the bare module's memory 380 recordings may take.
ALLOWED = 2.3
PAIRS = 7


def walk(lengths: Sequence[int], *, bare: bool = False) -> None:
    """Record a call of each length, or only make it, and keep nothing."""
    lstm = nn.LSTM(FEATURES, UNITS, batch_first=True).requires_grad_(requires_grad=False)
    for length in lengths:
        x = torch.randn(ROWS, length, FEATURES)
        _ = lstm(x) if bare else probe.record(lstm, x)


def megabytes(lengths: Sequence[int], *, bare: bool = False, new: bool = False) -> int:
    """Return the peak of memory of this process after a walk, in MB."""
    torch.set_num_threads(1)
    with patch.object(recycled, "_LEAST", sys.maxsize if new else recycled._LEAST):
        walk(lengths, bare=bare)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))


def seconds(lengths: Sequence[int], *, new: bool) -> float:
    """Return the CPU seconds of a walk."""
    with patch.object(recycled, "_LEAST", sys.maxsize if new else recycled._LEAST):
        start = time.thread_time()
        walk(lengths[::10])
        return time.thread_time() - start


def elsewhere(function: Callable[..., int], *given: object, **named: object) -> int:
    """Return what a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(function, given, named)


def main() -> int:
    """Print the table; return 1 where recordings take more memory than is allowed."""
    torch.set_num_threads(1)
    worst = 0.0
    sys.stdout.write(
        f"{machine()}\n\n| recordings | bare | recorded | in new memory | recorded / bare | time of new |\n"
    )
    sys.stdout.write("|---|---:|---:|---:|---:|---:|\n")
    for name, lengths in WALKS.items():
        bare, kept, new = (elsewhere(megabytes, lengths, **one) for one in ({"bare": True}, {}, {"new": True}))
        pairs = [(seconds(lengths, new=True), seconds(lengths, new=False)) for _ in range(1 + PAIRS)][1:]
        ratio = median(without / with_it for without, with_it in pairs)
        worst = max(worst, kept / bare)
        sys.stdout.write(f"| {name} | {bare} MB | {kept} MB | {new} MB | {kept / bare:.2f} | {ratio:.2f} times |\n")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
