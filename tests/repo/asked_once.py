"""Every question, asked once of a few networks for all tests of a session, in a process of its own.

Measuring takes most of the time of these tests, and twice as long where every shape is checked, as in pytest; shapes
are checked where tests/wheel asks the same questions of small networks.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

import pandas as pd

from analyses.counter import QUESTIONS, command, common, merged
from models import planted
from models.packing import unpack
from probe import Finding
from probe.evidence.measurements import Network
from probe.methods.causal.alignment import search
from probe.questions.interventions import alignment, erasure

REPOSITORY = Path(__file__).parents[2]
#: Searches have 400 steps; what these tests ask of them shows after as few.
STEPS = 4
#: With two idle units of the eleven, and with none: each doubles what exact shares take.
ONES, ALONE = planted.ones_counter(distractors=2), planted.ones_counter(distractors=0)


@contextmanager
def short_searches() -> Iterator[None]:
    """Let every search for directions take few steps, however many are asked for."""

    def short(*arguments: Any, iterations: int, **keywords: Any) -> Any:
        return search(*arguments, iterations=min(iterations, STEPS), **keywords)

    with mock.patch.object(alignment, "search", short), mock.patch.object(erasure, "search", short):
        yield


def measure(question: str, networks: Sequence[Network]) -> pd.DataFrame:
    """Measure a question with short searches."""
    common.limit_threads()
    with short_searches():
        return import_module(f"analyses.counter.{question}").measure(networks)


@cache
def networks() -> list[Network]:
    """Return a counter with its controls, one network of every other role, and planted ones-counters."""
    return [
        *common.group("counter", 2000),
        # Of the trained networks that are no counters of the study, one that takes little time.
        *common.group("hidden-3", 0),
        common.Studied("planted/ones", "planted", ONES),
        common.Studied("planted/ones-alone", "planted", ALONE),
    ]


@cache
def folder() -> Path:
    """Return where another process has put the tables, the findings and a battery; it goes when this one ends."""
    place = Path(mkdtemp(prefix="asked-once-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    words = [sys.executable, "-W", "error", "-m", "tests.repo.asked_once", str(place)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@cache
def table(question: str) -> pd.DataFrame:
    """Return what was measured of a question; no test may change it."""
    return pd.read_pickle(folder() / "tables" / f"{question}.pkl")


@cache
def finding(question: str) -> Finding:
    """Return what a question found on these networks."""
    return Finding.read(folder() / "findings" / question)


def findings() -> dict[str, Finding]:
    """Return what every question found on these networks."""
    return {question: finding(question) for question in QUESTIONS}


@cache
def battery() -> tuple[dict[str, Finding], list[dict[str, Any]]]:
    """Return all findings about one checkpoint, and its `findings.json`, as the command made them.

    The checkpoint is a counter of three units without its untrained network, as one that was trained elsewhere.
    """
    out = folder() / "battery"
    found = {name: Finding.read(out / name) for name in QUESTIONS}
    return found, json.loads((out / merged.NAME).read_text())


def main(place: Path) -> int:
    """Measure and find everything, and put a checkpoint through the battery; return the command's exit code."""
    (place / "tables").mkdir()
    for question in QUESTIONS:
        measured = measure(question, networks())
        measured.to_pickle(place / "tables" / f"{question}.pkl")
        import_module(f"analyses.counter.{question}").find(networks(), measured).write(place / "findings" / question)
    checkpoint = unpack("hidden-3", 0, place / "seed-0")
    few_idle = mock.patch.object(planted, "battery", return_value={"ones": ONES, "ones-alone": ALONE})
    with short_searches(), few_idle:
        return command.run(["--checkpoint", str(checkpoint), "--out", str(place / "battery")])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
