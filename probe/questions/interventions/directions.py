"""Does the answer follow the direction that a probe reads, or one unit, when only that is patched?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.class_means import classes_at
from ...methods.causal.directions import DIRECTIONS
from ...methods.causal.experiment import Experiment
from ...methods.causal.pairs import MOST_PAIRS, Pairs, all_pairs, along, columns
from ...methods.causal.support import FAR
from ...methods.causal.task import Task
from ...plots.legends import legend_above
from ...plots.networks import name_columns
from ...plots.style import ROLE_STYLE, axes_or_new
from ...subjects.answers import task_of
from ...subjects.ends import machine_of, step_of
from ...subjects.plans import affordable_pairs
from ...subjects.subject import Subject, as_subjects, per_subject
from .. import needs, told
from ..question import Question
from ..rules import ANSWERING, ONE_STEP, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "directions"
#: Of a study: the most pairs that are run along a direction, and for each unit; a share of so many is known to .02.
STUDIED_PAIRS, STUDIED_OF_UNIT = 4_096, 512
#: Units stand beside the directions and there are many of them: their pairs are drawn.
PAIRS_OF_UNIT = 2**14
#: Metric, value, and its place in the table.
Value = tuple[str, float, dict[str, Any]]
_LABELS = {
    "ols": "least\nsquares",
    "ridge_0.01": "ridge\n0.01",
    "ridge_0.1": "ridge\n0.1",
    "ridge_1": "ridge\n1",
    "logistic": "logistic",
    "slope": "encoding\nslope",
    "unit": "best\nunit",
}


def question(subject: Subject) -> Question:
    """Return the question.

    Args:
        subject: one of the networks; any does.
    """
    return Question(
        "directions",
        "Does the answer follow the direction that a probe reads?",
        measure,
        (needs.exact_answers, needs.splices, needs.numbers, needs.used_state),
        ANSWERING,
        draw=draw,
        setup=told.at_pairs,
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
        version=2,
    )


def measure(
    subjects: Sequence[Subject],
    *,
    step: int | None = -1,
    most: int = MOST_PAIRS,
    most_of_unit: int = PAIRS_OF_UNIT,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far answers follow single directions of the state, and single units.

    A direction is found on the distinct states at the step and the source's part along it put into the base's state.
    Metrics, one value for each kind of direction (`kind`): `direction_score` = (IIA - IIA of no patch) / (IIA of
    the whole state - IIA of no patch), `direction_iia`, `direction_shift` of the expected answer, and
    `direction_off_support`, the median distance of patched states from the states that occur, in spacings of the
    concept. `unit_score`, `unit_iia`, `unit_shift`, `unit_off_support`: the same of each unit (`units`), all numbers
    of a state that are its own. `best_unit_score`: the largest score of a unit.

    A score is left out where the whole state answers as no patch does, and a direction where there is none.

    Args:
        subjects: what is measured.
        step: after which step; None for that of `step_of`.
        most: the most pairs that are run along a direction; more are drawn. Of a large network they are fewer, as
            many as the budget of `probe.subjects.plans` allows.
        most_of_unit: the same for a unit.
        seed: of the drawing.

    Raises:
        ProbeError: the concept is not aligned to (batch, time), the step or the layer does not exist, or a model's
            answer depends on more than one layer's last state.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3; Geiger et al. 2024, Finding alignments
        between interpretable causal variables and distributed representations.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        at = step_of(subject, step)
        directions = along_directions(subject, at, most=most, seed=seed)
        for metric, value, place in (*directions, *of_units(subject, at, most=most_of_unit, seed=seed)):
            if not math.isnan(value):
                rows.append(
                    measurement(QUESTION, metric, subject.network, value, layer=subject.layer, step=at, **place)
                )
    return tabulate(rows)


@per_subject
def _known(subject: Subject) -> dict[tuple[str, int, int, int], tuple[Value, ...]]:
    return {}


def along_directions(subject: Subject, step: int, *, most: int = MOST_PAIRS, seed: int = 0) -> tuple[Value, ...]:
    """Return what `measure` has of directions, metric, value and place in the table; it is computed once a subject.

    Args:
        subject: the network under study.
        step: after which step, from 0.
        most: the most pairs that are run.
        seed: of the drawing.
    """
    key = "directions", step, most, seed
    if key not in _known(subject):
        pairs = _pairs(subject, step, len(DIRECTIONS), most, seed)
        _known(subject)[key] = tuple(_of_directions(pairs, task_of(subject), seed))
    return _known(subject)[key]


def of_units(subject: Subject, step: int, *, most: int = PAIRS_OF_UNIT, seed: int = 0) -> tuple[Value, ...]:
    """Return the same of units; for the arguments see `along_directions`."""
    key = "units", step, most, seed
    if key not in _known(subject):
        pairs = _pairs(subject, step, machine_of(subject).dynamics.units, most, seed)
        _known(subject)[key] = tuple(_of_units(pairs, task_of(subject), seed))
    return _known(subject)[key]


def _pairs(subject: Subject, step: int, puts: int, most: int, seed: int) -> Pairs:
    affordable = affordable_pairs(subject, step, puts, most=most)
    return all_pairs(machine_of(subject), step, most=affordable, seed=seed)


def _of_directions(pairs: Pairs, task: Task, seed: int) -> Iterator[Value]:
    classes, experiment = classes_at(pairs.machine, task, pairs.step), Experiment(pairs, task, seed=seed)
    for kind, find in DIRECTIONS.items():
        direction = find(classes)
        if np.linalg.norm(direction):
            for name, value in experiment.follow(along(direction)).numbers().items():
                yield f"direction_{name}", value, {"kind": kind, "n": len(pairs)}


def _of_units(pairs: Pairs, task: Task, seed: int) -> Iterator[Value]:
    dynamics, experiment, best = pairs.machine.dynamics, Experiment(pairs, task, seed=seed), list[tuple[float, str]]()
    for unit in range(dynamics.units):
        numbers = experiment.follow(columns(dynamics.unit(unit))).numbers()
        for name, value in numbers.items():
            yield f"unit_{name}", value, {"units": str(unit), "n": len(pairs)}
        if not math.isnan(numbers["score"]):
            best.append((numbers["score"], str(unit)))
    if best:
        score, unit = max(best, key=lambda one: one[0])
        yield "best_unit_score", score, {"units": unit, "n": len(pairs)}


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the score of each kind of direction and of the best unit, a marker a network; hollow: off the support.

    Args:
        frame: what `measure` returned.
        threshold: the bound of a rule for least squares, or None.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has no score.
    """
    table = scores_by_kind(frame)
    if table.empty:
        raise ProbeError("The table has no direction_score; measure the question first.")
    ax = axes_or_new(ax)
    roles = [role for role in ROLE_STYLE if (table["role"] == role).any()]
    width = 0.8 / len(roles)
    for place, role in enumerate(roles):
        look, own = ROLE_STYLE[role], table[table["role"] == role]
        for column, kind in enumerate(_LABELS):
            rows = own[own["kind"] == kind].sort_values("network")
            spread = np.linspace(-width / 3, width / 3, len(rows)) if len(rows) > 1 else np.zeros(len(rows))
            at = column + (place - (len(roles) - 1) / 2) * width + spread
            far = (rows["off_support"] > FAR).to_numpy()
            for hollow in (False, True):
                ax.plot(
                    at[far == hollow],
                    rows["score"].to_numpy(float)[far == hollow],
                    look.marker,
                    color=look.color,
                    markerfacecolor="none" if hollow else look.color,
                    markersize=4.5,
                )
        ax.plot([], [], look.marker, color=look.color, markersize=5, label=role)
    if threshold is not None:
        ax.plot([-0.45, 0.45], [threshold] * 2, color="black", linewidth=1)
    ax.axhline(0, color="black", linewidth=0.8, linestyle=":", zorder=0)
    name_columns(ax, list(_LABELS.values()))
    ax.set_xlim(-0.5, len(_LABELS) - 0.5)
    ax.set_ylabel("interchange score")
    legend_above(ax)
    return ax


def scores_by_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """Return score, shift and off-support distance of every direction and of each network's best unit.

    Args:
        frame: what `measure` returned.

    Returns:
        A row for each network and kind: `network`, `role`, `kind`, `score`, `shift`, `off_support`.
    """
    import pandas as pd

    best = frame[frame["metric"] == "best_unit_score"].set_index("network")["units"]
    names = ("score", "shift", "off_support")
    directions = frame[frame["metric"].isin([f"direction_{name}" for name in names])]
    units = frame[frame["metric"].isin([f"unit_{name}" for name in names])]
    units = units[units["units"] == units["network"].map(best)].assign(kind="unit")
    both = pd.concat([directions, units])
    both = both.assign(metric=both["metric"].str.replace(r"^[a-z]+_", "", n=1, regex=True))
    order = {kind: place for place, kind in enumerate(_LABELS)}
    both = both.assign(place=both["kind"].map(order))
    wide = both.pivot(index=["network", "role", "place", "kind"], columns="metric", values="value").reset_index()
    return wide.reindex(columns=["network", "role", "kind", *names]).dropna(subset="score").reset_index(drop=True)
