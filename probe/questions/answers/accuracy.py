"""Does the network do its task, on which inputs does it fail, and which of those could nobody have learned?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ProbeError
from ...evidence.intervals import share_interval
from ...evidence.measurements import Network, measurement, tabulate
from ...methods.abstraction.automata import automaton_of
from ...methods.probing.linear import r_squared
from ...subjects.computed.alphabet import is_exhaustive
from ...subjects.computed.answers import answered_rows, answers, takes_levels
from ...subjects.subject import Subject, as_subjects
from .wrong import frequent_share

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "accuracy"
#: Group name -> rows of the batch.
Groups = Mapping[str, Sequence[int]]


def measure(
    subjects: Sequence[Subject],
    *,
    groups: Callable[[Subject], Groups] | None = None,
    trained_on: str = "train",
) -> pd.DataFrame:
    """Return how often answers are right, by group of sequences and by label.

    Metrics without groups: `accuracy`, the share of answers that are right, with its interval unless the inputs are
    all sequences of their length, and of the role `null` the share of always giving the most frequent answer; of
    answers that take any value `r_squared` in its place. With groups: `<group>_error`, the share of the group's rows
    whose answer is wrong; `<group>_floor`, the share of its rows whose label never occurred in the group `trained_on`
    (for networks that have that group): nobody could have learned those. In both: `error_by_label` (`at` is the
    label); `balanced_error`, its mean over labels, in which a label with one row weighs as much as one with 252;
    `automaton_states`, where the inputs are all sequences of their length over a finite alphabet: how many
    states the smallest layered automaton that gives the network's answers has, which is what the right answers need
    where the network makes no error.

    Args:
        subjects: what is measured. Without groups a random part of many or long sequences is asked.
        groups: names the rows of each group of a subject, such as its own test rows; None for none.
        trained_on: the group with the rows that the network was trained on.

    Raises:
        ProbeError: a group is empty or names a row beyond the batch, or answers are not one a row.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        asked = answered_rows(subject) if groups is None else np.arange(len(subject.x))
        given, shown = answers(subject, asked)
        truth = subject.answered.values[asked, subject.lengths[asked] - 1]
        if not takes_levels(subject):
            rows.append(
                measurement(QUESTION, "r_squared", subject.network, float(r_squared(truth, shown)), n=len(asked))
            )
            continue
        right = np.isclose(given, truth)
        rows += (
            _of_all(subject, right, truth)
            if groups is None
            else _of_groups(subject, ~right, truth, groups, trained_on)
        )
        by_label = {float(label): float((~right[truth == label]).mean()) for label in np.unique(truth)}
        found: list[tuple[str, float, float | None]] = [
            ("error_by_label", error, label) for label, error in by_label.items()
        ]
        found.append(("balanced_error", float(np.mean(list(by_label.values()))), None))
        automaton = None if subject.ragged or len(asked) < len(subject.x) else automaton_of(subject.x, given)
        found += [] if automaton is None else [("automaton_states", float(automaton.size), None)]
        rows += [measurement(QUESTION, metric, subject.network, value, at=at) for metric, value, at in found]
    return tabulate(rows)


def _of_all(subject: Subject, right: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    hits, count, network = int(right.sum()), len(right), subject.network
    low, high = (
        (None, None)
        if is_exhaustive(subject) and count == len(subject.x)
        else share_interval(hits, count) or (None, None)
    )
    rows = [measurement(QUESTION, "accuracy", network, hits / count, low=low, high=high, n=count)]
    if network.role == "trained":
        null = Network(f"{network.name}/most frequent answer", "null", network.model, network.pair)
        rows.append(measurement(QUESTION, "accuracy", null, frequent_share(truth), n=count))
    return rows


def _of_groups(
    subject: Subject, wrong: np.ndarray, truth: np.ndarray, groups: Callable[[Subject], Groups], trained_on: str
) -> list[dict[str, Any]]:
    own, rows = groups(subject), []
    for name, chosen in own.items():
        picked = _rows(name, chosen, len(truth))
        rows.append(measurement(QUESTION, f"{name}_error", subject.network, float(wrong[picked].mean())))
        if trained_on in own:
            known = np.unique(truth[_rows(trained_on, own[trained_on], len(truth))])
            unseen = ~np.isin(truth[picked], known)
            rows.append(measurement(QUESTION, f"{name}_floor", subject.network, float(unseen.mean())))
    return rows


def _rows(name: str, rows: Sequence[int], size: int) -> np.ndarray:
    picked = np.asarray(rows, dtype=np.int64)
    if not picked.size or picked.min() < 0 or picked.max() >= size:
        raise ProbeError(
            f"The group {name!r} must name at least one row from 0 to {size - 1}; it has {picked.size} rows"
            + (f" from {picked.min()} to {picked.max()}." if picked.size else ".")
        )
    return picked
