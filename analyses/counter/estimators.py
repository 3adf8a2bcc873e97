"""Does the answer follow the probe's direction, whichever estimator finds it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analyses.counter import common, rules
from probe.evidence.measurements import measurement
from probe.methods.causal.class_means import Classes, classes_at
from probe.methods.causal.directions import DIRECTIONS
from probe.methods.causal.pairs import MOST_PAIRS
from probe.methods.probing.groups import folds
from probe.methods.probing.linear import fit_linear, r_squared
from probe.questions.interventions.directions import along_directions, rounding_of
from probe.questions.question import Question
from probe.subjects.answers import task_of
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

NAME = "estimators"
STEP = 6
#: How many splits into halves.
SPLITS = 10
#: Kinds of direction, from no penalty to the largest. The encoding slope is the ridge weight's direction as its
#: penalty grows without bound. The logistic fit's penalty is of another kind: in a tie it comes last.
KINDS = ("logistic", "ols", "ridge_0.01", "ridge_0.1", "ridge_1", "slope")


def measure(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """Measure for each estimator (`kind`) `reading`, its mean held-out R2, and `score` and `shift` of `directions`.

    `best_score` is the score of the estimator with the largest R2 (`kind`), which the rule judges.
    """
    return [row for subject in subjects for row in _rows(subject)]


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    known = classes_at(machine_of(subject), task_of(subject), STEP)
    classes = replace(known, rounding=rounding_of(subject, STEP))
    readings = held_out_readings(classes, seed=common.split_seed(subject.network))
    scores: dict[str, float] = {}
    for metric, value, place in along_directions(subject, STEP, MOST_PAIRS):
        name, kind = metric.removeprefix("direction_"), place["kind"]
        if name in ("score", "shift") and kind in readings and not np.isnan(value):
            yield measurement(NAME, name, subject.network, value, step=STEP, **place)
            scores |= {kind: value} if name == "score" else {}
    for kind, value in readings.items():
        yield measurement(NAME, "reading", subject.network, value, step=STEP, kind=kind)
    readings = {kind: value for kind, value in readings.items() if kind in scores}
    if readings:
        # Of equal ones the one with the largest penalty.
        best = max(reversed(readings), key=lambda kind: readings[kind])
        yield measurement(NAME, "best_score", subject.network, scores[best], step=STEP, kind=best)


def held_out_readings(classes: Classes, *, seed: int) -> dict[str, float]:
    """Return the held-out R2 of the count along each estimator's direction, by kind: the mean over all halves.

    A direction is found on one half of the states; one affine map of the part along it, fitted on the same half, is
    scored on the other half, both ways. An estimator that finds no direction in some half is left out.
    """
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(SPLITS):
        halves = folds(len(classes.concept), 2, seed=SPLITS * seed + number)
        for rows, other in (halves, halves[::-1]):
            fitted = replace(classes, **{k: getattr(classes, k)[rows] for k in ("states", "concept", "member")})
            for kind in KINDS:
                found[kind].append(_reading(fitted, DIRECTIONS[kind](fitted), classes, other))
    means = {kind: float(np.mean(values)) for kind, values in found.items()}
    return {kind: value for kind, value in means.items() if not np.isnan(value)}


def _reading(fitted: Classes, direction: np.ndarray, classes: Classes, other: np.ndarray) -> float:
    """Return the R2 of the count of other states along a direction; NaN where there is no direction."""
    if not np.linalg.norm(direction):
        return float("nan")
    probe = fit_linear((fitted.states @ direction)[:, None], fitted.concept[:, None])
    predicted = probe.predict((classes.states[other] @ direction)[:, None])[:, 0]
    return float(r_squared(classes.concept[other], predicted))


QUESTION = Question(
    NAME,
    "Does the answer follow what reads the count best?",
    measure,
    version=2,
    roles=common.ANSWERING,
    rules=rules.ESTIMATORS,
    text="In each network we take the estimator whose probe reads the count best from prefixes that it was not "
    "fitted on, and ask whether the answer follows its direction. If it does not, another direction may still exist.",
)
