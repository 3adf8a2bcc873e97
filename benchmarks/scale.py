"""The memory that recordings of a state-space model take: a section of docs/speed.md.

    python -m benchmarks.scale [--install]

A Mamba of transformers may not take more memory than `probe.inspect` says, its own run and one layer more (with
`--install` in the environment that `python -m benchmarks.opens --install` makes). Every peak of memory comes from a
fresh process (Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import probe

from .opens.cases import ROOT
from .speed import peak, table

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


def states_of(mode: str, hidden: int, signals: list[str], rows: int, to_disk: bool) -> dict[str, Any]:
    """Run a state-space model: "own" and "record" measure the peak of memory."""
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


def states() -> str:
    """Return the table of a state-space model's memory."""
    rows = []
    for case in STATES:
        found = fresh("own", *case) | fresh("record", *case)
        hidden, signals, count, to_disk = case
        if not to_disk and found["peak"] > found["own"] + found["said"] + found["one"]:
            sys.exit(f"{case}: the recording took {found['peak']:,} bytes, more than was said: {found}.")
        said = ", ".join(f"`{name}`" for name in signals) + (", to disk" if to_disk else "")
        memory = (f"{found[name] / 1e6:,.0f} MB" for name in ("said", "own", "peak"))
        rows.append([said, f"{hidden}", f"{count}", *memory, f"{found['error']:.1e}"])
    columns = ["hidden size", "rows", "said, and kept", "own run, peak", "recording, peak", "largest difference"]
    return table(["signals", *columns], rows)


def fresh(*arguments: Any) -> dict[str, Any]:
    """Return what `states_of` gives in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--run", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure what recordings of a state-space model take.")
    parser.add_argument("--install", action="store_true", help="run in the environment of benchmarks.opens")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.install:
        from .opens.environment import python_of

        command = [python_of("transformers"), "-m", "benchmarks.scale"]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    torch.set_num_threads(1)
    with torch.no_grad():
        if options.run:
            sys.stdout.write(json.dumps(states_of(*json.loads(options.run))) + "\n")
            return 0
        sys.stdout.write(states())
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
