"""Legends: outside of our axes, with as many names side by side as the figure is wide, and inside of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from .style import ours

#: The part of a figure that a legend above its axes may take: what is left stands beside the axes.
BESIDE = 0.86
#: The part of axes that a legend inside of them may take: their edges and what a layout takes of them are the rest.
_FREE = 0.85
#: Inches that a letter is wide, and a key with the room around it.
_LETTER, _KEY = 0.09, 0.6
#: Little room around signs and names, so that more of them fit on a line.
_CLOSE: dict[str, Any] = {"columnspacing": 1.2, "handletextpad": 0.5, "handlelength": 2.2}


def legend_above(ax: Axes, *, most: int = 3) -> Legend | None:
    """Name what axes show above them, at most so many names side by side; return the legend, or None without names.

    Its right end is that of the axes, so that it may reach over the numbers of the y axis. In axes of the caller,
    whose figure makes no room above them, it stands inside.
    """
    handles, names = ax.get_legend_handles_labels()
    figure = ax.get_figure()
    if not names or figure is None:
        return None
    if not ours(ax):
        return legend_inside(ax, handles, names)
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


def legend_inside(
    ax: Axes, handles: Sequence[Artist], names: Sequence[str], *, title: str = "", most: int = 12
) -> Legend | None:
    """Name inside of axes what they show, at most so much and as much as there is room for; cut long names.

    It returns the legend, or None in axes that are too small for any.
    """
    width, height = _FREE * ax.bbox.width, _FREE * ax.bbox.height
    letters = max(int((width / ax.figure.dpi - _KEY) / _LETTER), 4)
    short = [shorten_to(name, letters) for name in names]
    for every in range(-(-len(names) // most), len(names) + 1):
        legend = ax.legend(handles[::every], short[::every], title=fill(title, letters) or None, **_CLOSE)
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)
        box = legend.get_window_extent()
        if box.width <= width and box.height <= height:
            return legend
        legend.remove()
    return None


def shorten_to(name: str, letters: int) -> str:
    """Return a name of at most so many letters."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


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
