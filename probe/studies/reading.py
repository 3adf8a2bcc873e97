"""What can be read of a concept in the states, by a linear probe and unit by unit, beside every control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..findings import Finding
from ..measurements import tabulate
from ..signals import Signal
from . import reading_figures, reading_words
from .concepts import Known
from .observed import Observed, Place
from .probing import Target, clock, detrended, follows, last_inputs, sums_of_inputs
from .sample import LEAST_SEQUENCES
from .scores import Score
from .sightings import Sightings
from .tables import NETWORK, NULL, TWIN, row

#: How far a score must lie above a control's to be called more, at the lower end of the interval.
MARGIN = 0.05
CLOCK, SHUFFLED, FREQUENT = "the step alone", "shuffled", "the most frequent value"
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """How well a concept is told by each way.

    Attributes:
        own: from the network, by place.
        twins: from each twin, by place.
        others: by what is no network: the step, the last inputs, the most frequent value.
        shuffled: the concept in other orders, from the network's best place.
    """

    own: dict[Place, Score]
    twins: dict[str, dict[Place, Score]]
    others: dict[str, Score]
    shuffled: list[Score]

    @property
    def best(self) -> Place:
        """Where it is told best."""
        return max(self.own, key=lambda place: self.own[place].value)

    @property
    def controls(self) -> dict[str, Score]:
        """What the best score is held against; of twins and orders the best one, at its own best place."""
        found = dict(self.others)
        found[SHUFFLED] = max(self.shuffled, key=lambda score: score.value)
        if self.twins:
            found[TWIN] = max(self.best_of_twins.values(), key=lambda score: score.value)
        return found

    @property
    def best_of_twins(self) -> dict[str, Score]:
        """Each twin's best score."""
        return {name: max(own.values(), key=lambda score: score.value) for name, own in self.twins.items()}

    @property
    def spread(self) -> float:
        """How far the twins of the better kind lie apart."""
        values = {name: score.value for name, score in self.best_of_twins.items()}
        if not values:
            return 0.0
        kind = max(values, key=lambda name: values[name]).rpartition(" ")[0]
        alike = [value for name, value in values.items() if name.rpartition(" ")[0] == kind]
        return max(alike) - min(alike)


def why_not(concept: Known, sightings: Sightings) -> str | None:
    """Return the sentence why nothing is asked about a concept, or None."""
    sample = sightings.sample
    values = concept.values[sample.rows][sample.sequence, sample.step][sample.of[concept.name]]
    if not len(values):
        return f"“{concept.name}” is defined nowhere in the sequences that were looked at, so nothing was asked about it."
    if float(np.ptp(values)) == 0:
        return (
            f"“{concept.name}” is {concept.said(values[0])} at every state that was looked at: where nothing varies "
            "nothing can be read, and no control can be made."
        )
    count = len(np.unique(sample.sequence[sample.of[concept.name]]))
    if count < LEAST_SEQUENCES:
        return (
            f"“{concept.name}” is defined in {count} of the sequences; with fewer than {LEAST_SEQUENCES} no part of them "
            "can be held out, so that neither a probe's score nor its controls (shuffled concept, re-initialised "
            "networks) could be made, and none is reported."
        )
    return None


def ask(sightings: Sightings, name: str, question: str) -> Finding:
    """Return what can be read of one concept.

    Args:
        sightings: the recordings.
        name: the concept.
        question: the finding's name.
    """
    concept = sightings.prepared.concepts[name]
    title = f"Can “{name}” be read?"
    reason = why_not(concept, sightings)
    if reason is not None:
        return Finding(question, title, tabulate([]), notes={"lead": reason, "answer": reason})
    sample, seed = sightings.sample, sightings.prepared.seed
    target = Target.of(concept, sample, sightings.prepared.x.shape[1])
    picked = sample.of[name]
    inputs, steps = last_inputs(sightings.inputs, target)
    recent = f"the last {steps} inputs" if steps > 1 else "the last input"
    others = {CLOCK: target.score(clock(target)), recent: target.score(inputs)}
    if concept.is_categorical:
        others[FREQUENT] = target.score(np.zeros((len(target.values), 1)))
    own = {at: target.score(states[picked]) for at, states in sightings.own.states.items()}
    twins = {
        twin: {at: target.score(states[picked]) for at, states in seen.states.items()}
        for twin, seen in sightings.of_twins.items()
    }
    best = max(own, key=lambda at: own[at].value)
    shuffled = target.shuffled(sightings.own.states[best][picked], seed)
    scores = Scores(own, twins, others, shuffled)
    rows = _rows(question, scores, seed)
    sums = sums_of_inputs(sightings.inputs, target, seed)
    for at, states in sightings.own.states.items():
        rows.append(_row(question, "memories", target.memories(states[picked], sums), at))
    rows += _units(question, sightings, target, picked)
    table = tabulate(rows)
    figures = reading_figures.draw(question, sightings, target, table, best)
    notes = reading_words.notes(concept, target, table, sample.distinct)
    return Finding(question, title, table, (), figures, notes=notes)


def _row(question: str, metric: str, value: float, at: Place, **more: Any) -> dict[str, Any]:
    return row(question, metric, value, layer=at[0], signal=at[1], **more)


def _rows(question: str, scores: Scores, seed: int) -> Rows:
    rows: Rows = []
    for at, score in scores.own.items():
        low, high = score.interval(seed)
        for metric, value in (("score", score.value), ("score_low", low), ("score_high", high)):
            rows.append(_row(question, metric, value, at))
    for twin, by_place in scores.twins.items():
        rows += [_row(question, "score", s.value, at, subject=TWIN, network=twin) for at, s in by_place.items()]
    for name, score in scores.others.items():
        rows.append(row(question, "score", score.value, subject=NULL, network=name))
    for number, score in enumerate(scores.shuffled, start=1):
        rows.append(_row(question, "score", score.value, scores.best, subject=NULL, network=f"{SHUFFLED} {number}"))
    best = scores.own[scores.best]
    for name, score in scores.controls.items():
        low, high = best.above(score, seed)
        wanted = max(MARGIN, scores.spread) if name == TWIN else MARGIN
        for metric, value in (
            ("control", score.value), ("above_low", low), ("above_high", high), ("wanted", wanted),
        ):
            rows.append(_row(question, metric, value, scores.best, units=name))
    return rows


def _units(question: str, sightings: Sightings, target: Target, picked: np.ndarray) -> Rows:
    """Return how closely each unit follows, and what the best ones do on sequences that did not choose them."""
    rows: Rows = []
    values = target.values if target.concept.is_categorical else detrended(target.values[:, None], target)[:, 0]
    everywhere = np.ones(len(values), dtype=bool)
    for at, states in sightings.own.states.items():
        own = detrended(states[picked], target)
        by_unit = follows(own, values, target, everywhere)
        rows += [_row(question, "follows", value, at, units=str(unit)) for unit, value in enumerate(by_unit)]
        value, units = held_out_unit(own, values, target)
        rows.append(_row(question, "best_unit", value, at, units=units))
        for number, order in enumerate(target.orders(sightings.prepared.seed), start=1):
            mixed = order if target.concept.is_categorical else detrended(order[:, None], target)[:, 0]
            value, units = held_out_unit(own, mixed, target)
            network = f"{SHUFFLED} {number}"
            rows.append(_row(question, "best_unit", value, at, subject=NULL, network=network, units=units))
    for twin, seen in sightings.of_twins.items():
        rows += _of_twin(question, twin, seen, values, target, picked)
    return rows


def _of_twin(
    question: str, twin: str, seen: Observed, values: np.ndarray, target: Target, picked: np.ndarray
) -> Rows:
    rows: Rows = []
    for at, states in seen.states.items():
        value, units = held_out_unit(detrended(states[picked], target), values, target)
        rows.append(_row(question, "best_unit", value, at, subject=TWIN, network=twin, units=units))
    return rows


def held_out_unit(states: np.ndarray, values: np.ndarray, target: Target) -> tuple[float, str]:
    """Return how closely the best unit follows, chosen on one half of the sequences and measured on the other.

    Measured where it was chosen, the luck of the best of many units would count as a code.

    Returns:
        The mean of both ways, and the units that were chosen.
    """
    first = target.fold % 2 == 0
    found, units = [], []
    for half in (first, ~first):
        unit = int(np.argmax(follows(states, values, target, half)))
        units.append(unit)
        found.append(float(follows(states[:, [unit]], values, target, ~half)[0]))
    return float(np.mean(found)), " ".join(str(unit) for unit in dict.fromkeys(units))


__all__ = ["NETWORK", "Scores", "Signal", "ask", "held_out_unit", "why_not"]
