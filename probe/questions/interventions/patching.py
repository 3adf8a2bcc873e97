"""What questions that put something into a run share: their tables, a search (DAS), a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.causal.alignment import PAIRS, Alignment, Search, search
from ...methods.causal.alignment_loss import answer_loss
from ...plots.networks import draw_role_lines
from ...plots.style import axes_or_new
from ...subjects.ends import machine_of
from ...subjects.plans import search_length
from ...subjects.subject import Subject, as_subjects

#: A metric, its value, and where it was measured, as keywords of `measurement`.
Value = tuple[str, float, Mapping[str, Any]]


def table_of(
    question: str, subjects: Sequence[Subject], values: Callable[[Subject], Iterable[Value]]
) -> pd.DataFrame:
    """Return the table of what a question measures of each subject at its layer."""
    return tabulate(
        measurement(question, metric, subject.network, value, **{"layer": subject.layer, **place})
        for subject in as_subjects(subjects)
        for metric, value, place in values(subject)
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


def draw_lines(rows: pd.DataFrame, *, at: str, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw a metric along a column: medians over networks with their interval, planted networks one by one."""
    if rows.empty:
        raise ProbeError("The table has nothing to draw; measure the question first.")
    ax = draw_role_lines(rows, ax=axes_or_new(ax), at=at)
    ax.set(xlabel=x, ylabel=y)
    return ax
