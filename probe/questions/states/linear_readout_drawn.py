"""Measures linear probes of states that are drawn from one network's runs, beside every control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...evidence.measurements import Network, measurement, tabulate
from ...methods.probing.controls import clock_features, in_columns, inputs_around, relabelled, signed_sums, steps_back
from ...methods.probing.fits import Features, Ridge
from ...methods.probing.scores import MARGIN, Score, of_categories
from ...subjects.networks.random_weights import kind_of
from ...subjects.states import Place, inputs_of_sample, reads_ahead, sample_of, states_of
from ...subjects.subject import Subject, as_subjects, per_subject
from .targets import BestUnit, Target, best_units, best_units_of_shuffled, why_no_target

#: How many other memories of the inputs are predicted, and how often the concept is shuffled.
MEMORIES, ORDERS, ORDERS_OF_CATEGORIES = 20, 5, 2
#: The controls, in the column `kind`; `at` says how many inputs the probe on the last ones reads.
CLOCK, RECENT, AROUND = "step alone", "last inputs", "inputs around"
CONSTANT, RELABELLED, RANDOM = "one value for all", "relabelled", "random weights"
#: Another control is made of the other concepts of the study that are read as well, each of so many values at most
#: by a column for each value: a concept that follows from one of these needs no states of its own.
OTHERS, MOST_COLUMNS = "other concepts", 50
#: A category is told from the others if the interval of its score lies above this; chance is a half.
TOLD = 0.5 + MARGIN
#: The unexplained part of a score is taken to be at least this.
LEAST_LEFT = 1e-4
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class _Scores:
    """The held-out scores of a concept.

    Attributes:
        network: from the network, by place.
        random: from each network with random weights, by place.
        inputs: from the step, the last inputs and other concepts, and of naming one value for all, by control.
        relabelled: of the relabelled concept, from the network's best place.
        steps: how many steps the last inputs span.
    """

    network: Mapping[Place, Score]
    random: Mapping[Network, Mapping[Place, Score]]
    inputs: Mapping[str, Score]
    relabelled: Sequence[Score]
    steps: int

    @property
    def best(self) -> Place:
        """The place with the best score."""
        return best_of(self.network)

    @property
    def best_of_random(self) -> dict[Network, Score]:
        """The best score of each network with random weights."""
        return {network: scores[best_of(scores)] for network, scores in self.random.items()}

    @property
    def controls(self) -> dict[str, Score]:
        """The score of each control; of several networks or relabelled concepts the best one."""
        controls = {**self.inputs, RELABELLED: max(self.relabelled, key=_value)}
        return controls | {RANDOM: max(self.best_of_random.values(), key=_value)} if self.random else controls

    @property
    def apart(self) -> tuple[float, float]:
        """The two ratios of `ratios`, of the networks with random weights."""
        drawn = {network.name: score.value for network, score in self.best_of_random.items()}
        return ratios(drawn, self.network[self.best].value) if drawn else (1.0, 1.0)


def ratios(drawn: Mapping[str, float], score: float) -> tuple[float, float]:
    """Return two ratios of unexplained variance: best control to network, and median to best control of its kind.

    The unexplained part is 1 - score. A ratio calls .01 and .04 as different as .1 and .4; a difference of scores
    would call the first two the same. The network beats the controls only if the first ratio is larger than the
    second.

    Args:
        drawn: the score of each network with random weights, by its name.
        score: the network's.
    """
    left = {name: max(1 - value, LEAST_LEFT) for name, value in drawn.items()}
    best = min(left, key=lambda name: left[name])
    middle = float(np.median([value for name, value in left.items() if kind_of(name) == kind_of(best)]))
    return left[best] / max(1 - score, LEAST_LEFT), middle / left[best]


def _value(score: Score) -> float:
    return score.value


def best_of(scores: Mapping[Place, Score]) -> Place:
    """Return the place with the best score."""
    return max(scores, key=lambda place: scores[place].value)


def measure_drawn(subjects: Sequence[Subject], *, concept: str, question: str) -> pd.DataFrame:
    """Measure linear probes of one network beside its controls: ridge for a number, logistic for categories.

    The states are drawn by the network's seed, each after another prefix, at most `STATES` of them
    (`probe.subjects.states`); no sequence stands on both sides of a split. `kind` is how the probe was
    fitted, or which control a value is about.

    Metrics: `score` at each place of each network, with its 95 % interval over sequences; of role `null` from the
    step alone, from the last inputs, of one value for all, and of the concept relabelled within steps. `above` by
    control: the score of the network's best place minus the control's. `random_weights_below` and
    `random_weights_apart`: two ratios of unexplained variance, best control / network and median / best control of
    the same kind. `memories`: the mean R² of other memories of the inputs. `follows` by unit, and `best_unit`: how
    closely a unit follows the concept within steps, the best one held out. `best_score`: what the rule compares.
    Of three categories or more: `category_score`, how well each (`at`) is told from each other at the best place (.5
    by chance). Where some are told and some are not, `score`, `above` and the two ratios of the told ones alone, by
    the names `told_score` and so on.

    Args:
        subjects: the network, then its controls; those of role `random weights` are used.
        concept: the name of the concept.
        question: what the column `question` says.

    Returns:
        The tidy table.
    """
    subject, *others = as_subjects(subjects)
    controls = [one for one in others if one.network.role == RANDOM]
    target = Target.of(subject, concept)
    scores = _scores(subject, controls, target, places_of(subject)[concept])
    table = _Table(question, subject, target)
    rows = [*table.scores(scores), *table.memories(), *table.units(controls), *table.recipe(scores)]
    return tabulate([*rows, *_of_categories(table, scores, controls)])


def _of_categories(table: _Table, scores: _Scores, controls: Sequence[Subject]) -> Rows:
    """Return how well each category is told, and where some are and some are not, the scores of those alone."""
    levels, subject = np.unique(table.target.values), table.subject
    if not table.target.concept.is_named or len(levels) < 3:
        return []
    best = scores.network[scores.best]
    each = table.categories([best.of_category(place, TOLD) for place in range(len(levels))], levels, scores.best)
    told = np.array([row["low"] > TOLD for row in each])
    if told.all() or told.sum() < 2:
        return each
    some = table.target.of_values(levels[told])
    alone = _scores(subject, controls, some, _by_place(subject, some))
    rows = _Table(table.question, subject, some).scores(alone)
    return [*each, *(row | {"metric": f"told_{row['metric']}"} for row in rows)]


def _scores(subject: Subject, controls: Sequence[Subject], target: Target, network: Mapping[Place, Score]) -> _Scores:
    best, x = best_of(network), in_columns(inputs_of_sample(subject))
    steps = steps_back(x)
    ahead = best[0] in reads_ahead(subject)
    inputs = inputs_around(x, target.sequence, target.step, range(0, -steps, -1))
    if ahead:
        later = inputs_around(x, target.sequence, target.step, range(1, steps + 1))
        inputs = np.column_stack([inputs, later])
    without = {
        CLOCK: target.score(clock_features(target.step, target.bin, target.left)),
        AROUND if ahead else RECENT: target.score(inputs),
    }
    others = others_of(subject, target.concept.name)
    if others:
        without[OTHERS] = target.score(np.column_stack([_columns(subject, target, name) for name in others]))
    if target.concept.is_named:
        always = np.full(len(target.values), target.values[0])
        without[CONSTANT] = of_categories(target.values, always, target.sequence, target.count)
    states = states_of(subject).states[best][target.picked]
    random = {one.network: _by_place(one, target) for one in controls}
    return _Scores(network, random, without, target.scores(states, _orders(subject, target)), steps)


@per_subject
def places_of(subject: Subject) -> dict[str, Mapping[Place, Score]]:
    """Return the held-out scores of each concept that a probe can be fitted to, by place."""
    names = [name for name in subject.concepts if why_no_target(subject, name) is None]
    return {name: _by_place(subject, Target.of(subject, name)) for name in names}


def others_of(subject: Subject, name: str) -> list[str]:
    """Return the other concepts that are read about as well as one or better, on a scale from chance to all.

    A concept that is the same by other names is none of them.
    """
    least = max(_read_share(subject, name) - MARGIN, MARGIN)
    others = [other for other in places_of(subject) if other != name and _read_share(subject, other) >= least]
    target = Target.of(subject, name)
    return [other for other in others if not _same(target.values, _values(subject, target, other))]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether either concept's value gives the other's."""
    pairs = np.unique(np.column_stack([one, other]), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def _read_share(subject: Subject, name: str) -> float:
    """Return a concept's best score on a scale from 0, that of naming one value for all, to 1."""
    scores, target = places_of(subject)[name], Target.of(subject, name)
    score = scores[best_of(scores)].value
    least = 1 / len(np.unique(target.values)) if target.concept.is_named else 0.0
    return (score - least) / (1 - least)


def _values(subject: Subject, target: Target, name: str) -> np.ndarray:
    """Return a concept's values at the states of another one, NaN where it has none."""
    return subject.concepts[name].values[sample_of(subject).rows][target.sequence, target.step]


def _columns(subject: Subject, target: Target, name: str) -> np.ndarray:
    """Return a concept at the states of another one: a column for each value, and of a number the number itself."""
    concept, values = subject.concepts[name], _values(subject, target, name)
    levels = np.unique(values[np.isfinite(values)])
    own = np.nan_to_num(values)[:, None]
    if len(levels) > MOST_COLUMNS:
        return own
    each = (values[:, None] == levels).astype(float)
    return each if concept.is_categorical else np.column_stack([each, own])


def _by_place(subject: Subject, target: Target) -> dict[Place, Score]:
    return {at: target.score(states[target.picked]) for at, states in states_of(subject).states.items()}


def _orders(subject: Subject, target: Target) -> list[np.ndarray]:
    count = ORDERS_OF_CATEGORIES if target.concept.is_named else ORDERS
    return relabelled(target.values, target.bin, target.sequence, count, seed=subject.seed)


class _Table:
    """Makes the rows of the table."""

    def __init__(self, question: str, subject: Subject, target: Target) -> None:
        self.question, self.subject, self.target = question, subject, target
        self.fit = target.fit.name

    def _row(self, metric: str, value: float, place: Place | None = None, **more: Any) -> dict[str, Any]:
        network = more.pop("network", self.subject.network)
        layer, signal = place or ("", "")
        return measurement(self.question, metric, network, value, layer=layer, signal=signal, **more)

    def _null(
        self, metric: str, value: float, network: str, place: Place | None = None, **more: Any
    ) -> dict[str, Any]:
        return self._row(metric, value, place, **more) | {"role": "null", "network": network}

    def scores(self, scores: _Scores) -> Rows:
        """Return the scores of all networks and controls, and how far the network is above each control."""
        rows: Rows = []
        sequences, seed = len(np.unique(self.target.sequence)), self.subject.seed
        for at, score in scores.network.items():
            low, high = score.interval(seed)
            rows.append(self._row("score", score.value, at, kind=self.fit, low=low, high=high, n=sequences))
        for network, by_place in scores.random.items():
            rows += [self._row("score", s.value, at, network=network, kind=self.fit) for at, s in by_place.items()]
        for name, score in scores.inputs.items():
            rows.append(self._null("score", score.value, name, kind=self.fit, at=_steps(name, scores)))
        for number, score in enumerate(scores.relabelled, start=1):
            rows.append(self._null("score", score.value, f"{RELABELLED} {number}", scores.best, kind=self.fit))
        best = scores.network[scores.best]
        for name, score in scores.controls.items():
            low, high = best.above(score, seed)
            value, steps = best.value - score.value, _steps(name, scores)
            rows.append(self._row("above", value, scores.best, kind=name, at=steps, low=low, high=high, n=sequences))
        for metric, value in zip(("random_weights_below", "random_weights_apart"), scores.apart, strict=True):
            rows.append(self._row(metric, value, scores.best))
        return rows

    def categories(self, scores: Sequence[Score], levels: np.ndarray, at: Place) -> Rows:
        """Return how well each category is told from each other."""
        rows: Rows = []
        for level, score in zip(levels.tolist(), scores, strict=True):
            low, high = score.interval(self.subject.seed)
            rows.append(self._row("category_score", score.value, at, kind=self.fit, at=level, low=low, high=high))
        return rows

    def memories(self) -> Rows:
        """Return how well other memories of the inputs are read at each place; none of a single number."""
        x, target = in_columns(inputs_of_sample(self.subject)), self.target
        if x[0].numel() < 2:
            return []
        sums = signed_sums(x, count=MEMORIES, seed=self.subject.seed)[target.sequence, target.step]
        rows = []
        for at, states in states_of(self.subject).states.items():
            scores = target.scores(states[target.picked], list(Features.of(sums).of_states(sums).T), Ridge())
            mean = float(np.mean([score.value for score in scores]))
            rows.append(self._row("memories", mean, at, kind=Ridge.name))
        return rows

    def units(self, controls: Sequence[Subject]) -> Rows:
        """Return how closely each unit follows, and how the best unit does on sequences that did not select it."""
        rows: Rows = []
        target, name = self.target, self.target.concept.name
        for at, states in states_of(self.subject).states.items():
            by_unit = enumerate(target.follows(states[target.picked]))
            rows += [self._row("follows", value, at, units=str(unit)) for unit, value in by_unit]
        for network in (self.subject, *controls):
            for at, best in best_units(network)[name].items():
                rows.append(self._row("best_unit", best.value, at, network=network.network, units=_joined(best)))
        for at, shuffled in best_units_of_shuffled(self.subject, name).items():
            for number, best in enumerate(shuffled, start=1):
                rows.append(self._null("best_unit", best.value, f"{RELABELLED} {number}", at, units=_joined(best)))
        return rows

    def recipe(self, scores: _Scores) -> Rows:
        """Return the scores that the rule compares: the network's, and that of the best one with random weights."""
        nothing = scores.inputs[CONSTANT].value if CONSTANT in scores.inputs else 0.0
        best = {self.subject.network: scores.network[scores.best]}
        if scores.random:
            network = max(scores.best_of_random, key=lambda one: scores.best_of_random[one].value)
            best[network] = scores.best_of_random[network]
        pair = {"pair": self.subject.network.pair or str(self.subject.seed)}
        return [
            self._row("best_score", s.value - nothing, network=one, kind=self.fit) | pair for one, s in best.items()
        ]


def _joined(best: BestUnit) -> str:
    return " ".join(map(str, best.selected))


def _steps(control: str, scores: _Scores) -> float | None:
    return float(scores.steps) if control in (RECENT, AROUND) else None
