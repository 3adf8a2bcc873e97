"""Is there one unit that holds the concept, in networks that were trained alike? Of one network see `best_unit`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...evidence.claims import Control
from ...evidence.measurements import measurement, tabulate
from ...methods.probing.groups import LEAST_STATES, folds
from ...methods.probing.monotone import MonotoneScore, monotone_score, within_step_correlation
from ...methods.probing.prefixes import Pooled, StepStates, pool
from ...plots.networks import draw_dots
from ...subjects.states import rows_within_budget, step_states, studied_layer
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Question
from ..rules import INITIAL, rule

QUESTION = "single_units"
#: The three readings of "one unit holds it", and what the axis calls them.
READINGS = {
    "largest_correlation": "correlation of\nthe best unit",
    "mean_monotone_accuracy": "read exactly off\none unit, step by step",
    "lasting_monotone_accuracy": "read exactly off one\nunit, all steps alike",
}
#: A value is read exactly only among so many values at most; with more, only correlations are measured.
MOST_VALUES = 50


def question(subject: Subject) -> Question:
    """Return the question, with the rules that networks are judged by."""
    name = f"“{subject.concept.name}”"
    return Question(
        "single-units",
        f"Is there one unit that holds {name}?",
        measure,
        (needs.states, needs.differs_within_steps),
        draw=draw,
        rules=(
            rule(
                "one-unit-follows",
                f"Some unit follows {name} within steps.",
                "largest_correlation",
                definition="Largest absolute correlation of a unit with the concept, the mean of each step taken "
                "off both; every step has the same weight.",
                source="Karpathy et al. 2015",
                at_least=0.9,
                controls=(Control(INITIAL, 0.0),),
            ),
            rule(
                "one-unit-one-map",
                f"One unit, read by one monotone map, tells {name} at all steps.",
                "lasting_monotone_accuracy",
                definition="Share of held-out prefixes whose rounded isotonic prediction is exact, one unit and one "
                "map for all steps, four folds.",
                source="Weiss et al. 2018",
                at_least=0.9,
            ),
        ),
        caption="Three readings of one unit holding it; dots are networks.",
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how well single units follow a concept: those of the cell state, or else of the hidden state.

    Metrics, one value a network unless said otherwise:
    `within_step_correlation` (a unit each), its largest absolute value `largest_correlation`;
    `monotone_accuracy` at each step with at least 128 distinct states and their mean `mean_monotone_accuracy`: share
    of held-out states whose value is read exactly off one unit by a monotone map, unit and map chosen on the other
    half; `lasting_monotone_accuracy`: the same with one unit and one map for all steps together.
    A map goes to the place of a value among all values of the concept, so that values need not be whole numbers. With
    more than `MOST_VALUES` values only correlations are measured. Of many sequences a part is recorded, drawn by the
    network's seed.
    The concept is a number.
    """
    return tabulate(row for subject in as_subjects(subjects) for row in _of_one(subject))


def _of_one(subject: Subject) -> Iterator[dict[str, Any]]:
    layer, levels = studied_layer(subject), subject.concept.levels
    signal = layer.whole_state[0]
    by_step = step_states(subject, [signal], rows=rows_within_budget(subject, layer.units))

    def row(metric: str, value: float, units: Iterable[int] = (), step: int | None = None) -> dict[str, Any]:
        where: dict[str, Any] = {"layer": subject.layer, "signal": signal, "units": " ".join(map(str, units))}
        return measurement(QUESTION, metric, subject.network, value, **where, step=step)

    def read(item: StepStates | Pooled, parts: int, weight: np.ndarray | None = None) -> MonotoneScore:
        places = np.searchsorted(levels, item.concept).astype(float)
        halves = folds(len(places), parts, groups=item.groups)
        return monotone_score(item.states[signal], places, halves, weight)

    pooled = pool(by_step)
    correlations = within_step_correlation(pooled, pooled.states[signal])
    best = int(np.argmax(np.abs(correlations)))
    yield from (row("within_step_correlation", value, [unit]) for unit, value in enumerate(correlations))
    yield row("largest_correlation", abs(correlations[best]), [best])
    if len(levels) > MOST_VALUES:
        return
    scores = {item.step: read(item, 2) for item in by_step if len(item.rows) >= LEAST_STATES}
    yield from (row("monotone_accuracy", one.accuracy, one.units, step) for step, one in scores.items())
    if scores:
        yield row("mean_monotone_accuracy", float(np.mean([one.accuracy for one in scores.values()])))
    lasting = read(pooled, 4, pooled.weight)
    yield row("lasting_monotone_accuracy", lasting.accuracy, lasting.units)


def draw(frame: pd.DataFrame) -> Axes:
    """Draw the readings of "one unit holds it", every network a dot."""
    measured = set(frame["metric"])
    ax = draw_dots(frame, {metric: label for metric, label in READINGS.items() if metric in measured})
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("|r|, or share of held-out states")
    return ax
