"""Which estimator's direction the answer follows: what planted networks must give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses.counter import common, drawn, estimators
from models import planted
from probe.evidence.measurements import FITTED_HEADS, Network, only
from probe.methods.causal.class_means import classes_at
from probe.subjects.answers import task_of
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

BUILT = {
    "ones": planted.ones_counter(distractors=2),
    "zeros": planted.zeros_counter(distractors=1),
    "balance": planted.balance_counter(),
    "decoy": planted.decoy_counter(),
    "rotated": planted.rotated_counter(),
}


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """Return a counter with its controls, and planted networks."""
    own = [Network(f"planted/{name}", "planted", model) for name, model in BUILT.items()]
    return common.subjects([*common.with_controls("counter", 2000), *own])


@pytest.fixture(scope="module")
def table(subjects: list[Subject]) -> pd.DataFrame:
    """Return what was measured of them."""
    return estimators.QUESTION.ask(subjects)


def of(table: pd.DataFrame, metric: str, kind: str = "") -> dict[str, float]:
    """Return a metric of the planted networks, of an estimator if one is named."""
    rows = only(table, metric=metric, role="planted")
    rows = only(rows, kind=kind) if kind else rows
    return dict(zip(rows["network"].str.removeprefix("planted/"), rows["value"], strict=True))


def test_least_squares_reads_best_what_is_a_line_in_the_state(table: pd.DataFrame) -> None:
    """Each holds the ones along a direction: nothing is missed, and in all but the decoy the answer follows it."""
    assert all(value == pytest.approx(1, abs=1e-4) for value in of(table, "reading", "ols").values())
    best = of(table, "best_score")
    assert [best[name] for name in ("ones", "zeros", "balance")] == pytest.approx([1, 1, 1], abs=1e-6)
    assert best["rotated"] > 0.9
    assert best["decoy"] == pytest.approx(0, abs=1e-6)
    assert set(only(table, metric="best_score", role="planted")["kind"]) == {"ols"}


def test_scores_are_those_of_the_directions(table: pd.DataFrame, subjects: list[Subject]) -> None:
    """The same pairs and the same numbers: rule 8's among them."""
    found = only(drawn.DIRECTIONS.ask(subjects[:1]), metric="direction_score").set_index("kind")["value"]
    scores = only(table, metric="score", network="counter/seed-2000").set_index("kind")["value"]
    assert scores.to_dict() == found.to_dict()
    assert set(table["role"]) == {"trained", *FITTED_HEADS, "planted"}


def test_readings_are_held_out(subjects: list[Subject]) -> None:
    """A value that the states do not hold is not read, though least squares would fit some of it."""
    classes = classes_at(machine_of(subjects[0]), task_of(subjects[0]), estimators.STEP)
    noise = np.random.default_rng(0).normal(size=classes.concept.shape)
    shuffled = replace(classes, concept=noise, values=np.zeros(1), member=0 * classes.member)
    readings = estimators.held_out_readings(shuffled, seed=0)
    assert max(readings.values()) < 0
    assert "logistic" not in readings  # one class has no direction
