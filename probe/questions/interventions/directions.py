"""Does the answer follow the direction that a probe reads, or one unit, when only that is patched?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.measurements import only
from ...methods.causal.class_means import classes_at
from ...methods.causal.directions import DIRECTIONS
from ...methods.causal.interchange import Interchange
from ...methods.causal.pairs import MOST_PAIRS, Pairs, all_pairs, along, columns
from ...plots.networks import draw_dots
from ...subjects.answers import task_of
from ...subjects.controls import with_model
from ...subjects.ends import machine_of, step_of
from ...subjects.networks.copies import with_other_last_digits
from ...subjects.plans import affordable_pairs
from ...subjects.subject import Subject, per_subject
from .. import needs
from ..headings import by_rule
from ..question import Question
from ..rules import ANSWERING, ONE_STEP, rule
from .patching import Value, table_of

#: Of a study: the most pairs that are run along a direction, and for each unit; a share of so many is known to .02.
STUDIED_PAIRS, STUDIED_OF_UNIT = 4_096, 512
#: Units stand beside the directions and there are many of them: their pairs are drawn.
PAIRS_OF_UNIT = 2**14
#: What is patched -> its label on the axis.
COLUMNS = {
    "ols": "least\nsquares",
    "ridge_0.01": "ridge\n0.01",
    "ridge_0.1": "ridge\n0.1",
    "ridge_1": "ridge\n1",
    "logistic": "logistic",
    "slope": "encoding\nslope",
    "unit": "best\nunit",
}


def question(subject: Subject) -> Question:
    """Return the question."""
    return Question(
        "directions",
        "Does the answer follow the direction that a probe reads?",
        measure,
        (needs.exact_answers, needs.splices, needs.numbers, needs.used_state),
        ANSWERING,
        draw=draw,
        settings={"step": None, "most": STUDIED_PAIRS, "most_of_unit": STUDIED_OF_UNIT},
        rules=(
            rule(
                "probe-direction",
                "The answer follows the direction that a least-squares probe reads.",
                "direction_score",
                signal="ols",
                definition="(IIA along the probe's weight - IIA without a patch) / (IIA of the whole state - IIA "
                f"without a patch), {ONE_STEP}.",
                source="Geiger et al. 2021",
                at_least=0.5,
            ),
        ),
        version=3,
        heading=by_rule(
            "The answer follows the direction that a probe reads",
            "The answer does not follow the direction that a probe reads",
        ),
        caption="How far answers follow one direction or unit; at 1, as far as the whole state. Dots are networks.",
    )


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = -1,
    most: int = MOST_PAIRS,
    most_of_unit: int = PAIRS_OF_UNIT,
) -> pd.DataFrame:
    """Measure how far answers follow single directions of the state, and single units.

    A direction is found on the distinct states at the step and the source's part along it put into the base's state.
    Metrics, one value for each kind of direction (`kind`): `direction_score` = (IIA - IIA of no patch) / (IIA of
    the whole state - IIA of no patch), `direction_iia`, `direction_shift` of the expected answer, and
    `direction_off_support`, the median distance of patched states from the states that occur, in spacings of the
    concept. `unit_score`, `unit_iia`, `unit_shift`, `unit_off_support`: the same of each unit (`units`), all numbers
    of a state that are its own. `best_unit_score`: the largest score of a unit. A score is left out where the whole
    state answers as no patch does, and a direction where there is none.

    Args:
        most: the most pairs that are run along a direction, fewer of a large network; more are drawn.

    Raises:
        ProbeError: the step does not exist, or the concept is not aligned to (batch, time).

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3; Geiger et al. 2024, Finding alignments
        between interpretable causal variables and distributed representations.
    """

    def values(subject: Subject) -> Iterator[Value]:
        at = step_of(subject, step)
        for metric, value, place in (*along_directions(subject, at, most), *of_units(subject, at, most_of_unit)):
            yield metric, value, {"step": at, **place}

    return table_of("directions", subjects, values).dropna(subset="value", ignore_index=True)


@per_subject
def rounding_of(subject: Subject, step: int) -> float:
    """Return how far rounding moves the distinct states after a step: the largest singular value of the difference.

    The same states are computed with weights whose last digit is another. Along a direction in which states vary by
    no more, they hold what the rounding of the weights made of them.

    Args:
        subject: the network.
        step: counted in the ends of the sequences, from 0.
    """
    clean = machine_of(subject).clean
    again = with_model(subject, with_other_last_digits(subject.model), subject.network.role, subject.head)
    rows = clean.prefixes[step].rows
    moved = (machine_of(again).clean.states[rows, step] - clean.states[rows, step]).detach().numpy()
    return float(np.linalg.norm(moved - moved.mean(0), 2))


@per_subject
def along_directions(subject: Subject, step: int, most: int) -> tuple[Value, ...]:
    """Return what `measure` has of directions after a step, from 0, on so many pairs; computed once a subject."""
    task, rows = task_of(subject), list[Value]()
    pairs = _pairs(subject, step, len(DIRECTIONS), most)
    classes = replace(classes_at(pairs.machine, task, step), rounding=rounding_of(subject, step))
    patched = Interchange(pairs, task, support=True)
    for kind, direction_of in DIRECTIONS.items():
        direction = direction_of(classes)
        if np.linalg.norm(direction):
            numbers = patched.scores(along(direction)).numbers
            rows += [(f"direction_{name}", value, {"kind": kind, "n": len(pairs)}) for name, value in numbers.items()]
    return tuple(rows)


@per_subject
def of_units(subject: Subject, step: int, most: int) -> tuple[Value, ...]:
    """Return what `measure` has of units after a step, from 0, on so many pairs; computed once a subject."""
    dynamics, rows = machine_of(subject).dynamics, list[Value]()
    pairs = _pairs(subject, step, dynamics.units, most)
    patched = Interchange(pairs, task_of(subject), support=True)
    for unit in range(dynamics.units):
        numbers = patched.scores(columns(dynamics.unit(unit))).numbers
        rows += [(f"unit_{name}", value, {"units": str(unit), "n": len(pairs)}) for name, value in numbers.items()]
    if scores := [row for row in rows if row[0] == "unit_score" and not math.isnan(row[1])]:
        _, best, place = max(scores, key=lambda row: row[1])
        rows.append(("best_unit_score", best, place))
    return tuple(rows)


def _pairs(subject: Subject, step: int, patches: int, most: int) -> Pairs:
    return all_pairs(machine_of(subject), step, most=affordable_pairs(subject, step, patches, most=most))


def draw(frame: pd.DataFrame, *, threshold: float | None = None) -> Axes:
    """Draw the score of each kind of direction and of the best unit, a dot a network."""
    rows = scores_by_kind(frame)
    if rows.empty:
        raise ProbeError("The table has no direction_score; measure the question first.")
    rows = rows.rename(columns={"kind": "metric", "score": "value"})
    bounds = None if threshold is None else {"ols": threshold}
    return draw_dots(rows, COLUMNS, value="interchange score", zero=True, thresholds=bounds)


def scores_by_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `score`, `shift` and `off_support` of every direction and of each network's best unit, a row each."""
    best = only(frame, metric="best_unit_score").set_index("network")["units"]
    of_unit = (frame["units"] != "") & (frame["units"] == frame["network"].map(best))
    rows = frame[of_unit | (frame["kind"] != "")].assign(kind=frame["kind"].where(~of_unit, "unit"))
    rows = rows.assign(metric=rows["metric"].str.replace(r"^(direction|unit)_", "", regex=True))
    wide = rows.pivot_table("value", ["network", "role", "kind"], "metric").reset_index()
    wide = wide.reindex(columns=["network", "role", "kind", "score", "shift", "off_support"]).dropna(subset="score")
    order = [[*COLUMNS].index(kind) for kind in wide["kind"]]
    return wide.assign(order=order).sort_values(["network", "order"]).drop(columns="order").reset_index(drop=True)
