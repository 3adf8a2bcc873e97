"""What the states of a state-space model take: memory against what was said beforehand, CPU time over its own run.

    python -m benchmarks.states [--install] [--out docs/speed.md]

A Mamba of transformers (24 layers, random weights) reads 512 tokens. `probe.inspect(model).recording_size` says what
a recording will keep, and each recording is measured in a process of its own (Linux). The command writes a section of
docs/speed.md, and fails where a recording takes more than was said. With `--install` it runs in the environment that
`python -m benchmarks.opens --install` makes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

import probe
from probe.adapters.transformers_mixers import MambaSteps

from .opens.families import ROOT
from .peers.harness import pairs, peak
from .speed_page import table

PAGE = ROOT / "docs" / "speed.md"
TITLE = "## A state-space model"
LAYERS, TOKENS, WORDS = 24, 512, 50_280
#: glibc's M_MMAP_THRESHOLD: from which size on a piece of memory is asked of the system, and given back to it.
_LARGE = -3
#: A layer with such random weights returns numbers in the hundreds, whose rounding is more than the default allows.
TOLERANCE = 1e-3
HEAD = f"""{TITLE}

A Mamba of transformers {{version}} with {LAYERS} layers and random weights reads {TOKENS} tokens a row.
`probe.inspect(model).recording_size(rows, steps)` says to the byte what a recording will keep. At its peak it needs
that, what the model's own run takes, and once more what one layer keeps; `python -m benchmarks.states` fails if it
takes more ({{day}}, each peak in a process of its own).

"""
TAIL = f"""
Random weights make outputs in the hundreds, and `tolerance={TOLERANCE:g}` allows for their rounding. With `out=` rows
go to disk a few at a time (the own run is that of one). Recording `ssm_state` took {{ratios}} times the CPU time of
the own run at hidden size {{sizes}} ({{seconds}}).
"""


@dataclass(frozen=True)
class Case:
    """What is recorded.

    Attributes:
        hidden: the hidden size; 768 is that of the smallest published Mamba.
        signals: which signals.
        rows: how many sequences.
        disk: whether they are streamed to disk.
    """

    hidden: int
    signals: tuple[str, ...]
    rows: int = 1
    disk: bool = False


CASES = (
    Case(256, ("ssm_state",)),
    Case(768, ("ssm_state",)),
    Case(768, ("ssm_state", "convolution_window")),
    Case(256, ("ssm_state",), rows=8, disk=True),
)
#: Of which cases the time is measured.
TIMED = CASES[:2]


def model_of(case: Case) -> Any:
    """Return the model in evaluation mode."""
    from transformers import MambaConfig, MambaForCausalLM  # pyright: ignore[reportMissingImports]
    from transformers.models.mamba.modeling_mamba import MambaMixer  # pyright: ignore[reportMissingImports]

    probe.register(MambaMixer, MambaSteps)
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=case.hidden, num_hidden_layers=LAYERS, vocab_size=WORDS, use_cache=False)
    return MambaForCausalLM(config).eval()


def said_of(model: Any, case: Case) -> tuple[int, int]:
    """Return the bytes that are said beforehand: of all layers, and of one of them."""
    described = probe.inspect(model)
    layers = ([layer.name for layer in described.layers], [described.layers[0].name])
    every, one = (
        described.recording_size(case.rows, TOKENS, signals=case.signals, layers=names).total for names in layers
    )
    return every, one


def measured(case: Case, mode: str) -> dict[str, Any]:
    """Run a case in this process: "own" and "record" measure the peak of memory, "time" the CPU time of both."""
    _ = ctypes.CDLL(None).mallopt(_LARGE, 1 << 16)  # large pieces go back at once
    model, ids = model_of(case), torch.randint(0, WORDS, (case.rows, TOKENS))
    every, one = said_of(model, case)

    def record(tokens: torch.Tensor, **options: Any) -> probe.Recording:
        return probe.record(model, tokens, signals=case.signals, tolerance=TOLERANCE, **options)

    _, _ = model(ids[:1, :8]), record(ids[:1, :8])  # what a run brings into memory once is not counted
    if mode == "time":
        found = pairs(lambda: record(ids), lambda: model(ids), 3)
        return {"own_seconds": median(found["bare"]), "seconds": median(found["seconds"])} | {
            "ratio": median(found["ratio"])
        }
    before = peak(reset=True)
    if mode == "own":
        _ = model(ids[:1] if case.disk else ids)
        return {"own": peak() - before}
    with tempfile.TemporaryDirectory() as room:
        recording = record(ids, out=Path(room, "states")) if case.disk else record(ids)
        taken = peak() - before
        kept = sum(value.nbytes for part in recording.parts for value in part.signals.values())
        if kept != every:
            sys.exit(f"{case}: {every:,} bytes were said and {kept:,} are kept.")
        return {"said": every, "one": one, "peak": taken, "error": recording.max_error}


def fresh(case: Case, mode: str) -> dict[str, Any]:
    """Run a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.states", "--run", json.dumps({"mode": mode, **asdict(case)})]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{case}, {mode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def section() -> Iterator[str]:
    """Measure every case, and yield the lines of the section."""
    from transformers import __version__ as version  # pyright: ignore[reportMissingImports]

    found = {case: fresh(case, "own") | fresh(case, "record") for case in CASES}
    for case, one in found.items():
        if not case.disk and one["peak"] > one["own"] + one["said"] + one["one"]:
            sys.exit(f"{case}: the recording took {one['peak']:,} bytes, more than was said: {one}.")
    yield from HEAD.format(version=version, day=date.today().isoformat()).splitlines()
    yield from table(
        [
            "signals",
            "hidden size",
            "rows",
            "said, and kept",
            "own run, peak",
            "recording, peak",
            "largest difference",
        ],
        [
            [
                ", ".join(f"`{name}`" for name in case.signals) + (", to disk" if case.disk else ""),
                f"{case.hidden}",
                f"{case.rows}",
                *(f"{one[name] / 1e6:,.0f} MB" for name in ("said", "own", "peak")),
                f"{one['error']:.1e}",
            ]
            for case, one in found.items()
        ],
    ).splitlines()
    times = {case.hidden: fresh(case, "time") for case in TIMED}
    yield from TAIL.format(
        ratios=" and ".join(f"{one['ratio']:.1f}" for one in times.values()),
        sizes=" and ".join(map(str, times)),
        seconds=" and ".join(f"{one['own_seconds']:.1f} s" for one in times.values()),
    ).splitlines()


def written(page: str, lines: list[str]) -> str:
    """Return a page with the section in place of an older one, or at its end."""
    before, _, rest = page.partition(TITLE + "\n")
    _, mark, after = rest.partition("\n## ")
    return before.rstrip("\n") + "\n\n" + "\n".join(lines).rstrip("\n") + "\n" + mark + after


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.states", description=__doc__)
    parser.add_argument("--install", action="store_true", help="run in the environment of benchmarks.opens")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page whose section is written")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.install:
        from .opens.environment import python_of

        command = [python_of("transformers"), "-m", "benchmarks.states", "--out", given.out.resolve()]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    torch.set_num_threads(1)
    with torch.no_grad():
        if given.run:
            told = json.loads(given.run)
            case = Case(told["hidden"], tuple(told["signals"]), told["rows"], told["disk"])
            sys.stdout.write(json.dumps(measured(case, told["mode"])) + "\n")
            return 0
        lines = list(section())
    _ = given.out.write_text(written(given.out.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
