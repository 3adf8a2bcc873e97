"""What happens in one sequence: concepts, what a probe reads, what would be answered, and the units, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...subjects.computed.answers import answers_if_asked
from ...subjects.computed.network_states import Place
from ...subjects.computed.sampled import examples_of, inputs_of_sample, sample_of, states_of
from ...subjects.subject import Subject, as_subjects
from ..question import Question
from ..telling import one_sequence_told
from .linear_readout_drawn import best_of, places_of
from .targets import Target, followed

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "one-sequence"
#: Of a longer sequence so many steps are shown, and of more units so many: those that follow the concept most.
STEPS, UNITS = 40, 24


def question(subject: Subject) -> Question:
    """Return the question, which shows examples and claims nothing."""
    _ = subject
    title = "What happens in one sequence?"
    return Question(QUESTION, title, measure, (why_not,), ("trained",), tell=one_sequence_told.tell, version=3)


def why_not(subject: Subject) -> str | None:
    """A concept that a probe can read from the states."""
    return None if places_of(subject) else "no concept varies over enough states for a probe"


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure a few sequences step by step; `at` is the sequence's number in the study.

    Metrics at each step: `concept`, its value (`kind` names it); `reading`, what a probe of the concept's best place
    (`layer`, `signal`) says, fitted without all states whose prefix this sequence shares; `answer`, what the network
    would answer if the sequence ended there; `state`, the value of a unit where one follows the first concept
    most, of many units those that do. Values of categories are their places in the concept's order.

    Args:
        subjects: the network; its controls are not measured.
    """
    subject = as_subjects(subjects)[0]
    rows: list[dict[str, Any]] = []
    for example in examples_of(subject):
        rows += _of_example(subject, example)
    return tabulate(rows)


def _of_example(subject: Subject, example: int) -> Iterator[dict[str, Any]]:
    row = int(sample_of(subject).rows[example])
    length, network = min(int(subject.lengths[row]), STEPS), subject.network

    def along(metric: str, values: np.ndarray, **more: Any) -> Iterator[dict[str, Any]]:
        for step, value in enumerate(values[:length].tolist()):
            if np.isfinite(value):
                yield measurement(QUESTION, metric, network, value, step=step, at=row, **more)

    for name in ordered(subject):
        yield from along("concept", subject.concepts[name].values[row], kind=name)
        at = best_of(places_of(subject)[name])
        read = _reading(subject, Target.of(subject, name), example, at)
        yield from along("reading", read, kind=name, layer=at[0], signal=str(at[1]))
    with suppress(ProbeError):
        if subject.readout is not None:
            yield from along("answer", answers_if_asked(subject, np.array([row]))[0], kind=subject.answered.name)
    layer, signal = followed(subject, ordered(subject)[0])[0]
    states = _whole(subject, (layer, signal), example)
    for unit in _shown(subject, (layer, signal)):
        yield from along("state", states[:, unit], layer=layer, signal=str(signal), units=str(unit))


def ordered(subject: Subject) -> list[str]:
    """Return the concepts that a probe can read, the one that is answered first."""
    first = subject.concept.name
    return sorted(places_of(subject), key=lambda name: name != first)


def _whole(subject: Subject, at: Place, example: int) -> np.ndarray:
    return states_of(subject).examples[at][examples_of(subject).index(example)]


def _shown(subject: Subject, at: Place) -> list[int]:
    """Return the units that are shown: all, or those that follow the first concept most, in their own order."""
    target = Target.of(subject, ordered(subject)[0])
    states = states_of(subject).states[at]
    if states.shape[1] <= UNITS:
        return list(range(states.shape[1]))
    how = target.follows(states[target.picked])
    return sorted(np.argsort(-how, kind="stable")[:UNITS].tolist())


def _reading(subject: Subject, target: Target, example: int, at: Place) -> np.ndarray:
    """Return what a probe says after each step, fitted without the states that this sequence shares, (step,)."""
    states, own = states_of(subject).states[at][target.picked], _whole(subject, at, example)
    x, length = inputs_of_sample(subject), int(subject.lengths[sample_of(subject).rows[example]])
    # How many steps each sequence begins like this one: a state within them is a state of this one.
    same = (x == x[example]).flatten(2).all(2).numpy().cumprod(1).sum(1)
    kept = np.flatnonzero((same[target.sequence] <= target.step) & (target.sequence != example))
    found = np.full(length, np.nan)
    if len(np.unique(target.values[kept])) < 2:
        return found
    there = len(kept)
    features = np.concatenate([states[kept], own[:length]])
    values = np.concatenate([target.values[kept], np.full(length, target.values[kept][0])])
    # Two parts of the states to fit on, so that a penalty can be selected, and the sequence as the one that is asked.
    parts = [np.flatnonzero(target.fold[kept] % 2 == number) for number in (0, 1)]
    whole = [part for part in parts if len(part)] + [np.arange(there, there + length)]
    return target.fit.held_out(features, values[:, None], whole)[there:, 0]
