"""Is there one unit that holds the concept?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.claims import Control
from ...evidence.measurements import Network, measurement, only, tabulate
from ...evidence.words import listed, place, said
from ...methods.probing.monotone import monotone_score, within_step_correlation
from ...methods.probing.prefixes import StepStates, pool
from ...methods.probing.splits import LEAST_STATES, folds
from ...plots.networks import draw_dots
from ...recurrent.signals import Signal, as_indices, as_signal, within
from ...subjects.states import rows_within_budget, step_states, studied_layer
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..rules import INITIAL, rule
from .targets import Target, unit_follows, within_steps

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
    """Return the question, with the rules that networks are judged by."""
    name = f"“{subject.concept.name}”"
    return Question(
        "single-units",
        f"Is there one unit that holds {name}?",
        measure,
        (needs.states, within_steps),
        draw=draw,
        tell=tell,
        rules=(
            rule(
                "one-unit-follows",
                f"Some unit follows {name} within every step.",
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
        """Return how often a monotone map of one unit gives the exact value, step by step and of all steps alike."""
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


def draw(frame: pd.DataFrame) -> Axes:
    """Draw the readings of "one unit holds it", every network a dot."""
    measured = set(frame["metric"])
    ax = draw_dots(frame, {metric: label for metric, label in READINGS.items() if metric in measured})
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("|r|, or share of held-out states")
    return ax


def tell(answered: Answered) -> Told:
    """Return what the page of one network says: its best unit, and that of each control."""
    subject, name = answered.subject, answered.subject.concept.name
    best = only(answered.table, metric="largest_correlation", network=subject.network.name).iloc[0]
    at = str(best["layer"]) or studied_layer(subject).name, Signal(str(best["signal"]))
    value, others = float(best["value"]), _others(answered, "largest_correlation")
    named = unit_follows(subject, name, at) and round(value, 2) >= round(max([0.0, *others.values()]), 2)
    where, size = place(*at), said(value)
    answer = f"Unit {best['units']} of {where} follows “{name}” best within steps: |r| is {size}{_in_words(others)}."
    if not named:
        answer = f"No unit of {where} is shown to follow “{name}” within steps more than in controls: "
        answer += f"|r| is at most {size}{_in_words(others)}."
    exact = only(answered.table, metric="lasting_monotone_accuracy", network=subject.network.name)
    if len(exact):
        controls = {"the step alone": _share_of_step(subject), **_others(answered, "lasting_monotone_accuracy")}
        answer += (
            " One monotone map of one unit, the same for all steps, gives the exact value in a share of "
            f"{said(float(exact['value'].iloc[0]))} of held-out states{_in_words(controls)}."
        )
    setup = (
        "The mean of each step is subtracted from unit and concept, because a unit that tells the time follows any "
        "concept that grows. Each distinct prefix counts once. A unit is named if on sequences that did not "
        "select it the best one follows the concept more than a recent input does, and than a shuffled one is "
        "followed, and no control has a better one."
    )
    return Told({"answer": answer, "setup": setup})


def _in_words(controls: Mapping[str, float]) -> str:
    values = [f"{name} {said(value)}" for name, value in controls.items()]
    return f"; controls: {listed(values)}" if values else ""


def _share_of_step(subject: Subject) -> float:
    """Return the share of states that the most frequent value of each step gives exactly."""
    target = Target.of(subject, subject.concept.name)
    by_step = [target.values[target.step == step] for step in np.unique(target.step)]
    return float(np.mean([np.unique(values, return_counts=True)[1].max() / len(values) for values in by_step]))


def _others(answered: Answered, metric: str) -> dict[str, float]:
    """Return the largest value of each kind of control."""
    rows = only(answered.table, metric=metric)
    largest = rows[rows["network"] != answered.subject.network.name].groupby("role", sort=False)["value"].max()
    return {str(role): float(value) for role, value in largest.items()}
