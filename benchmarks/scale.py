"""How recording grows with the batch, the time and the units, and a million strings recorded to disk.

    python -m benchmarks.scale [--only axes disk] [--strings 1000000]

A recording costs a constant for each call and then as much as there is to compute, so that its slope in a log-log
table ends near that of the bare module. On disk it is wanted that 1,000,000 strings of 10 bits take less than 500 MB
of memory, at a third of the rate in memory or better. Every number on disk comes from a fresh process (Linux).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import probe

from .peers.harness import pairs, peak, seconds

#: What stays small while something else grows.
SMALL = {"batch": 16, "time": 10, "units": 12}
#: For each axis: its name in the table, what grows, its sizes, and what else is not as in `SMALL`.
AXES: tuple[tuple[str, str, list[int], dict[str, int]], ...] = (
    ("batch", "batch", [10**n for n in range(7)], {}),
    ("time", "time", [10**n for n in range(5)], {}),
    ("time, 1 string", "time", [10**n for n in range(5)], {"batch": 1}),
    ("units", "units", [4**n for n in range(1, 6)], {}),
)
#: Above this many CPU seconds a call is timed once, beside one bare call.
LONG = 1.0
#: How many pairs a shorter call is timed in.
PAIRS = 7
#: How many strings the rate in memory is measured on.
IN_MEMORY = 100_000
WANTED_BYTES, WANTED_RATE = 500e6, 1 / 3


def to_disk(model: nn.Module, x: Tensor, folder: Path) -> Any:
    """Record a large input into a folder: the one call that the second table is about."""
    return probe.record(model, x, out=folder)


def bits(strings: int, length: int = 10) -> Tensor:
    """Return random bits, (strings, length, 1)."""
    torch.manual_seed(0)
    return torch.randint(0, 2, (strings, length, 1)).float()


def timed(lstm: nn.LSTM, x: Tensor) -> dict[str, float]:
    """Return medians over pairs of a recording and a bare call: CPU seconds of each of the two, and their ratio."""

    def record() -> None:
        probe.record(lstm, x)

    def bare() -> None:
        lstm(x)

    long = seconds(record, 1) > LONG
    found = pairs(record, bare, 1, (1, 1)) if long else pairs(record, bare, PAIRS)
    return {key: median(values) for key, values in found.items()}


def slope(now: float, then: float, step: float) -> str:
    """Return the slope between two times on log-log axes; the step is the logarithm of what the size grew by."""
    return f"{math.log(now / then) / step:.2f}"


def axes() -> Iterator[str]:
    """Yield the lines of the first table: each axis, size by size."""
    yield "| axis | size | `probe.record` | bare `nn.LSTM` | ratio | slope of record | slope of bare |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, axis, sizes, others in AXES:
        before: tuple[int, float, float] | None = None
        for size in sizes:
            shape = SMALL | others | {axis: size}
            lstm = nn.LSTM(1, shape["units"], batch_first=True)
            found = timed(lstm, bits(shape["batch"], shape["time"]))
            recorded, bare = found["seconds"], found["bare"]
            slopes = ["", ""]
            if before:
                step = math.log(size / before[0])
                slopes = [slope(recorded, before[1], step), slope(bare, before[2], step)]
            times = f"{recorded * 1e3:,.2f} ms | {bare * 1e3:,.2f} ms | {found['ratio']:.2f}"
            yield f"| {name} | {size:,} | {times} | {' | '.join(slopes)} |"
            before = size, recorded, bare


def one_run(strings: int, folder: Path | None) -> dict[str, float]:
    """Record some strings, into a folder or in memory, and return the seconds (wall) and the peak memory."""
    model = nn.LSTM(1, 12, batch_first=True)
    probe.record(model, bits(16))
    x = bits(strings)
    start = time.perf_counter()
    kept = probe.record(model, x) if folder is None else to_disk(model, x, folder)
    taken = time.perf_counter() - start
    del kept
    return {"seconds": taken, "rate": strings / taken, "peak": peak()}


def fresh(strings: int, folder: Path | None) -> dict[str, float]:
    """Do a run in a process of its own."""
    words = ["--strings", str(strings), "--run", str(folder) if folder else "memory"]
    command = [sys.executable, "-m", "benchmarks.scale", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The recording of {strings:,} strings failed.\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def disk(strings: int, out: Path | None) -> Iterator[str]:
    """Yield the lines of the second table; the folder is removed afterwards."""
    memory = fresh(min(strings, IN_MEMORY), None)
    with tempfile.TemporaryDirectory(dir=out) as room:
        folder = Path(room, "recording")
        found = fresh(strings, folder)
        written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    expected = strings * 10 * 12 * 6 * 4
    if written < expected:
        sys.exit(f"The folder holds {written:,} bytes; the six signals alone are {expected:,}.")
    share = found["rate"] / memory["rate"]
    yield "| | strings | seconds | strings a second | peak memory of the process |"
    yield "|---|---:|---:|---:|---:|"
    for name, run, count in (("in memory", memory, min(strings, IN_MEMORY)), ("to disk", found, strings)):
        numbers = f"{run['seconds']:.1f} | {run['rate']:,.0f} | {run['peak'] / 1e6:,.0f} MB"
        yield f"| {name} | {count:,} | {numbers} |"
    yield ""
    yield f"{written / 1e9:.2f} GB written, at {share:.2f} of the rate in memory (wanted: {WANTED_RATE:.2f})."
    yield f"Memory: {'less' if found['peak'] < WANTED_BYTES else 'NOT less'} than {WANTED_BYTES / 1e6:.0f} MB."


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure how recording scales.")
    parser.add_argument("--only", nargs="+", choices=["axes", "disk"], default=["axes", "disk"])
    parser.add_argument("--strings", type=int, default=1_000_000, help="how many are recorded to disk")
    parser.add_argument(
        "--room", type=Path, help="a folder with space for 3 GB; the system's temporary one if not given"
    )
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        if options.run:
            folder = None if options.run == "memory" else Path(options.run)
            sys.stdout.write(json.dumps(one_run(options.strings, folder)) + "\n")
            return 0
        for name in options.only:
            for line in axes() if name == "axes" else disk(options.strings, options.room):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
