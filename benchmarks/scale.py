"""The memory of a million strings recorded to disk, of recordings that nobody keeps, and of a state-space model.

    python -m benchmarks.scale [disk walks states] [--strings 1000000] [--install]

On disk it is wanted that 1,000,000 strings of 10 bits take less than 500 MB, at a third of the rate in memory or
better. Recordings that nobody keeps may take 2.3 times the bare module's memory. A Mamba of transformers may not take
more memory than `probe.inspect` says, its own run and one layer more (with `--install` in the environment that
`python -m benchmarks.opens --install` makes). Every peak of memory comes from a fresh process (Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import probe
from probe.recurrent.cells import recycled

from .opens.cases import ROOT
from .speed import pairs, peak, table

#: How often the walks are timed.
PAIRS = 7
#: How many strings the rate in memory is measured on.
IN_MEMORY = 100_000
WANTED_BYTES, WANTED_RATE = 500e6, 1 / 3
#: Of the walks: rows, features and units, the lengths of their calls, and how much of the bare module's memory they
#: may take.
WALKED = (64, 16, 64)
WALKS = {"380 lengths, 20 to 399 steps": list(range(20, 400)), "one length, 40 times 400 steps": [400] * 40}
ALLOWED = 2.3
LAYERS, TOKENS, WORDS = 24, 512, 50_280
#: Of the state-space model: the hidden size (768 is that of the smallest published Mamba), the signals, how many
#: rows, and whether they go to disk.
STATES = (
    (256, ("ssm_state",), 1, False),
    (768, ("ssm_state",), 1, False),
    (768, ("ssm_state", "convolution_window"), 1, False),
    (256, ("ssm_state",), 8, True),
)
#: glibc's M_MMAP_THRESHOLD: from which size on a piece of memory is asked of the system, and given back to it.
_LARGE = -3
#: A layer with such random weights returns numbers in the hundreds, whose rounding is more than the default allows.
TOLERANCE = 1e-3


def bits(strings: int, length: int = 10) -> Tensor:
    """Return random bits, (strings, length, 1)."""
    torch.manual_seed(0)
    return torch.randint(0, 2, (strings, length, 1)).float()


def one_run(strings: int, folder: str | None) -> dict[str, float]:
    """Record some strings, into a folder or in memory, and return the seconds (wall) and the peak memory."""
    model = nn.LSTM(1, 12, batch_first=True)
    probe.record(model, bits(16))
    x = bits(strings)
    start = time.perf_counter()
    kept: Any = probe.record(model, x) if folder is None else probe.record(model, x, out=folder)
    taken = time.perf_counter() - start
    del kept
    return {"seconds": taken, "rate": strings / taken, "peak": peak()}


def disk(strings: int) -> Iterator[str]:
    """Yield the table of recordings in memory and to disk; the folder is removed afterwards."""
    memory = fresh("one_run", min(strings, IN_MEMORY), None)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room, "recording")
        found = fresh("one_run", strings, str(folder))
        written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    expected = strings * 10 * 12 * 6 * 4
    if written < expected:
        sys.exit(f"The folder holds {written:,} bytes; the six signals alone are {expected:,}.")
    rows = [
        [name, f"{count:,}", f"{run['seconds']:.1f}", f"{run['rate']:,.0f}", f"{run['peak'] / 1e6:,.0f} MB"]
        for name, run, count in (("in memory", memory, min(strings, IN_MEMORY)), ("to disk", found, strings))
    ]
    yield table(["", "strings", "seconds", "strings a second", "peak memory of the process"], rows)
    share = found["rate"] / memory["rate"]
    yield f"{written / 1e9:.2f} GB written, at {share:.2f} of the rate in memory (wanted: {WANTED_RATE:.2f})."
    yield f"Memory: {'less' if found['peak'] < WANTED_BYTES else 'NOT less'} than {WANTED_BYTES / 1e6:.0f} MB."


def walk(lengths: list[int], how: str) -> dict[str, Any]:
    """Record a call of each length and keep nothing; return CPU seconds and the peak of memory.

    Args:
        lengths: how many steps each call has.
        how: `bare` only calls the module; `new` takes new memory for each recording.
    """
    rows, features, units = WALKED
    lstm = nn.LSTM(features, units, batch_first=True).requires_grad_(requires_grad=False)
    with patch.object(recycled, "_LEAST", sys.maxsize if how == "new" else recycled._LEAST):
        start = time.thread_time()
        for length in lengths:
            x = torch.randn(rows, length, features)
            _ = lstm(x) if how == "bare" else probe.record(lstm, x)
        return {"seconds": time.thread_time() - start, "peak": peak()}


def walks() -> Iterator[str]:
    """Yield the table of walks: memory over the bare module's, and how much longer they take in new memory."""
    rows = []
    for name, lengths in WALKS.items():
        peaks = {how: fresh("walk", lengths, how)["peak"] for how in ("bare", "recorded", "new")}
        few = lengths[::10]
        times = [walk(few, "new")["seconds"] / walk(few, "recorded")["seconds"] for _ in range(1 + PAIRS)][1:]
        share = peaks["recorded"] / peaks["bare"]
        if share > ALLOWED:
            sys.exit(f"{name}: recordings take {share:.2f} times the memory of the bare module: {peaks}.")
        rows.append(
            [name, *(f"{one / 1e6:,.0f} MB" for one in peaks.values()), f"{share:.2f}", f"{median(times):.2f}"]
        )
    columns = ["bare", "recorded", "in new memory", "recorded / bare", "time of new / recorded"]
    yield table(["recordings", *columns], rows)


def states_of(mode: str, hidden: int, signals: list[str], rows: int, to_disk: bool) -> dict[str, Any]:
    """Run a state-space model: "own" and "record" measure the peak of memory, "time" the CPU time of both."""
    from transformers import MambaConfig, MambaForCausalLM  # pyright: ignore[reportMissingImports]

    _ = ctypes.CDLL(None).mallopt(_LARGE, 1 << 16)  # large pieces go back at once
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=hidden, num_hidden_layers=LAYERS, vocab_size=WORDS, use_cache=False)
    model: Any = MambaForCausalLM(config).eval()
    ids, described = torch.randint(0, WORDS, (rows, TOKENS)), probe.inspect(model)
    names = [layer.name for layer in described.layers]
    every, one = (
        described.recording_size(rows, TOKENS, signals=signals, layers=layers).total for layers in (names, names[:1])
    )

    def record(tokens: Tensor, **options: Any) -> probe.Recording:
        return probe.record(model, tokens, signals=signals, tolerance=TOLERANCE, **options)

    _, _ = model(ids[:1, :8]), record(ids[:1, :8])  # what a run brings into memory once is not counted
    if mode == "time":
        return dict(pairs(lambda: record(ids), lambda: model(ids), 3))
    before = peak(reset=True)
    if mode == "own":
        _ = model(ids[:1] if to_disk else ids)
        return {"own": peak() - before}
    with tempfile.TemporaryDirectory() as room:
        recording = record(ids, out=Path(room, "states")) if to_disk else record(ids)
        taken = peak() - before
        kept = sum(value.nbytes for part in recording.parts for value in part.signals.values())
        if kept != every:
            sys.exit(f"{every:,} bytes were said and {kept:,} are kept.")
        return {"said": every, "one": one, "peak": taken, "error": recording.max_error}


def states() -> Iterator[str]:
    """Yield the table of a state-space model's memory, and the time of its first two rows."""
    rows = []
    for case in STATES:
        found = fresh("states_of", "own", *case) | fresh("states_of", "record", *case)
        hidden, signals, count, to_disk = case
        if not to_disk and found["peak"] > found["own"] + found["said"] + found["one"]:
            sys.exit(f"{case}: the recording took {found['peak']:,} bytes, more than was said: {found}.")
        said = ", ".join(f"`{name}`" for name in signals) + (", to disk" if to_disk else "")
        memory = (f"{found[name] / 1e6:,.0f} MB" for name in ("said", "own", "peak"))
        rows.append([said, f"{hidden}", f"{count}", *memory, f"{found['error']:.1e}"])
    columns = ["hidden size", "rows", "said, and kept", "own run, peak", "recording, peak", "largest difference"]
    yield table(["signals", *columns], rows)
    for case in STATES[:2]:
        found = fresh("states_of", "time", *case)
        yield f"{median(found['ratio']):.1f} times the CPU time of the own run, {median(found['bare']):.1f} s."


def fresh(function: str, *arguments: Any) -> dict[str, Any]:
    """Return what a function of this module gives in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--run", json.dumps([function, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{function} {arguments}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


PARTS: dict[str, Any] = {"disk": disk, "walks": walks, "states": states}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure how recording scales.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which tables; all of them")
    parser.add_argument("--strings", type=int, default=1_000_000, help="how many are recorded to disk (3 GB)")
    parser.add_argument("--install", action="store_true", help="run in the environment of benchmarks.opens")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.install:
        from .opens.environment import python_of

        words = [word for word in sys.argv[1:] if word != "--install"]
        command = [python_of("transformers"), "-m", "benchmarks.scale", *words]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    torch.set_num_threads(1)
    with torch.no_grad():
        if options.run:
            function, *arguments = json.loads(options.run)
            sys.stdout.write(json.dumps(globals()[function](*arguments)) + "\n")
            return 0
        for name in options.parts or PARTS:
            for line in disk(options.strings) if name == "disk" else PARTS[name]():
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
