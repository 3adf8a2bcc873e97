"""The counter's questions, each asked once of a few networks for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import pandas as pd

from analyses.__main__ import limit_threads
from analyses.counter import common
from analyses.counter.study import questions
from models import planted
from probe.evidence.measurements import Network
from probe.methods.causal.alignment import search
from probe.questions.interventions import patching

#: Searches have 400 steps; what these tests ask of them shows after as few.
STEPS = 4
#: With two idle units of the eleven: each doubles what exact shares take.
ONES = planted.ones_counter(distractors=2)


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


class Tables(dict[str, pd.DataFrame]):
    """What was measured of a network of each role, by question; measured when it is first looked up."""

    def __missing__(self, name: str) -> pd.DataFrame:
        networks = [
            *common.with_controls("counter", 2000),
            # Of the trained networks that are no counters of the study, one that takes little time.
            *common.of_recipe("hidden-3", [0]),
            Network("planted/ones", "planted", ONES),
            Network("planted/ones-alone", "planted", planted.ones_counter(distractors=0)),
        ]
        self[name] = measure(name, networks)
        return self[name]


@cache
def tables() -> Tables:
    """Return what was measured, by question; no test may change it."""
    return Tables()
