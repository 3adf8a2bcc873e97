"""Every question, asked once of a few networks for all tests of a session, in a process of its own.

Measuring takes most of the time of these tests, and twice as long where every shape is checked, as in pytest; shapes
are checked where tests/questions asks the same questions of small networks.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

import pandas as pd

from analyses.__main__ import limit_threads
from analyses.counter import QUESTIONS, common
from analyses.counter.study import VERSION, questions
from models import planted
from probe import Study
from probe.evidence.measurements import Network
from probe.methods.causal.alignment import search
from probe.questions.interventions import patching

REPOSITORY = Path(__file__).parents[2]
#: Searches have 400 steps; what these tests ask of them shows after as few.
STEPS = 4
#: With two idle units of the eleven: each doubles what exact shares take.
ONES = planted.ones_counter(distractors=2)
MEASURED = "asked.csv.xz"


@contextmanager
def short_searches() -> Iterator[None]:
    """Let every search for directions take few steps, however many are asked for."""

    def short(*arguments: Any, iterations: int, **keywords: Any) -> Any:
        return search(*arguments, iterations=min(iterations, STEPS), **keywords)

    with mock.patch.object(patching, "search", short):
        yield


def measure(name: str, networks: Sequence[Network]) -> pd.DataFrame:
    """Measure a question with short searches."""
    limit_threads()
    (question,) = questions([name])
    with short_searches():
        return question.ask(common.subjects(networks))


@cache
def study() -> Study:
    """Return a study of a counter with its controls, one network of every other role, and planted ones-counters."""
    networks = [
        *common.with_controls("counter", 2000),
        # Of the trained networks that are no counters of the study, one that takes little time.
        *common.of_recipe("hidden-3", [0]),
        Network("planted/ones", "planted", ONES),
        Network("planted/ones-alone", "planted", planted.ones_counter(distractors=0)),
    ]
    asked = questions(QUESTIONS)
    return Study.of(common.subjects(networks), questions=asked, family=common.FAMILY, version=VERSION)


@cache
def folder() -> Path:
    """Return where another process has put measurements and findings; it goes when this one ends."""
    place = Path(mkdtemp(prefix="asked-once-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    words = [sys.executable, "-W", "error", "-m", "tests.repo.asked_once", str(place)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@cache
def tables() -> dict[str, pd.DataFrame]:
    """Return what was measured, by question; no test may change it."""
    return study().tables(folder() / MEASURED)


def main(place: Path) -> None:
    """Measure and find everything."""
    with short_searches():
        study().measure(place / MEASURED, parts=place / "parts")
    for name, finding in study().findings(place / MEASURED).items():
        finding.write(place / "findings" / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
