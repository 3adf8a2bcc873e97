"""Does the answer follow the probe's direction, whichever estimator finds it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Range, Rule
from probe.evidence.measurements import Network, measurement, only, tabulate
from probe.methods.causal.class_means import Classes, classes_at
from probe.methods.causal.directions import DIRECTIONS
from probe.methods.probing.linear import fit_linear, r_squared
from probe.methods.probing.splits import folds
from probe.questions.interventions.directions import along_directions
from probe.subjects.computed.ends import machine_of
from probe.subjects.computed.right_answers import task_of
from probe.subjects.subject import Subject

QUESTION = "estimators"
STEP, BOUND = 6, 0.5
#: How many splits into halves, and how near in held-out R2 two estimators are a tie, or read as well.
SPLITS, TIE, AS_WELL = 10, 0.005, 0.01
#: Kind of direction -> its name, from no penalty to the largest. The encoding slope is the ridge weight's direction
#: as its penalty grows without bound. The logistic fit's penalty is of another kind: in a tie it comes last.
NAMES = {
    "logistic": "logistic",
    "ols": "least squares",
    "ridge_0.01": "ridge .01",
    "ridge_0.1": "ridge .1",
    "ridge_1": "ridge 1",
    "slope": "encoding slope",
}
VERSION = 1
RULES = (
    Rule(
        key="26",
        statement="The answer follows the direction of the estimator that reads best.",
        metric="best_score",
        definition="(IIA - IIA of no patch) / (IIA of the whole state - IIA of no patch) of all pairs after 7 bits, "
        "along the direction with the largest held-out R2 of the count (one affine map of the state's part along it, "
        "direction and map fitted on one half of the prefixes and scored on the other, both ways, mean over ten "
        "splits drawn by the network's seed), of logistic, least squares, ridge .01, .1, 1 and the encoding slope.",
        source="Geiger et al. 2021; Haufe et al. 2014; Hoerl & Kennard 1970",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how well each estimator's direction of s_7 reads the count, and how the answer follows it.

    Metrics: for each estimator (`kind`) `reading`, the mean held-out R2, and `score` and `shift`, as `directions` has
    them; `best_score`, the score of the estimator with the largest R2 (`kind`), which the rule judges; `tied_score`,
    that of the largest penalty among those within .005 of it; `score_range`, the largest score minus the smallest of
    those that read within .01 of the best, `n` of them.
    """
    asked = common.pick(networks, *common.ANSWERING)
    return tabulate(row for subject in common.subjects(asked) for row in _rows(subject))


def _rows(subject: Subject) -> Iterator[dict[str, Any]]:
    classes = classes_at(machine_of(subject), task_of(subject), STEP)
    readings = held_out_readings(classes, seed=common.split_seed(subject.network))
    scores: dict[str, float] = {}
    for metric, value, place in along_directions(subject, STEP):
        name, kind = metric.removeprefix("direction_"), place["kind"]
        if name in ("score", "shift") and kind in readings and not np.isnan(value):
            yield measurement(QUESTION, name, subject.network, value, step=STEP, **place)
            scores |= {kind: value} if name == "score" else {}
    for kind, value in readings.items():
        yield measurement(QUESTION, "reading", subject.network, value, step=STEP, kind=kind)
    readings = {kind: value for kind, value in readings.items() if kind in scores}
    if readings:
        as_well = [scores[each] for each, value in readings.items() if value >= max(readings.values()) - AS_WELL]
        spread = max(as_well) - min(as_well)
        for metric, tie in (("best_score", 0.0), ("tied_score", TIE)):
            kind = chosen(readings, tie)
            yield measurement(QUESTION, metric, subject.network, scores[kind], step=STEP, kind=kind)
        yield measurement(QUESTION, "score_range", subject.network, spread, step=STEP, n=len(as_well))


def held_out_readings(classes: Classes, *, seed: int) -> dict[str, float]:
    """Return the held-out R2 of the count along each estimator's direction, by kind.

    A direction is found on one half of the states; one affine map of the part along it, fitted on the same half, is
    scored on the other half, both ways. So no estimator is charged for the length of its weight.

    Args:
        classes: the distinct states at a step.
        seed: of the splits.

    Returns:
        The mean over all halves; an estimator that finds no direction in some half is left out.
    """
    found: dict[str, list[float]] = {kind: [] for kind in NAMES}
    for number in range(SPLITS):
        halves = folds(len(classes.concept), 2, seed=SPLITS * seed + number)
        for rows, other in (halves, halves[::-1]):
            fitted = replace(classes, **{k: getattr(classes, k)[rows] for k in ("states", "concept", "member")})
            for kind in NAMES:
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


def chosen(readings: Mapping[str, float], tie: float = TIE) -> str:
    """Return the estimator that reads best; of those that read nearly as well the one with the largest penalty.

    Args:
        readings: held-out R2 by kind; at least one.
        tie: by how much less an estimator may read that counts as one of the best.
    """
    best = max(readings.values())
    return [kind for kind in NAMES if kind in readings and readings[kind] >= best - tie][-1]


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the score along the best reading direction."""
    wide = _wide(common.drawn(table))
    middle = wide[wide["role"] == "trained"].groupby("kind", sort=False)[["reading", "score"]].median()
    title = "Does the answer follow what reads the count best?"
    notes = {"answer": _answer(table, middle)}
    return common.finding(QUESTION, title, table, studied=networks, rules=RULES, notes=notes)


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network and estimator, in the order of `NAMES`: `reading`, `score`, `shift`."""
    rows = table[table["metric"].isin(["reading", "score", "shift"])]
    rows = rows.assign(place=rows["kind"].map({kind: place for place, kind in enumerate(NAMES)}))
    index = ["role", "network", "pair", "place", "kind"]
    wide = rows.pivot(index=index, columns="metric", values="value").reset_index()
    return wide.dropna(subset=["reading", "score"]).drop(columns="place").reset_index(drop=True)


def _answer(table: pd.DataFrame, middle: pd.DataFrame) -> str:
    own, spread = (common.values(table, metric) for metric in ("best_score", "score_range"))
    kinds = only(table, metric="best_score", role="trained")["kind"].value_counts()
    low, high = (str(getattr(middle["score"], which)()) for which in ("idxmin", "idxmax"))
    return (
        f"The answer follows the direction that reads the count best in {(own >= BOUND).sum()} of {len(own)} "
        "networks. An estimator is a way to fit a probe, and its weight is a direction of the state. In each network "
        "we take the estimator that reads the count best from prefixes that it was not fitted on. Most often that is "
        f"{NAMES[str(kinds.idxmax())]} (in {kinds.max()} networks). Along that direction the median score is "
        f"{own.median():.2f}. By the estimator the median score runs from {middle['score'][low]:.2f} ({NAMES[low]}) "
        f"to {middle['score'][high]:.2f} ({NAMES[high]}). It still differs by {spread.median():.2f} in the median "
        f"network among estimators that read as well as the best, to within {AS_WELL:g} of "
        f"R².{_not_that_there_is_none(own)} {_most_followed(table)}"
    )


def _not_that_there_is_none(own: pd.Series) -> str:
    """Return what a refuted rule does not say; empty where the answer follows the direction."""
    said = " This refutes a way to choose the direction. It does not show that there is none."
    return said if own.median() < BOUND else ""


def _most_followed(table: pd.DataFrame) -> str:
    """Return along which estimator's direction the answer follows in most trained networks, and in how many."""
    rows = only(table, metric="score", role="trained")
    counts = (rows["value"] >= BOUND).groupby(rows["kind"]).sum()
    most = str(counts.idxmax())
    return f"The answer follows the direction of {NAMES[most]} in {counts[most]} networks, more than any other."
