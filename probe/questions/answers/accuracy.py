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
from ...plots.legends import legend_above
from ...plots.style import MANY, axes_or_new, role_style
from ...subjects.computed.alphabet import is_exhaustive
from ...subjects.computed.answers import answered_rows, answers, takes_levels
from ...subjects.subject import Subject, as_subjects
from .wrong import frequent_share

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

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


def draw(frame: pd.DataFrame, *, group: str = "test", bound: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw each network's error in one group, its floor, and the bound of a rule.

    The axis is linear up to 1 % and logarithmic above: a trained network and its own initialisation differ by two
    orders of magnitude, and an error of exactly 0 must have a place.

    Args:
        frame: what `measure` returned.
        group: whose error.
        bound: where a rule draws its line, or None.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the group was not measured.
    """
    errors = frame[(frame["metric"] == f"{group}_error") & (frame["pair"] != "")]
    if errors.empty:
        raise ProbeError(f"The table has no {f'{group}_error'!r} of networks with a pair; measure that group.")
    ax = axes_or_new(ax)
    places = {pair: place for place, pair in enumerate(dict.fromkeys(errors["pair"]))}
    many = len(places) > MANY
    ax.set_yscale("symlog", linthresh=0.01, linscale=1.0)
    for role, rows in errors.groupby("role", sort=False):
        look = role_style(str(role))
        ax.plot(
            rows["pair"].map(places),
            rows["value"],
            color=look.color,
            marker=look.marker,
            markersize=3.5 if many else None,
            linestyle="none",
            label=role,
            clip_on=False,
        )
    floors = frame[(frame["metric"] == f"{group}_floor") & (frame["role"] == "trained")]
    if not floors.empty:
        ax.plot(
            floors["pair"].map(places),
            floors["value"],
            linestyle="none",
            marker="_",
            markersize=5 if many else 14,
            color="black",
        )
        ax.plot([], [], linestyle="none", marker="_", markersize=12, color="black", label="floor")
    if bound is not None:
        ax.axhline(bound, color="black", linewidth=1, linestyle=":", label=f"rule: {bound:.0%}", zorder=0)
    ticks = [0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.1, 1]
    ax.set_yticks(ticks, ["0", "0.2 %", "0.4 %", "0.6 %", "0.8 %", "1 %", "10 %", "100 %"])
    ax.set_yticks([], minor=True)
    ax.set_ylim(-0.0005, 1.3)
    if not many:
        ax.set_xticks(range(len(places)), list(places))
    ax.set_xlabel("network")
    ax.set_ylabel(f"share of {group} rows misread")
    legend_above(ax)
    return ax
