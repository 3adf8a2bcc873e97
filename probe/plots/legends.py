"""Legends outside of the axes, with as many names side by side as the figure is wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

#: The part of a figure that a legend above its axes may take: what is left stands beside the axes.
BESIDE = 0.86
#: Little room around signs and names, so that more of them fit on a line.
_CLOSE: dict[str, Any] = {"columnspacing": 1.2, "handletextpad": 0.5, "handlelength": 2.2}


def legend_above(ax: Axes, *, most: int = 3) -> Legend | None:
    """Name what axes show above them, at most so many names side by side; return the legend, or None without names.

    Its right end is that of the axes, so that it may reach over the numbers of the y axis.
    """
    handles, names = ax.get_legend_handles_labels()
    figure = ax.get_figure()
    if not names or figure is None:
        return None
    spec = ax.get_subplotspec()
    room = BESIDE * figure.bbox.width / (spec.get_gridspec().ncols if spec is not None else 1)

    def made(columns: int) -> Legend:
        place: dict[str, Any] = {
            "loc": "lower right",
            "bbox_to_anchor": (1.0, 1.0),
            "borderaxespad": 0.2,
            "borderpad": 0.1,
        }
        return ax.legend(handles, names, ncols=columns, **place, **_CLOSE)

    return _fitting(made, min(most, len(names)), room)


def figure_legend(
    figure: Figure,
    handles: Sequence[Artist],
    names: Sequence[str],
    *,
    most: int = 4,
    where: Literal["upper", "lower"] = "upper",
) -> Legend:
    """Name above or below a figure's axes what all of them show, at most so many names side by side."""

    def made(columns: int) -> Legend:
        for old in list(figure.legends):
            old.remove()
        place: dict[str, Any] = {"loc": f"outside {where} center"}
        return figure.legend(handles, names, ncols=columns, **place, **_CLOSE)

    return _fitting(made, min(most, len(names)), figure.bbox.width)


def _fitting(made: Callable[[int], Legend], most: int, room: float) -> Legend:
    """Return the legend of the most columns, from `most` down to one, that is not wider than there is room."""
    for columns in range(most, 1, -1):
        legend = made(columns)
        if legend.get_window_extent().width <= room:
            return legend
    return made(1)
