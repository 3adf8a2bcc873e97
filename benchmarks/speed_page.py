"""The page of the speed benchmark: what was measured, as tables in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

#: As in `benchmarks/peers/harness.py`, which needs torch.
CASES = ("1,024 x 10, 1 to 12", "256 x 100, 1 to 128", "64 x 1,000, 32 to 128", "256 x 200, 64 to 256")
#: The shape on which every tool's memory is measured.
MEMORY_CASE = 2
OURS = "rnn-probe"
#: Where the sections begin that were measured once, or by `benchmarks.scale`.
OTHERS = "\n## Other sweeps and layers\n"
HEAD = """# Speed

Measured on {day} with `python -m benchmarks.speed`, {pairs} pairs or more for each number: {machine}, Linux,
Python {python}, {versions}. One thread, float32, under `no_grad`, CPU time.

Each number is a median of ratios to the bare `nn.LSTM` forward, which runs in turn with the tool, in the same
process. Before we timed a result, we compared it with the same arrays computed by hand, to 1e-5. A tool counts with
its fastest way. All but rnn-probe need the LSTM rewritten as a Python loop (`benchmarks/peers/`).
"""
RECORDING = """
## Recording i f g o c h at every step

The time of the tool over that of the bare module (strings x steps, features to units). For the first number of a cell
the next call can use the memory of the last one. For the second each call has to fill fresh memory.

"""
SWEEPING = """
## Patching c at 10 steps x 12 units, one at a time, and memory

The time of the logits of all 120 edits on 1,024 pairs of strings and of the run of the source, over that of one bare
forward. Then how far one recording in a fresh process lifts its peak, over the bytes returned ({shape}).

"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, all columns but the first aligned right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def middle(result: Mapping[str, Any]) -> float:
    """Return the median ratio of a way."""
    return median(result["ratio"])


def fastest(ways: Mapping[str, Any]) -> str:
    """Return the name of the way with the lowest median ratio."""
    return min(ways, key=lambda name: middle(ways[name]))


def milliseconds(values: Sequence[float]) -> str:
    """Return a median time in small print."""
    return f"<sub>{median(values) * 1e3:,.1f} ms</sub>"


def cell(result: Mapping[str, Any]) -> str:
    """Return a ratio with its time in small print."""
    return f"{middle(result):.2f} {milliseconds(result['seconds'])}"


def recorded(result: Mapping[str, Any]) -> str:
    """Return the same in two lines: where result memory is used again, and where it is fresh."""
    return f"{cell(result)}<br>{median(result['fresh ratio']):.2f} <sub>fresh</sub>"


def titled(name: str, results: Mapping[str, Any]) -> str:
    """Return a tool's name with its version."""
    versions = results[name]["versions"]
    package = next(iter(versions))
    return name if package == "torch" else f"{name} {versions[package]}"


def recording(results: Mapping[str, Any]) -> str:
    """Return the table of recording: a row a tool, each of our own ways a row."""
    keys = [f"record {n}" for n in range(len(CASES))]
    bare = [[value for own in results.values() for way in own[key].values() for value in way["bare"]] for key in keys]
    rows = [["bare `nn.LSTM`", *(f"1 {milliseconds(times)}" for times in bare)]]
    for name, own in results.items():
        if name == OURS:
            rows += [[f"**`probe.{way}`**", *(recorded(own[key][way]) for key in keys)] for way in own[keys[0]]]
        else:
            rows.append([titled(name, results), *(recorded(own[key][fastest(own[key])]) for key in keys)])
    return table(["", *CASES], rows)


def patching(results: Mapping[str, Any]) -> str:
    """Return the table of the sweep and of the peak memory, a row a tool."""
    rows = []
    for name, own in results.items():
        swept = cell(own["sweep"][fastest(own["sweep"])])
        for key, who in (("memory bare", "bare `nn.LSTM`"), (f"memory {MEMORY_CASE}", titled(name, results))):
            if found := own.get(key):
                lifted = f"{found['ratio']:.2f} <sub>{found['peak'] / 2**20:,.0f} MiB</sub>"
                rows.append([who, "-" if key == "memory bare" else swept, lifted])
    return table(["", "120 patches", "memory"], rows)


def machine() -> str:
    """Return the processor and how many cores of it there are (Linux)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    return f"{model}, {os.cpu_count()} cores"


def page(results: Mapping[str, Any]) -> str:
    """Return the whole page of what was measured of each tool, as `benchmarks/speed.py` returns it."""
    torch = sorted({own["versions"]["torch"] for own in results.values()})
    head = HEAD.format(
        day=date.today().isoformat(),
        pairs=min(len(way["ratio"]) for own in results.values() for way in own["sweep"].values()),
        machine=machine(),
        python=platform.python_version(),
        versions=f"torch {' and '.join(torch)}",
    )
    parts = [head, RECORDING + recording(results), SWEEPING.format(shape=CASES[MEMORY_CASE])]
    return "".join([*parts, patching(results)])


def renewed(old: str, new: str) -> str:
    """Return a new page with the sections of the old one from `OTHERS` on."""
    _, mark, rest = old.partition(OTHERS)
    return new + mark + rest
