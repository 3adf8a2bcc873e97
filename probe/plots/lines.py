"""A picture that several questions share: the median over networks by step, with its interval as a band."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ..evidence.intervals import median_interval


def draw_median_line(frame: pd.DataFrame, *, ax: Axes, color: str, **look: Any) -> None:
    """Draw the median over networks of one metric by step, and its 95 % interval where there are enough.

    Args:
        frame: measurements with one value a network and step.
        ax: where to draw.
        color: of line and band.
        **look: keywords for `Axes.plot`.
    """
    table = frame.pivot(index="network", columns="step", values="value").sort_index(axis=1)
    steps = table.columns.astype(float).tolist()
    ax.plot(steps, table.median().to_numpy(float), color=color, **look)
    bounds = [median_interval(column) for column in table.to_numpy(float).T.tolist()]
    known = [bound for bound in bounds if bound is not None]
    # A band over some of the steps only would look like certainty at the others.
    if known and len(known) == len(steps):
        ax.fill_between(
            steps, [low for low, _ in known], [high for _, high in known], color=color, alpha=0.15, linewidth=0
        )
