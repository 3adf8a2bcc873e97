"""Can a concept be read from the states, by a linear probe or from one unit, and better than each control?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...evidence.claims import Control, Range, Rule, judge
from ...evidence.findings import Finding
from ...evidence.measurements import tabulate
from ...words import several
from ..definition.concepts import Known
from ..definition.prepared import LEAST_SEQUENCES, Prepared
from ..sampling.activations import Sightings
from ..sampling.network_states import Place
from ..sampling.probes import (
    Target,
    clock,
    detrended,
    follows,
    last_inputs,
    next_inputs,
    sums_of_inputs,
    within_steps,
)
from ..sampling.sample import reads_ahead
from ..sampling.scores import Score, of_categories
from ..tables import NULL, TWIN, row
from . import reading_figures, reading_words
from .reading_words import CLOCK, CONSTANT, SHUFFLED

#: How many networks a verdict about a recipe needs.
NEEDS = 20
#: The least that a score is taken to leave over.
_LEAST = 1e-4
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """How well a concept is told by each way.

    Attributes:
        own: from the network, by place.
        twins: from each twin, by place.
        others: by what is no network: the step, the last inputs, one value for all.
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
    def apart(self) -> tuple[float, float]:
        """How far the best twin lies from the network, and from the worst of its kind, as factors of what is left.

        What is left is 1 - score: .01 and .04 are as far apart as .1 and .4, where a difference of scores would call
        the first two the same. A network is like one more twin of that kind unless the first factor is the larger.
        """
        left = {name: max(1 - score.value, _LEAST) for name, score in self.best_of_twins.items()}
        if not left:
            return 1.0, 1.0
        best = min(left, key=lambda name: left[name])
        kind = best.rpartition(" ")[0]
        worst = max(value for name, value in left.items() if name.rpartition(" ")[0] == kind)
        return left[best] / max(1 - self.own[self.best].value, _LEAST), worst / left[best]


def why_not(concept: Known, sightings: Sightings) -> str | None:
    """Return the sentence why nothing is asked about a concept, or None."""
    sample = sightings.sample
    values = concept.values[sample.rows][sample.sequence, sample.step][sample.of[concept.name]]
    if not len(values):
        return (
            f"“{concept.name}” is defined nowhere in the sequences that were looked at, so nothing was asked about "
            "it."
        )
    if float(np.ptp(values)) == 0 and concept.is_named and len(concept.levels) > 1:
        return (
            f"Of the values of “{concept.name}” only “{concept.said(values[0])}” has states in at least "
            f"{LEAST_SEQUENCES} of the sequences that were looked at: of another value nothing can be held out, so "
            "that nothing was asked about it."
        )
    if float(np.ptp(values)) == 0:
        known = f"“{concept.said(values[0])}”" if concept.is_categorical else concept.said(values[0])
        return (
            f"“{concept.name}” is {known} at every state that was looked at: where nothing varies "
            "nothing can be read, and no control can be made."
        )
    count = len(np.unique(sample.sequence[sample.of[concept.name]]))
    if count < LEAST_SEQUENCES:
        return (
            f"“{concept.name}” is defined after {several(len(values), 'distinct beginning')} of sequences; each is "
            f"looked at once, in the first sequence that has it, and these are {several(count, 'sequence')}. With "
            f"fewer than {LEAST_SEQUENCES} no part of them can be held out, so that neither a probe's score "
            "nor its controls (shuffled concept, re-initialised networks) could be made, and none is reported."
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
        return Finding(question, title, tabulate([]), notes={"answer": reason})
    sample, seed = sightings.sample, sightings.prepared.seed
    target = Target.of(concept, sample, sightings.prepared)
    picked = sample.of[name]
    inputs, steps = last_inputs(sightings.inputs, target)
    own = {at: target.score(states[picked]) for at, states in sightings.own.states.items()}
    twins = {
        twin: {at: target.score(states[picked]) for at, states in seen.states.items()}
        for twin, seen in sightings.of_twins.items()
    }
    best = max(own, key=lambda at: own[at].value)
    ahead = best[0] in reads_ahead(sightings.prepared)
    recent = f"the last {steps} inputs" if steps > 1 else "the last input"
    if ahead:
        inputs = np.column_stack([inputs, next_inputs(sightings.inputs, target, steps)])
        recent = f"the last {steps} and the next {steps} inputs"
    others = {CLOCK: target.score(clock(target)), recent: target.score(inputs)}
    if concept.is_named:
        always = np.full(len(target.values), target.values[0])
        others[CONSTANT] = of_categories(target.values, always, target.sequence, target.count)
    shuffled = target.shuffled(sightings.own.states[best][picked], seed)
    scores = Scores(own, twins, others, shuffled)
    rows = _rows(question, scores, seed)
    sums = sums_of_inputs(sightings.inputs, target, seed)
    for at, states in sightings.own.states.items():
        rows.append(_row(question, "memories", target.memories(states[picked], sums), at))
    rows += _units(question, sightings, target, picked)
    rows += _recipe(question, scores, seed)
    table = tabulate(rows)
    claims = judge(table, [rule(name, question)], family=1)
    figures = reading_figures.draw(question, sightings, target, table, best)
    notes = reading_words.notes(target, table, sample.distinct, ahead=ahead)
    return Finding(question, title, table, tuple(claims), figures, notes=notes)


def rule(name: str, question: str) -> Rule:
    """Return the rule about the recipe that one network cannot decide; many studies' tables, joined, can."""
    return Rule(
        key=question,
        statement=f"“{name}” can be read from networks trained so, better than from re-initialised ones",
        metric="best_score",
        definition="Held-out score of a linear probe at the network's best place, and at that of its best twin; of "
        "categories less what naming one value for all gives.",
        source="this study",
        established_if=Range.above(reading_words.MARGIN),
        refuted_if=Range.at_most(reading_words.MARGIN),
        controls=(Control(TWIN, reading_words.MARGIN),),
        needs=NEEDS,
    )


def _recipe(question: str, scores: Scores, seed: int) -> Rows:
    """Return the values that the rule about the recipe compares, of the network and its best twin, as a pair."""
    nothing = scores.others[CONSTANT].value if CONSTANT in scores.others else 0.0
    found = [row(question, "best_score", scores.own[scores.best].value - nothing)]
    if scores.twins:
        best = scores.controls[TWIN].value - nothing
        found.append(row(question, "best_score", best, subject=TWIN, network="the best re-initialised network"))
    return [one | {"seed": seed} for one in found]


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
        for metric, value in (("control", score.value), ("above_low", low), ("above_high", high)):
            rows.append(_row(question, metric, value, scores.best, units=name))
    for metric, value in zip(("twins_below", "twins_apart"), scores.apart, strict=True):
        rows.append(_row(question, metric, value, scores.best))
    return rows


def _units(question: str, sightings: Sightings, target: Target, picked: np.ndarray) -> Rows:
    """Return how closely each unit follows, and what the best ones do on sequences that did not choose them."""
    rows: Rows = []
    values = within_steps(target.values, target)
    everywhere = np.ones(len(values), dtype=bool)
    for at, states in sightings.own.states.items():
        own = detrended(states[picked], target)
        by_unit = follows(own, values, target, everywhere)
        rows += [_row(question, "follows", value, at, units=str(unit)) for unit, value in enumerate(by_unit)]
        value, units = held_out_unit(own, values, target)
        rows.append(_row(question, "best_unit", value, at, units=units))
        for number, order in enumerate(target.orders(sightings.prepared.seed), start=1):
            value, units = held_out_unit(own, within_steps(order, target), target)
            network = f"{SHUFFLED} {number}"
            rows.append(_row(question, "best_unit", value, at, subject=NULL, network=network, units=units))
    for twin, seen in sightings.of_twins.items():
        own = {at: states[picked] for at, states in seen.states.items()}
        rows += _of_twin(question, twin, own, values, target)
    return rows


def _of_twin(question: str, twin: str, seen: dict[Place, np.ndarray], values: np.ndarray, target: Target) -> Rows:
    rows: Rows = []
    for at, states in seen.items():
        value, units = held_out_unit(detrended(states, target), values, target)
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


def question_names(prepared: Prepared) -> dict[str, str]:
    """Return the name of each concept's question: its own letters, numbered where they do not tell it apart."""
    found: dict[str, str] = {}
    for name in prepared.concepts:
        letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "concept"
        question = f"reading-{letters}"
        number = 2
        while question in found.values():
            question, number = f"reading-{letters}-{number}", number + 1
        found[name] = question
    return found
