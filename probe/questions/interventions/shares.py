"""The rows, words and pictures that questions about gates, routes and units share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import between, largest, listed, said
from ...plots.networks import draw_dots, draw_role_lines
from ...plots.style import axes_or_new
from ...subjects.subject import Subject, as_subjects
from ..question import Answered
from ..told import controls_of, of_network

#: What shares that are pooled over pairs do not see.
AVERAGED = "Shares are of the mean change: what moves the answer up in one pair and down in another cancels out."
#: A metric, its value, and where it was measured, as keywords of `measurement`.
Value = tuple[str, float, dict[str, Any]]


def measured(
    question: str, subjects: Sequence[Subject], values: Callable[[Subject], Iterable[Value]]
) -> pd.DataFrame:
    """Return the table of a question from its values of each subject, see `Value`."""
    return tabulate(
        measurement(question, metric, subject.network, value, layer=subject.layer, **where)
        for subject in as_subjects(subjects)
        for metric, value, where in values(subject)
    )


def largest_share(answered: Answered, metric: str, name: Callable[[str], str], control: str = "") -> str:
    """Return the sentence on the largest share, beside that of the controls."""
    shares = of_network(answered, metric)
    names = shares["signal"].where(shares["signal"] != "", shares["units"])
    best = shares.iloc[int(shares["value"].argmax())]
    most = largest(dict(zip(names, shares["value"], strict=True)))
    share = f"{said(best['value'])}{' each' * (len(most) > 1)}"
    share += f" ({between((best['low'], best['high']))})" if np.isfinite(best["low"]) and len(most) == 1 else ""
    beside = controls_of(answered, control) if control else controls_of(answered, metric, signal=best["signal"])
    which = listed([name(str(each)) for each in most])
    have = "have" if len(most) > 1 else "has"
    return f"{which[0].upper()}{which[1:]} {have} the largest share of the mean change, {share}{beside}."


def draw_columns(
    frame: pd.DataFrame,
    metric: str,
    name: Callable[[str], str],
    *,
    thresholds: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of each signal in a column, every network a dot, its controls beside it."""
    shares = only(frame, metric=metric)
    labels = {str(signal): name(str(signal)) for signal in shares["signal"].unique()}
    ax = draw_dots(shares.assign(metric=shares["signal"]), labels, thresholds=thresholds, ax=ax)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_ylabel("share of the change")
    return ax


def draw_ranked(frame: pd.DataFrame, metric: str, label: str) -> Axes:
    """Draw what each unit has of a metric, from the largest value to the smallest: medians over networks."""
    rows = only(frame, metric=metric)
    rows = rows.assign(rank=rows.groupby("network")["value"].rank(method="first", ascending=False))
    ax = draw_role_lines(rows, ax=axes_or_new(None), at="rank")
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    ax.set_xlabel("units, from the largest value to the smallest")
    ax.set_ylabel(label)
    return ax
