"""The law of the offset, on networks whose drift is known."""

from __future__ import annotations

from functools import cache

import pandas as pd
import pytest

from analyses.counter import common, offset_law
from probe.evidence.measurements import one

DRIFTS = {"ones": 0.0, "drift-0.25": 0.25, "drift-0.5": 0.5, "drift-0.8": 0.8, "zeros": 1.0}


@cache
def table() -> pd.DataFrame:
    """What is measured of the planted counters with a drift, and of the delay line."""
    return offset_law.QUESTION.ask(common.subjects(common.planted_networks((*DRIFTS, "delay-line"))))


def value(name: str, metric: str) -> float:
    """The one value of a metric in a planted network."""
    return one(table(), network=f"planted/{name}", metric=metric)


@pytest.mark.parametrize("name", ["ones", "zeros"])
def test_the_offset_law_is_exact_where_the_drift_is_a_whole_number(name: str) -> None:
    """Answers and offset."""
    assert value(name, "law_answers") == 1
    assert value(name, "offset_error") == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", DRIFTS)
def test_every_planted_drift_follows_the_law(name: str) -> None:
    """Rules 20b and 20c hold in each; a half counts both neighbours as nearest."""
    for rule in offset_law.QUESTION.rules:
        assert value(name, rule.metric) in rule.established_if


def test_a_delay_line_does_not_follow_the_law() -> None:
    """Right at ten bits and less, it forgets beyond: most answers to 12 bits and the mean offset are others."""
    assert value("delay-line", "drift") == pytest.approx(0, abs=1e-3)
    assert value("delay-line", "law_answers") in offset_law.QUESTION.rules[0].refuted_if
    assert value("delay-line", "offset_error") == pytest.approx(1, abs=1e-3)
