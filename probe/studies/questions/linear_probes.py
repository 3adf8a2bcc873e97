"""Can a concept be read from the states, by a linear probe or from one unit, and better than each control?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import several
from ...evidence.claims import Control, Range, Rule, judge
from ...evidence.findings import Finding
from ...evidence.measurements import tabulate
from ..definition.concepts import Known
from ..definition.prepared import LEAST_SEQUENCES, Prepared
from ..rows import NULL, RANDOM_WEIGHTS, row
from ..sampling.activations import Activations
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
from . import linear_probes_figures, linear_probes_words
from .linear_probes_words import CLOCK, CONSTANT, SHUFFLED

#: A verdict about a recipe needs so many networks.
NEEDS = 20
#: The unexplained part of a score is taken to be at least this.
_LEAST = 1e-4
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """The held-out scores of a concept.

    Attributes:
        network: from the network, by place.
        random_weights: from each network with random weights, by place.
        others: from the step, from the last inputs, and of naming one value for all.
        shuffled: of the shuffled concept, from the network's best place.
    """

    network: dict[Place, Score]
    random_weights: dict[str, dict[Place, Score]]
    others: dict[str, Score]
    shuffled: list[Score]

    @property
    def best(self) -> Place:
        """The place with the best score."""
        return max(self.network, key=lambda place: self.network[place].value)

    @property
    def controls(self) -> dict[str, Score]:
        """The score of each control; of several networks or shuffled concepts the best one."""
        controls = dict(self.others)
        controls[SHUFFLED] = max(self.shuffled, key=lambda score: score.value)
        if self.random_weights:
            controls[RANDOM_WEIGHTS] = max(self.best_of_random.values(), key=lambda score: score.value)
        return controls

    @property
    def best_of_random(self) -> dict[str, Score]:
        """The best score of each network with random weights."""
        return {
            name: max(scores.values(), key=lambda score: score.value) for name, scores in self.random_weights.items()
        }

    @property
    def apart(self) -> tuple[float, float]:
        """Two ratios of unexplained variance: best control to network, and worst to best control of the same kind.

        The controls are the networks with random weights, and the unexplained part is 1 - score. A ratio calls .01
        and .04 as different as .1 and .4; a difference of scores would call the first two the same. The network
        beats the controls only if the first ratio is larger than the second.
        """
        left = {name: max(1 - score.value, _LEAST) for name, score in self.best_of_random.items()}
        if not left:
            return 1.0, 1.0
        best = min(left, key=lambda name: left[name])
        kind = best.rpartition(" ")[0]
        worst = max(value for name, value in left.items() if name.rpartition(" ")[0] == kind)
        return left[best] / max(1 - self.network[self.best].value, _LEAST), worst / left[best]


def why_not(concept: Known, activations: Activations) -> str | None:
    """Return the sentence why a concept cannot be studied, or None."""
    sample = activations.sample
    values = concept.values[sample.rows][sample.sequence, sample.step][sample.of[concept.name]]
    if not len(values):
        return f"“{concept.name}” is not defined anywhere in the sequences that were studied, so it was not studied."
    if float(np.ptp(values)) == 0 and concept.is_named and len(concept.levels) > 1:
        return (
            f"Of the values of “{concept.name}”, only “{concept.said(values[0])}” has states in at least "
            f"{LEAST_SEQUENCES} of the sequences that were studied. The other values are too rare to hold any out, "
            "so the concept was not studied."
        )
    if float(np.ptp(values)) == 0:
        known = f"“{concept.said(values[0])}”" if concept.is_categorical else concept.said(values[0])
        return (
            f"“{concept.name}” is {known} at every state that was studied. A value that does not vary cannot be read."
        )
    count = len(np.unique(sample.sequence[sample.of[concept.name]]))
    if count < LEAST_SEQUENCES:
        return (
            f"“{concept.name}” is defined after {several(len(values), 'distinct beginning')} of sequences. Each is "
            f"used once, in the first sequence that has it, which gives {several(count, 'sequence')}. With fewer "
            f"than {LEAST_SEQUENCES} no part of them can be held out, so neither a probe nor its controls (shuffled "
            "concept, random weights) were scored."
        )
    return None


def ask(activations: Activations, name: str, question: str) -> Finding:
    """Return how well one concept can be read, beside its controls.

    Args:
        activations: the recordings.
        name: the concept.
        question: the name of the finding.
    """
    concept = activations.prepared.concepts[name]
    title = f"Can “{name}” be read?"
    reason = why_not(concept, activations)
    if reason is not None:
        return Finding(question, title, tabulate([]), notes={"answer": reason})
    sample, seed = activations.sample, activations.prepared.seed
    target = Target.of(concept, sample, activations.prepared)
    picked = sample.of[name]
    inputs, steps = last_inputs(activations.inputs, target)
    network = {at: target.score(states[picked]) for at, states in activations.network.states.items()}
    random_weights = {
        control: {at: target.score(states[picked]) for at, states in recorded.states.items()}
        for control, recorded in activations.random_weights.items()
    }
    best = max(network, key=lambda at: network[at].value)
    ahead = best[0] in reads_ahead(activations.prepared)
    recent = f"the last {steps} inputs" if steps > 1 else "the last input"
    if ahead:
        inputs = np.column_stack([inputs, next_inputs(activations.inputs, target, steps)])
        recent = f"the last {steps} and the next {steps} inputs"
    others = {CLOCK: target.score(clock(target)), recent: target.score(inputs)}
    if concept.is_named:
        always = np.full(len(target.values), target.values[0])
        others[CONSTANT] = of_categories(target.values, always, target.sequence, target.count)
    shuffled = target.shuffled(activations.network.states[best][picked], seed)
    scores = Scores(network, random_weights, others, shuffled)
    rows = _rows(question, scores, seed)
    sums = sums_of_inputs(activations.inputs, target, seed)
    for at, states in activations.network.states.items():
        rows.append(_row(question, "memories", target.memories(states[picked], sums), at))
    rows += _units(question, activations, target, picked)
    rows += _recipe(question, scores, seed)
    table = tabulate(rows)
    claims = judge(table, [rule(name, question)], family=1)
    figures = linear_probes_figures.draw(question, activations, target, table, best)
    notes = linear_probes_words.notes(target, table, sample.distinct, ahead=ahead)
    return Finding(question, title, table, tuple(claims), figures, notes=notes)


def rule(name: str, question: str) -> Rule:
    """Return the rule about the recipe. One network cannot decide it; the joined tables of many studies can."""
    return Rule(
        key=question,
        statement=f"“{name}” can be read from networks trained so, better than from networks with random weights",
        metric="best_score",
        definition="Held-out score of a linear probe at the network's best place, and at the best place of the best "
        "network with random weights. For categories, minus the score of naming one value for all.",
        source="this study",
        established_if=Range.above(linear_probes_words.MARGIN),
        refuted_if=Range.at_most(linear_probes_words.MARGIN),
        controls=(Control(RANDOM_WEIGHTS, linear_probes_words.MARGIN),),
        needs=NEEDS,
    )


def _recipe(question: str, scores: Scores, seed: int) -> Rows:
    """Return the two scores that the rule about the recipe compares: the network's, and the best random network's."""
    nothing = scores.others[CONSTANT].value if CONSTANT in scores.others else 0.0
    rows = [row(question, "best_score", scores.network[scores.best].value - nothing)]
    if scores.random_weights:
        best = scores.controls[RANDOM_WEIGHTS].value - nothing
        name = "the best network with random weights"
        rows.append(row(question, "best_score", best, subject=RANDOM_WEIGHTS, network=name))
    return [line | {"seed": seed} for line in rows]


def _row(question: str, metric: str, value: float, at: Place, **more: Any) -> dict[str, Any]:
    return row(question, metric, value, layer=at[0], signal=at[1], **more)


def _rows(question: str, scores: Scores, seed: int) -> Rows:
    rows: Rows = []
    for at, score in scores.network.items():
        low, high = score.interval(seed)
        for metric, value in (("score", score.value), ("score_low", low), ("score_high", high)):
            rows.append(_row(question, metric, value, at))
    for control, by_place in scores.random_weights.items():
        rows += [
            _row(question, "score", s.value, at, subject=RANDOM_WEIGHTS, network=control)
            for at, s in by_place.items()
        ]
    for name, score in scores.others.items():
        rows.append(row(question, "score", score.value, subject=NULL, network=name))
    for number, score in enumerate(scores.shuffled, start=1):
        rows.append(_row(question, "score", score.value, scores.best, subject=NULL, network=f"{SHUFFLED} {number}"))
    best = scores.network[scores.best]
    for name, score in scores.controls.items():
        low, high = best.above(score, seed)
        for metric, value in (("control", score.value), ("above_low", low), ("above_high", high)):
            rows.append(_row(question, metric, value, scores.best, units=name))
    for metric, value in zip(("random_weights_below", "random_weights_apart"), scores.apart, strict=True):
        rows.append(_row(question, metric, value, scores.best))
    return rows


def _units(question: str, activations: Activations, target: Target, picked: np.ndarray) -> Rows:
    """Return how closely each unit follows, and how the best unit does on sequences that did not select it."""
    rows: Rows = []
    values = within_steps(target.values, target)
    everywhere = np.ones(len(values), dtype=bool)
    for at, states in activations.network.states.items():
        units = detrended(states[picked], target)
        by_unit = follows(units, values, target, everywhere)
        rows += [_row(question, "follows", value, at, units=str(unit)) for unit, value in enumerate(by_unit)]
        value, best = held_out_unit(units, values, target)
        rows.append(_row(question, "best_unit", value, at, units=best))
        for number, order in enumerate(target.orders(activations.prepared.seed), start=1):
            value, best = held_out_unit(units, within_steps(order, target), target)
            network = f"{SHUFFLED} {number}"
            rows.append(_row(question, "best_unit", value, at, subject=NULL, network=network, units=best))
    for control, recorded in activations.random_weights.items():
        for at, states in recorded.states.items():
            value, best = held_out_unit(detrended(states[picked], target), values, target)
            rows.append(_row(question, "best_unit", value, at, subject=RANDOM_WEIGHTS, network=control, units=best))
    return rows


def held_out_unit(states: np.ndarray, values: np.ndarray, target: Target) -> tuple[float, str]:
    """Return how closely the best unit follows, selected on one half of the sequences and measured on the other.

    Measured on the same half, the best of many units would look good by chance.

    Returns:
        The mean over both ways, and the units that were selected.
    """
    first = target.fold % 2 == 0
    scores, units = [], []
    for half in (first, ~first):
        unit = int(np.argmax(follows(states, values, target, half)))
        units.append(unit)
        scores.append(float(follows(states[:, [unit]], values, target, ~half)[0]))
    return float(np.mean(scores)), " ".join(str(unit) for unit in dict.fromkeys(units))


def question_names(prepared: Prepared) -> dict[str, str]:
    """Return the name of each concept's question: the letters of its name, with a number if two would be the same."""
    questions: dict[str, str] = {}
    for name in prepared.concepts:
        letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "concept"
        question = f"reading-{letters}"
        number = 2
        while question in questions.values():
            question, number = f"reading-{letters}-{number}", number + 1
        questions[name] = question
    return questions
