"""Is there one unit that holds the concept?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.claims import Control, Range, Rule
from ...evidence.findings import DataFigure
from ...evidence.measurements import Network, measurement, only, tabulate
from ...evidence.words import place, said
from ...methods.probing.monotone import monotone_score, within_step_correlation
from ...methods.probing.prefixes import StepStates, pool
from ...methods.probing.splits import LEAST_STATES, folds
from ...plots.networks import draw_dots
from ...plots.study_figures import drawing, drawn, medians_in_words
from ...plots.style import new_figure
from ...recurrent.signals import Signal, as_indices, as_signal, within
from ...subjects.states import rows_within_budget, step_states, studied_layer
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..telling.unit_words import within_steps
from . import targets
from .targets import Target

QUESTION = "single_units"
#: The three readings of "one unit holds it", and what the axis calls them.
READINGS = {
    "largest_correlation": "correlation of\nthe best unit",
    "mean_monotone_accuracy": "read exactly off\none unit, step by step",
    "lasting_monotone_accuracy": "read exactly off one\nunit, all steps alike",
}
#: A value is read exactly only among so many values at most; with more, only correlations are measured.
MOST_VALUES = 50
#: With fewer distinct states than this, nothing is held out.
FEWEST = 8


def question(subject: Subject) -> Question:
    """Return the question, with the rules that networks are judged by.

    Args:
        subject: one of the networks; the statements name its concept.
    """
    name = f"“{subject.concept.name}”"
    return Question(
        "single-units",
        f"Is there one unit that holds {name}?",
        measure,
        (needs.states, targets.within_steps),
        draw=draw,
        tell=tell,
        rules=(
            Rule(
                "one-unit-follows",
                f"Some unit follows {name} within every step.",
                "largest_correlation",
                "Largest absolute correlation of a unit with the concept, the mean of each step taken off both; "
                "every step has the same weight.",
                "Karpathy et al. 2015",
                Range.at_least(0.9),
                Range.below(0.9),
                controls=(Control("own initialisation", 0.0),),
                needs=10,
            ),
            Rule(
                "one-unit-one-map",
                f"One unit, read by one monotone map, tells {name} at all steps.",
                "lasting_monotone_accuracy",
                "Share of held-out prefixes whose rounded isotonic prediction is exact, one unit and one map for all "
                "steps, four folds.",
                "Weiss et al. 2018",
                Range.at_least(0.9),
                Range.below(0.9),
                needs=10,
            ),
        ),
    )


def measure(
    subjects: Sequence[Subject],
    *,
    signal: str | None = None,
    steps: Iterable[int] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well single units follow a concept.

    Metrics, one value a network unless said otherwise:
    `within_step_correlation` (a unit each), its largest absolute value `largest_correlation`;
    `monotone_accuracy` at each of `steps` and their mean `mean_monotone_accuracy`: share of held-out states
    whose value is read exactly off one unit by a monotone map, unit and map chosen on the other half;
    `lasting_monotone_accuracy`: the same with one unit and one map for all steps together.
    A map goes to the place of a value among all values of the concept, so that values need not be whole numbers. With
    more than `MOST_VALUES` values only correlations are measured. Of many sequences a part is recorded, drawn by the
    network's seed.

    Args:
        subjects: what is measured; their concept is a number.
        signal: which signal's units; None for the cell state, or the hidden state of a cell that has none.
        steps: steps with enough distinct states to hold half of them out; None takes those with at least 128.
        seed: of the splits.

    Returns:
        The tidy table.

    Raises:
        ProbeError: the concept has a value at too few states, or a step or the signal does not exist.
    """
    asked = as_indices("steps", steps)
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        wanted = None if asked is None else within("steps", asked, subject.x.shape[1], "the input's time axis")
        layer = studied_layer(subject)
        chosen = layer.whole_state[0] if signal is None else as_signal(signal)
        by_step = step_states(subject, [chosen], rows=rows_within_budget(subject, layer.units))
        if sum(len(item.rows) for item in by_step) < FEWEST:
            raise ProbeError(
                f"“{subject.concept.name}” has a value at fewer than {FEWEST} distinct states: none can be held out."
            )
        units = _Units(subject.network, subject.layer, chosen, seed)
        rows += units.correlations(by_step)
        levels = subject.concept.levels
        if len(levels) <= MOST_VALUES:
            rows += units.readings(by_step, levels, wanted)
    return tabulate(rows)


class _Units:
    """Measures the units of one signal of one network."""

    def __init__(self, network: Network, layer: str, signal: Signal, seed: int) -> None:
        self.network, self.layer, self.signal, self.seed = network, layer, signal, seed

    def _row(self, metric: str, value: float, units: Iterable[int] = (), step: int | None = None) -> dict[str, Any]:
        where = {"layer": self.layer, "signal": self.signal, "units": " ".join(map(str, units))}
        return measurement(QUESTION, metric, self.network, value, **where, step=step)

    def correlations(self, by_step: list[StepStates]) -> list[dict[str, Any]]:
        """Return each unit's correlation with the concept within steps, and the largest."""
        pooled = pool(by_step)
        values = within_step_correlation(pooled, pooled.states[self.signal])
        best = int(np.argmax(np.abs(values)))
        rows = [self._row("within_step_correlation", value, [unit]) for unit, value in enumerate(values)]
        return [*rows, self._row("largest_correlation", abs(values[best]), [best])]

    def readings(
        self, by_step: list[StepStates], levels: np.ndarray, steps: list[int] | None
    ) -> list[dict[str, Any]]:
        """Return how often a monotone map of one unit gives the exact value, step by step and of all steps alike.

        Args:
            by_step: the states.
            levels: all values of the concept, ascending.
            steps: which steps are read, or None for those with enough states.
        """
        rows, accuracies = [], []
        for item in by_step:
            if len(item.rows) >= LEAST_STATES if steps is None else item.step in steps:
                parts = folds(len(item.rows), 2, seed=self.seed)
                places = np.searchsorted(levels, item.concept).astype(float)
                score = monotone_score(item.states[self.signal], places, parts)
                accuracies.append(score.accuracy)
                rows.append(self._row("monotone_accuracy", score.accuracy, score.units, item.step))
        if accuracies:
            rows.append(self._row("mean_monotone_accuracy", float(np.mean(accuracies))))
        pooled = pool(by_step)
        parts = folds(len(pooled.concept), 4, seed=self.seed)
        places = np.searchsorted(levels, pooled.concept).astype(float)
        lasting = monotone_score(pooled.states[self.signal], places, parts, pooled.weight)
        return [*rows, self._row("lasting_monotone_accuracy", lasting.accuracy, lasting.units)]


def draw(frame: pd.DataFrame, *, threshold: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the readings of "one unit holds it", every network a dot, its controls and planted networks beside.

    Args:
        frame: what `measure` returned.
        threshold: a bound to draw across all readings, or None.
        ax: where to draw, or None for new axes.
    """
    measured = set(frame["metric"])
    metrics = {metric: label for metric, label in READINGS.items() if metric in measured}
    bounds = None if threshold is None else dict.fromkeys(metrics, threshold)
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("|r|, or share of held-out states")
    return ax


def tell(answered: Answered) -> Told:
    """Return what the page of one network says: its best unit, and that of each control."""
    table, subject = answered.table, answered.subject
    own = only(table, network=subject.network.name)
    largest = only(own, metric="largest_correlation").iloc[0]
    at = str(largest["layer"]) or studied_layer(subject).name, str(largest["signal"])
    units = only(own, metric="within_step_correlation")
    by_unit = dict(zip(units["units"], units["value"].abs(), strict=True))
    answer = within_steps(answered, at, by_unit, _others(answered, largest))
    exact = only(own, metric="lasting_monotone_accuracy")
    if len(exact):
        answer += f" {_one_map(answered, exact.iloc[0], place(*at))}"
    setup = (
        "We subtract the mean of each step from the unit and the concept before we correlate them, because a unit "
        "that tells the time alone would follow a concept that grows. Each distinct prefix counts once, and every "
        "step has the same weight."
    )
    return Told({"answer": answer, "setup": setup}, partial(_figures, answered))


def _one_map(answered: Answered, exact: pd.Series, where: str) -> str:
    """Return the sentences on one map of one unit, which is named where it tells more than its controls do.

    Args:
        answered: of the network and its controls.
        exact: what was measured of the network's best unit.
        where: the place whose units are read.
    """
    value, others = float(exact["value"]), _others(answered, exact)
    always, by_step = _shares_without_states(answered.subject)
    units = dict.fromkeys(str(exact["units"]).split())
    # What the step alone tells is no evidence of a unit, unless the concept is the step.
    least = max(by_step if by_step < 1 else always, *others.values(), always)
    which = "the best unit" if len(units) > 1 or round(value, 2) <= round(least, 2) else f"unit {next(iter(units))}"
    beside = "".join(f", {role} {said(one)}" for role, one in others.items())
    return (
        f"We fit a monotone map from one unit of {where} to the value, the same map for all steps. On held-out "
        f"states {which} is exact in a share of {said(value)} (the step alone {said(by_step)}{beside})."
    )


def _shares_without_states(subject: Subject) -> tuple[float, float]:
    """Return the share of states that one value for all gives exactly, and the best value of each step."""
    target = Target.of(subject, subject.concept.name)
    levels = np.unique(target.values)
    by_step = [target.values[target.step == step] for step in np.unique(target.step)]
    shares = np.array([[np.mean(values == level) for level in levels] for values in by_step])
    return float(shares.mean(0).max()), float(shares.max(1).mean())


def _figures(answered: Answered) -> tuple[DataFigure]:
    shown = answered.table[answered.table["metric"].isin(list(READINGS))].reset_index(drop=True)
    with drawing():
        figure, axes = new_figure(height=3.6)
        draw(shown, ax=axes[0, 0])
        picture = drawn(
            figure,
            name=f"{answered.name}-readings",
            title="One unit as a code",
            alt=medians_in_words(shown),
            caption="Each mark is a network: this one, and its controls.",
            data=shown,
        )
    return (picture,)


def _others(answered: Answered, measured: pd.Series) -> dict[str, float]:
    """Return the largest value of each kind of control."""
    rows = only(answered.table, metric=str(measured["metric"]))
    largest = rows[rows["network"] != measured["network"]].groupby("role", sort=False)["value"].max()
    return {str(role): float(value) for role, value in largest.items()}
