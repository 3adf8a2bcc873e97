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
#: Where the sections begin that `benchmarks.scale` measures.
GROWTH = "\n## To disk\n"
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
#: The parts that rnn-probe has alone, each a group of `benchmarks/tasks.py` beside the bare calls.
OURS_ALONE = ("other-sweeps", "layers")
OTHERS = """
## Other sweeps and layers

The first rows have the time of 120 patches on 1,024 strings of bits over that of one call of the same model. `h` and
`gate` (the forget gate) are patched in the network above. The others patch twelve units each: h in a GRU of 64 units,
c in the lower of two LSTM layers, and c in packed strings of five to ten steps. The last rows are `probe.record` over
each module alone (256 strings x 100 steps, 32 to 128).

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


def cell(result: Mapping[str, Any] | None) -> str:
    """Return a ratio with its time in small print."""
    return f"{middle(result):.2f} {milliseconds(result['seconds'])}" if result else "-"


def recorded(result: Mapping[str, Any] | None) -> str:
    """Return the same in two lines: where result memory is used again, and where it is fresh."""
    if not result or "fresh ratio" not in result:
        return cell(result)
    return f"{cell(result)}<br>{median(result['fresh ratio']):.2f} <sub>fresh</sub>"


def titled(name: str, results: Mapping[str, Any]) -> str:
    """Return a tool's name with its version."""
    versions = results[name].get("versions", {})
    package = next(iter(versions), "torch")
    return name if package == "torch" else f"{name} {versions[package]}"


def recording(results: Mapping[str, Any]) -> str:
    """Return the table of recording: a row a tool, each of our own ways a row."""
    rows = []
    bare = [
        [value for own in results.values() for way in own.get(f"record {n}", {}).values() for value in way["bare"]]
        for n in range(len(CASES))
    ]
    rows.append(["bare `nn.LSTM`", *(f"1 {milliseconds(times)}" if times else "-" for times in bare)])
    for name, own in results.items():
        cases = [own.get(f"record {n}", {}) for n in range(len(CASES))]
        if name == OURS:
            for way in dict.fromkeys(way for ways in cases for way in ways):
                rows.append([f"**`probe.{way}`**", *(recorded(ways.get(way)) for ways in cases)])
        elif any(cases):
            rows.append([titled(name, results), *(recorded(ways[fastest(ways)]) if ways else "-" for ways in cases)])
    return table(["", *CASES], rows)


def patching(results: Mapping[str, Any]) -> str:
    """Return the table of the sweep and of the peak memory, a row a tool."""
    rows = []
    for name, own in results.items():
        swept = own.get("sweep") and own["sweep"][fastest(own["sweep"])]
        for key, who in (("memory bare", "bare `nn.LSTM`"), (f"memory {MEMORY_CASE}", titled(name, results))):
            found, timed = own.get(key), None if key == "memory bare" else swept
            if found or timed:
                lifted = f"{found['ratio']:.2f} <sub>{found['peak'] / 2**20:,.0f} MiB</sub>" if found else "-"
                rows.append([who, cell(timed), lifted])
    return table(["", "120 patches", "memory"], rows)


def ours_alone(results: Mapping[str, Any]) -> str:
    """Return the table of what rnn-probe alone was timed at, beside the call of each task's own model."""
    found = [(name, way) for part in OURS_ALONE for name, way in results.get(OURS, {}).get(part, {}).items()]
    return OTHERS + table(["", "over the bare call"], [[name, cell(way)] for name, way in found]) if found else ""


def machine() -> str:
    """Return the processor and how many cores of it there are (Linux)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    return f"{model}, {os.cpu_count()} cores"


def page(results: Mapping[str, Any], scripts: Mapping[str, Path]) -> str:
    """Return the whole page.

    Args:
        results: for each tool, what was measured, as `benchmarks/speed.py` keeps it.
        scripts: the script of each tool.
    """
    results = {name: results[name] for name in scripts if name in results}
    torch = sorted({own["versions"]["torch"] for own in results.values()})
    timed = [len(way["ratio"]) for own in results.values() for way in own.get("sweep", {}).values()]
    head = HEAD.format(
        day=date.today().isoformat(),
        pairs=min(timed, default=0) or "several",
        machine=machine(),
        python=platform.python_version(),
        versions=f"torch {' and '.join(torch)}",
    )
    parts = [head, RECORDING + recording(results), SWEEPING.format(shape=CASES[MEMORY_CASE])]
    return "".join([*parts, patching(results), ours_alone(results)])


def renewed(old: str, new: str) -> str:
    """Return a new page with the sections of the old one that other commands measure, from `GROWTH` on."""
    _, mark, rest = old.partition(GROWTH)
    return new + mark + rest
