"""A picture that several questions share: one dot for each network, the controls beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..evidence.intervals import median_interval
from ..evidence.measurements import role_name
from .style import ROLE_STYLE, axes_or_new


def draw_dots(
    frame: pd.DataFrame,
    metrics: Mapping[str, str],
    *,
    thresholds: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw metrics side by side, a dot a network, the median and its 95 % interval as a bar behind the dots.

    Args:
        frame: measurements with one value a network for each metric.
        metrics: metric -> its label on the axis.
        thresholds: metric -> the bound that a rule sets, drawn as a line across its column.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    subjects = [subject for subject in ROLE_STYLE if (frame["subject"] == subject).any()]
    width = 0.8 / max(len(subjects), 1)
    for place, subject in enumerate(subjects):
        look = ROLE_STYLE[subject]
        for column, metric in enumerate(metrics):
            rows = frame[(frame["metric"] == metric) & (frame["subject"] == subject)]
            values = rows.sort_values("network")["value"].to_numpy(float)
            centre = column + (place - (len(subjects) - 1) / 2) * width
            interval = median_interval(values)
            if interval is not None:
                ax.plot([centre] * 2, interval, color=look.color, linewidth=7, alpha=0.3, solid_capstyle="butt")
            spread = np.linspace(-width / 4, width / 4, len(values)) if len(values) > 1 else np.zeros(1)
            ax.plot(
                centre + spread[: len(values)],
                values,
                look.marker,
                color=look.color,
                markersize=4.5,
                alpha=0.9,
                label=role_name(subject) if column == 0 else None,
            )
    for column, metric in enumerate(metrics):
        if thresholds and metric in thresholds:
            ax.plot([column - 0.45, column + 0.45], [thresholds[metric]] * 2, color="black", linewidth=1)
    ax.set_xticks(range(len(metrics)), list(metrics.values()))
    ax.set_xlim(-0.5, len(metrics) - 0.5)
    # Above the axes and at most three abreast: six subjects in one row are wider than a column.
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(max(len(subjects), 1), 3), borderaxespad=0.2)
    return ax
