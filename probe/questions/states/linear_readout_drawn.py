"""Measures linear probes of states that are drawn from one network's runs, with every control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...evidence.claims import RANDOM
from ...evidence.measurements import measurement, tabulate
from ...intervals import bootstrap_counts
from ...methods.probing.controls import clock_features, inputs_read
from ...methods.probing.scores import MARGIN, Score, of_categories
from ...recurrent.random_weights import kind_of
from ...subjects.states import Place, reads_ahead, sample_of, states_of
from ...subjects.subject import Subject, as_subjects, per_subject
from .targets import Target, why_no_target

#: How often the concept is shuffled, and how often one of categories.
ORDERS, ORDERS_OF_CATEGORIES = 5, 2
#: The controls, in the column `kind`; those that read inputs say which, such as `last 4 inputs`.
CLOCK, CONSTANT, RELABELLED = "step alone", "one value for all", "relabelled"
#: Another control is made of the other concepts of the study that are read as well, each of so many values at most
#: by a column for each value: a concept that follows from one of these needs no states of its own.
OTHERS, MOST_COLUMNS = "other concepts", 50
#: The unexplained part of a score is taken to be at least this.
LEAST_LEFT = 1e-4


def measure_drawn(subjects: Sequence[Subject], *, concept: str, question: str) -> pd.DataFrame:
    """Measure linear probes of one network and its controls: ridge for a number, logistic for categories.

    The scores and intervals are those of `probe.linear_probe` with the study's seed, where all sequences are recorded
    and no layer reads from the end; for the states see `probe.subjects.states`.

    Metrics: `score` at each place of each network, with its 95 % interval over sequences; of role `null` from the
    step alone, the inputs, other concepts, of one value for all, and of the concept relabelled within steps.
    `class_score`, of categories: the share of the states of each (`kind`) that is right at the network's best place.
    `above` by control (`kind`): the score of the network's best place minus the control's. `random_weights_below` and
    `random_weights_apart`: see `ratios`. `best_score`: what the rule compares, of categories minus that of naming one
    value for all.
    """
    subject, *others = as_subjects(subjects)
    target, scores = Target.of(subject, concept), places_of(subject)[concept]
    at, fit = best_of(scores), target.fit.name
    sequences = len(np.unique(target.sequence))

    def row(metric: str, value: float, place: tuple[str, str] = ("", ""), **more: Any) -> dict[str, Any]:
        about = {"network": subject.network, "layer": place[0], "signal": place[1], **more}
        return measurement(question, metric, value=value, **about)

    rows, best_of_random, samples = [], {}, bootstrap_counts(len(scores[at].loss), subject.seed)
    for place, score in scores.items():
        low, high = score.interval(samples)
        rows.append(row("score", score.value, place, kind=fit, low=low, high=high, n=sequences))
    if target.named:
        by_class = zip(np.unique(target.values), scores[at].by_class, strict=True)
        rows += [row("class_score", value, at, kind=target.concept.said(level)) for level, value in by_class]
    for control in (one for one in others if one.network.role == RANDOM):
        by_place = _by_place(control, target)
        best_of_random[control.network] = by_place[best_of(by_place)]
        rows += [row("score", s.value, place, network=control.network, kind=fit) for place, s in by_place.items()]
    controls = _without_states(subject, target, at)
    count = ORDERS_OF_CATEGORIES if target.named else ORDERS
    orders = target.shuffled(count, seed=subject.seed)
    relabelled_scores = target.scores(states_of(subject).states[at][target.picked], orders)
    nulls: dict[str, tuple[tuple[str, str], Score]] = {name: (("", ""), score) for name, score in controls.items()}
    nulls |= {f"{RELABELLED} {number}": (at, score) for number, score in enumerate(relabelled_scores, start=1)}
    for name, (place, score) in nulls.items():
        rows.append(row("score", score.value, place, kind=fit) | {"role": "null", "network": name})
    controls[RELABELLED] = max(relabelled_scores, key=lambda score: score.value)
    nothing = controls[CONSTANT].value if CONSTANT in controls else 0.0
    compared = {subject.network: scores[at]}
    if best_of_random:
        network = max(best_of_random, key=lambda one: best_of_random[one].value)
        controls[RANDOM] = compared[network] = best_of_random[network]
    for name, score in controls.items():
        low, high = scores[at].above(score, samples)
        value = scores[at].value - score.value
        rows.append(row("above", value, at, kind=name, low=low, high=high, n=sequences))
    two = ratios({one.name: score.value for one, score in best_of_random.items()}, scores[at].value)
    rows += [row(f"random_weights_{name}", ratio, at) for name, ratio in zip(("below", "apart"), two, strict=True)]
    pair = {"pair": subject.network.pair or str(subject.seed)}
    rows += [row("best_score", s.value - nothing, network=one, kind=fit) | pair for one, s in compared.items()]
    return tabulate(rows)


def ratios(drawn: Mapping[str, float], score: float) -> tuple[float, float]:
    """Return two ratios of unexplained variance: best control to network, and median to best control of its kind.

    The unexplained part is 1 - score. A ratio calls .01 and .04 as different as .1 and .4; a difference of scores
    would call the first two the same. The network beats the controls only if the first ratio is larger than the
    second. Without controls both are 1.
    """
    if not drawn:
        return 1.0, 1.0
    left = {name: max(1 - value, LEAST_LEFT) for name, value in drawn.items()}
    best = min(left, key=lambda name: left[name])
    middle = float(np.median([value for name, value in left.items() if kind_of(name) == kind_of(best)]))
    return left[best] / max(1 - score, LEAST_LEFT), middle / left[best]


def best_of(scores: Mapping[Place, Score]) -> Place:
    """Return the place with the best score."""
    return max(scores, key=lambda place: scores[place].value)


@per_subject
def places_of(subject: Subject) -> dict[str, Mapping[Place, Score]]:
    """Return the held-out scores of each concept that a probe can be fitted to, by place."""
    names = [name for name in subject.concepts if why_no_target(subject, name) is None]
    return {name: _by_place(subject, Target.of(subject, name)) for name in names}


def _by_place(subject: Subject, target: Target) -> dict[Place, Score]:
    return {at: target.score(states[target.picked]) for at, states in states_of(subject).states.items()}


def _without_states(subject: Subject, target: Target, at: Place) -> dict[str, Score]:
    """Return the score of each control that reads no state, by name."""
    ahead, x = at[0] in reads_ahead(subject), subject.x[sample_of(subject).rows]
    inputs, read = inputs_read(x, target.sequence, target.step, before=True, after=ahead)
    features = {CLOCK: clock_features(target.step, target.bin, target.left), read: inputs}
    others = others_of(subject, target.concept.name)
    if others:
        features[OTHERS] = np.column_stack([*_columns(subject, target, others)])
    scores = {name: target.score(each) for name, each in features.items()}
    if target.named:
        always = np.full(len(target.values), target.values[0])
        scores[CONSTANT] = of_categories(target.values, always, target.group, target.count)
    return scores


def others_of(subject: Subject, name: str) -> list[str]:
    """Return the other concepts that are read about as well as one or better, on a scale from chance to all.

    A concept that is the same by other names is none of them.
    """
    least = max(_read_share(subject, name) - MARGIN, MARGIN)
    others = [other for other in places_of(subject) if other != name and _read_share(subject, other) >= least]
    target = Target.of(subject, name)
    return [other for other in others if not same(target.values, _values(subject, target, other))]


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether either concept's value gives the other's."""
    pairs = np.unique(np.column_stack([one, other]), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def _read_share(subject: Subject, name: str) -> float:
    """Return a concept's best score on a scale from 0, that of naming one value for all, to 1."""
    scores, target = places_of(subject)[name], Target.of(subject, name)
    least = 1 / len(np.unique(target.values)) if target.named else 0.0
    return (scores[best_of(scores)].value - least) / (1 - least)


def _values(subject: Subject, target: Target, name: str) -> np.ndarray:
    """Return a concept's values at the states of another one, NaN where it has none."""
    return subject.concepts[name].values[sample_of(subject).rows][target.sequence, target.step]


def _columns(subject: Subject, target: Target, names: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield concepts at the states of another one: a column for each value, and of a number the number itself."""
    for name in names:
        values = _values(subject, target, name)
        levels = np.unique(values[np.isfinite(values)])
        if len(levels) <= MOST_COLUMNS:
            yield (values[:, None] == levels).astype(float)
        if len(levels) > MOST_COLUMNS or not subject.concepts[name].is_categorical:
            yield np.nan_to_num(values)[:, None]
