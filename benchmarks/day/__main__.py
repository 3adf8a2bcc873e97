"""What a day with the library costs: the memory of a thousand calls, and how the cost of each part grows.

    python -m benchmarks.day [PART ...] [--strings 1000000] [--install]

- `mixed`: the memory of 1,000 recordings, sweeps and studies of changing sizes, beside the same networks run bare. It
  may not be twice as much, nor grow.
- `reports`: `rnn-probe report` with five questions over 1 to 200 small networks.
- `slopes`: recording, sweeping, probing and a study against rows, steps, units, concepts and networks.
- `edits`: ten thousand edits in one sweep.
- `disk`: 1,000,000 strings of 10 bits are wanted in less than 500 MB, at a third of the rate in memory or better.
- `states`: a Mamba of transformers may not take more memory than `probe.inspect` says, its own run and one layer more
  (with `--install` in the environment that `python -m benchmarks.opens --install` makes).
- `threads`: wall time on one thread and on two.
- `explorer`: what the script of a page computes for one edit, in Node.

Seconds are CPU time of one thread, but those of `threads`. Every peak of memory comes from a fresh process (Linux).
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor, nn

import probe
from probe.command_line.shell import Whole, check, command, emit
from probe.command_line.shell import run as run_command
from probe.errors import ProbeError

from ..opens.cases import ROOT
from ..speed import machine, pairs, peak, table
from . import growth
from .growth import Network, bits, fresh, studied

#: How many strings the rate in memory is measured on.
IN_MEMORY = 100_000
WANTED_BYTES, WANTED_RATE = 500e6, 1 / 3
#: How many mixed calls there are, the least and the most rows, steps, features and units of one, how much of the bare
#: networks' memory they may take, and by how much it may grow in their second half.
CALLS, MIXED = 1000, ((1, 64), (5, 400), (1, 16), (4, 64))
ALLOWED, GROWN = 2, 0.02
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
        raise ProbeError(f"The folder holds {written:,} bytes; the six signals alone are {expected:,}.")
    rows = [
        [name, f"{count:,}", f"{run['seconds']:.1f}", f"{run['rate']:,.0f}", f"{run['peak'] / 1e6:,.0f} MB"]
        for name, run, count in (("in memory", memory, min(strings, IN_MEMORY)), ("to disk", found, strings))
    ]
    yield table(["", "strings", "seconds", "strings a second", "peak memory of the process"], rows)
    share = found["rate"] / memory["rate"]
    yield f"{written / 1e9:.2f} GB written, at {share:.2f} of the rate in memory (wanted: {WANTED_RATE:.2f})."
    yield f"Memory: {'less' if found['peak'] < WANTED_BYTES else 'NOT less'} than {WANTED_BYTES / 1e6:.0f} MB."


def mixed_run(how: str, calls: int, seed: int) -> dict[str, Any]:
    """Make many calls of changing kinds and sizes and keep nothing; return the resident memory after each.

    Args:
        how: `bare` only runs the networks.
        calls: how many; each fiftieth is a study.
        seed: of all that is drawn.
    """
    drawn, resident = Random(seed), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, 1 + calls):
            (rows, steps, features, units), study = (drawn.randint(*each) for each in MIXED), number % 50 == 0
            kind = "LSTM" if study else drawn.choice(("LSTM", "LSTM", "LSTM", "GRU", "bidirectional", "loop"))
            places = [(drawn.randrange(steps), drawn.randrange(units)) for _ in range(drawn.choice((0, 0, 12)))]
            if study:
                model, x = Network(kind, 1, 4 + units // 8, 9), bits(64, 6 + units % 4)
            else:
                model, x = Network(kind, features, units, 2), torch.randn(rows, steps, features)
            if how == "bare":
                _ = model(x)
            elif study:
                studied(model, x, folder)
            elif places:
                layer = "body" if kind == "loop" else "body[0]"
                edits = [probe.clamp("hidden_state", 0.5, steps=t, units=unit, layer=layer) for t, unit in places]
                _ = probe.sweep(model, x, edits=edits)
            else:
                _ = probe.record(model, x)
            resident.append(peak(of="VmRSS"))
    return {"resident": resident, "peak": peak(), "seconds": time.process_time()}


def mixed() -> Iterator[str]:
    """Yield the table of a process's memory over many calls, and stop where it is too much or grows."""
    found = {how: fresh("mixed_run", how, CALLS, 0) for how in ("bare", "rnn-probe")}
    columns = [f"after {number}" for number in range(100, 1 + CALLS, 100)]
    rows = [
        [how, *(f"{one / 1e6:,.0f}" for one in (*run["resident"][99::100], run["peak"])), f"{run['seconds']:,.0f}"]
        for how, run in found.items()
    ]
    yield table(["MB", *columns, "peak", "seconds"], rows)
    share = found["rnn-probe"]["peak"] / found["bare"]["peak"]
    bare, own = ([mean(run["resident"][at - 100 : at]) for at in (CALLS // 2 + 100, CALLS)] for run in found.values())
    more, torchs = own[1] - own[0], bare[1] - bare[0]
    yield f"Peak: {share:.2f} of bare. From call 550 to 950 {more / 1e6:+.0f} MB, bare {torchs / 1e6:+.0f} MB."
    if share > ALLOWED or more > GROWN * own[0]:
        raise ProbeError("That is too much.")


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
        described.recording_size(rows, TOKENS, signals=signals, layer=layers).total for layers in (names, names[:1])
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
            raise ProbeError(f"{every:,} bytes were said and {kept:,} are kept.")
        return {"said": every, "one": one, "peak": taken, "error": recording.max_error}


def states() -> Iterator[str]:
    """Yield the table of a state-space model's memory, and the time of its first two rows."""
    rows = []
    for case in STATES:
        found = fresh("states_of", "own", *case) | fresh("states_of", "record", *case)
        hidden, signals, count, to_disk = case
        if not to_disk and found["peak"] > found["own"] + found["said"] + found["one"]:
            raise ProbeError(f"{case}: the recording took {found['peak']:,} bytes, more than was said: {found}.")
        said = ", ".join(f"`{name}`" for name in signals) + (", to disk" if to_disk else "")
        memory = (f"{found[name] / 1e6:,.0f} MB" for name in ("said", "own", "peak"))
        rows.append([said, f"{hidden}", f"{count}", *memory, f"{found['error']:.1e}"])
    columns = ["hidden size", "rows", "said, and kept", "own run, peak", "recording, peak", "largest difference"]
    yield table(["signals", *columns], rows)
    for case in STATES[:2]:
        found = fresh("states_of", "time", *case)
        yield f"{median(found['ratio']):.1f} times the CPU time of the own run, {median(found['bare']):.1f} s."


EVERY = mixed, growth.reports, growth.slopes, growth.edits, disk, states, growth.threads, growth.explorer
PARTS: dict[str, Any] = {part.__name__: part for part in EVERY}


app = command("python -m benchmarks.day")


@app.default
def main(
    *parts: str,
    strings: Whole = 1_000_000,
    install: bool = False,
    run: Annotated[str, Parameter(show=False)] = "",
) -> int:
    """Measure how recording scales, and print the tables.

    Args:
        parts: which tables; all unless given.
        strings: how many are recorded to disk (3 GB).
        install: run in the environment of benchmarks.opens.
        run: a function and its arguments, for a process of its own.
    """
    check("part", parts, PARTS)
    if install:
        from ..opens.environment import python_of

        words = [word for word in sys.argv[1:] if word != "--install"]
        called = [python_of("transformers"), "-m", "benchmarks.day", *words]
        return subprocess.run(called, cwd=ROOT, check=False).returncode
    torch.set_num_threads(1)
    with torch.no_grad():
        if run:
            function, *arguments = json.loads(run)
            emit(json.dumps((vars(growth) | globals())[function](*arguments)))
            return 0
        emit(machine())
        for name in parts or PARTS:
            for line in disk(strings) if name == "disk" else PARTS[name]():
                emit(line)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_command(app))
