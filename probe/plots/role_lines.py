"""A picture that several questions share: one line for each role, trained networks beside their controls."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ..evidence.measurements import role_name
from .lines import draw_median_line
from .style import ROLE_STYLE


def draw_subjects(frame: pd.DataFrame, *, ax: Axes, at: str) -> Axes:
    """Draw one metric along a column: medians over networks with their interval, planted networks one by one.

    Planted networks are not draws of one recipe, so that a median over them would mean nothing.

    Args:
        frame: measurements with one value for each network and place.
        ax: where to draw.
        at: the column that the places stand in, such as `step`.
    """
    for subject, look in ROLE_STYLE.items():
        rows = frame[frame["subject"] == subject]
        rows = rows.assign(step=rows[at])
        groups = [rows] if subject != "planted" else [own for _, own in rows.groupby("network", sort=True)]
        for number, own in enumerate(groups):
            if not own.empty:
                label = role_name(subject) if number == 0 else "_"
                width, size = (1.0, 3.5) if subject == "planted" else (2.0, 4.5)
                draw_median_line(own, ax=ax, label=label, linewidth=width, markersize=size, **look.line())
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0, columnspacing=1.2)
    return ax
