"""What questions that put something into a run share: their tables, a search (DAS), a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.measurements import measurement, only, tabulate
from ...methods.causal.alignment import PAIRS, Alignment, Search, search
from ...methods.causal.alignment_loss import answer_loss
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...subjects.ends import machine_of
from ...subjects.plans import search_length
from ...subjects.subject import Subject, as_subjects

#: Metric, value, and its place in the table.
Value = tuple[str, float, Mapping[str, Any]]


def table_of(
    question: str, subjects: Sequence[Subject], measure: Callable[[Subject], Iterable[Value]]
) -> pd.DataFrame:
    """Return the table of what a question measures of each subject at its layer; NaN is left out."""
    return tabulate(
        measurement(question, metric, subject.network, value, **{"layer": subject.layer, **place})
        for subject in as_subjects(subjects)
        for metric, value, place in measure(subject)
        if not math.isnan(value)
    )


def find(
    subject: Subject, step: int, searches: Sequence[Search], *, most: int, pairs: int = PAIRS, seed: int = 0
) -> list[Alignment]:
    """Return what searches find in at most so many steps of so many pairs; nothing where that takes too long."""
    many = search_length(subject, step, searches=len(searches), pairs=pairs, most=most) if searches else 0
    if not many:
        return []
    machine, loss = machine_of(subject), answer_loss if subject.head is None else subject.head.loss
    return search(machine, step, searches, loss=loss, iterations=many, pairs=pairs, seed=seed)


def draw_lines(frame: pd.DataFrame, metric: str, *, at: str, x: str, y: str, kind: str = "") -> Axes:
    """Draw a metric along a column: medians over networks with their interval, planted networks one by one."""
    rows = only(frame, metric=metric, kind=kind)
    if rows.empty:
        raise ProbeError(f"The table has no {metric}{f' of kind {kind!r}' * bool(kind)}; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(None), at=at)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return ax
