"""How long recording and patching take, beside the bare `nn.LSTM`, a loop written by hand, and nnsight.

    python -m benchmarks.speed [--out docs/speed.md]

Every tool runs in a process and an environment of its own (`benchmarks/peers/`), on one thread. Its results are
compared with the same arrays computed by hand before anything is timed; a mismatch ends the run. Each timing is one
of a pair with the bare module, in the same process, so that what is compared are ratios. The tools take turns,
`--rounds` times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from . import speed_page
from .peers.environments import ONE_THREAD, PEERS, ROOT, python_of, version_of
from .speed_page import MEMORY_CASE

#: How many shapes are recorded; the shapes are in `benchmarks/peers/harness.py`.
CASES = 4


@dataclass(frozen=True)
class Runner:
    """A tool as the parent sees it: its script, its Python, and what it is called elsewhere."""

    name: str
    script: str
    python: Callable[[], Path]
    package: str

    def run(self, *words: str) -> Any:
        """Run the tool's script and return what it found.

        Raises:
            SystemExit: it failed, or its results are wrong; its own words are passed on.
        """
        command = [str(self.python()), "-m", f"benchmarks.peers.{self.script}", *words]
        environment = os.environ | ONE_THREAD
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{self.name}: {' '.join(words)} failed.\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])


def runners() -> list[Runner]:
    """Return every tool, ours first."""

    def home() -> Path:
        return Path(sys.executable)

    peers = [
        Runner(name, f"with_{name}", lambda name=name: python_of(name), package) for name, package in PEERS.items()
    ]
    return [
        Runner("rnn-probe", "with_probe", home, "rnn-probe"),
        Runner("by hand", "with_hand", home, "torch"),
        *peers,
    ]


def jobs(pairs: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the key and the words of every run that a round makes of a tool."""
    for case in range(CASES):
        yield f"record {case}", ("record", "--case", str(case), "--pairs", str(pairs))
    yield "sweep", ("sweep", "--pairs", str(pairs))


def joined(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the pairs of several rounds as one list for each way."""
    return {
        way: {
            key: before.get(way, {}).get(key, []) + value if isinstance(value, list) else value
            for key, value in values.items()
        }
        for way, values in after.items()
    }


def measure(tools: list[Runner], rounds: int, pairs: int) -> dict[str, Any]:
    """Return the results: for each tool, by the key of the run; memory needs no rounds."""
    results: dict[str, Any] = {}
    for tool in tools:
        python = tool.python()
        own = results[tool.name] = {}
        own["versions"] = {name: version_of(python, name) for name in dict.fromkeys((tool.package, "torch"))}
        own[f"memory {MEMORY_CASE}"] = tool.run("memory", "--case", str(MEMORY_CASE))
        if tool.script == "with_hand":
            own["memory bare"] = tool.run("memory", "--case", str(MEMORY_CASE), "--way", "bare")
    for number, (key, words), tool in product(range(rounds), list(jobs(pairs)), tools):
        sys.stderr.write(f"round {number + 1} of {rounds}: {tool.name}, {key}\n")
        results[tool.name][key] = joined(results[tool.name].get(key, {}), tool.run(*words))
    return results


def main() -> int:
    """Measure, print the tables, and write the page."""
    parser = argparse.ArgumentParser(description="Time rnn-probe beside the bare module and its peers.")
    parser.add_argument("--out", type=Path, help="the page to write")
    parser.add_argument("--rounds", type=int, default=3, help="how often the tools take turns")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of a round")
    options = parser.parse_args()
    page = speed_page.page(measure(runners(), options.rounds, options.pairs))
    sys.stdout.write(page)
    if options.out:
        old = options.out.read_text(encoding="utf-8") if options.out.is_file() else ""
        options.out.write_text(speed_page.renewed(old, page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
