"""The words and pictures that questions about gates, routes and units share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.measurements import only
from ...evidence.words import said
from ...plots.networks import draw_dots
from ...subjects.ends import ends_of
from ...subjects.pairs import InputPairs, input_pairs, usual_steps
from ...subjects.subject import Subject
from .patching import draw_lines

#: Changes cancel where their mean is a smaller part of their mean size, or so few standard errors away from 0.
LEFT, ERRORS = 0.1, 3


def add_up(subject: Subject) -> str | None:
    """Changes of the answer by an input that do not cancel."""
    base, source = input_pairs(subject, *usual_steps(subject)).pairs
    expected = ends_of(subject).machine.clean.answers.expected.numpy()
    changes = expected[source] - expected[base]
    size, mean = float(np.abs(changes).mean()), abs(float(changes.mean()))
    if mean >= max(LEFT * size, ERRORS * float(changes.std()) / len(changes) ** 0.5):
        return None
    return f"an input moves the answers by {said(size)}, up or down, and by {said(mean)} on average"


def setup_of(subject: Subject, pairs: Iterable[InputPairs], how: str) -> str:
    """Return how shares of a network were measured, and what shares that are pooled over pairs do not see."""
    count = sum(len(each.pairs[0]) for each in pairs)
    return (
        f"We ran {ends_of(subject).said}. {how} We used {several(count, 'pair')}. Shares are of the mean change: "
        "what moves the answer up in one pair and down in another cancels out."
    )


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
    rows = shares.assign(metric=shares["signal"])
    return draw_dots(rows, labels, value="share of the change", zero=True, thresholds=thresholds, ax=ax)


def draw_ranked(frame: pd.DataFrame, metric: str, label: str) -> Axes:
    """Draw what each unit has of a metric, from the largest value to the smallest: medians over networks."""
    rows = only(frame, metric=metric)
    rows = rows.assign(rank=rows.groupby("network")["value"].rank(method="first", ascending=False))
    ax = draw_lines(rows, at="rank", x="units, from the largest value to the smallest", y=label)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0)
    return ax
