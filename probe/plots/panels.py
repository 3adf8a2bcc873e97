"""The panels of a plot: those of a new figure, or the caller's own; and the table that a plot drew."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure

from ..errors import ProbeError, several
from .style import (
    PLOT_WIDTH,
    ROW_HEIGHT,
    TALLEST,
    WIDEST,
    ShownAxes,
    ShownFigure,
    larger,
    points,
    readers_style,
    unless_set,
)

#: How wide a bold letter is on average, in parts of its height.
BOLD = 0.66
#: What each plot drew, by the axes or the figure that it returned.
_TABLES: WeakKeyDictionary[Axes | FigureBase, pd.DataFrame] = WeakKeyDictionary()


def table(drawn: Any) -> pd.DataFrame:
    """Return the tidy table that a plot drew, to draw it in another way or to save it.

    Args:
        drawn: what the plot returned, axes or a figure, or one of its panels; the last of several plots counts.

    Returns:
        A row for each value. Steps are counted from 0, as in `Recording.to_frame`; pictures count from 1.

    Raises:
        ProbeError: no plot of this package returned it.
    """
    found = _TABLES.get(drawn) if isinstance(drawn, (Axes, FigureBase)) else None
    if found is None:
        raise ProbeError(
            f"A {type(drawn).__name__} was given, which no plot of probe.plots returned. Give what a plot returns: "
            "its axes or its figure."
        )
    return found.copy()


@contextlib.contextmanager
def panels(
    count: int,
    *,
    ax: Any,
    figsize: Any = None,
    title: str | None = None,
    columns: int = 1,
    width: float | int = PLOT_WIDTH,
    height: float | int = ROW_HEIGHT,
    sharex: bool = False,
    sharey: bool = False,
) -> Iterator[Sequence[Axes]]:
    """Give the axes of so many panels: the caller's own as they are styled, or new ones in the reader's style.

    A new figure is pyplot's current one.

    Args:
        count: of panels.
        ax: the caller's: axes, a list of them, or a figure or part of one that is filled; or None.
        figsize: inches of the whole figure, (width, height), or None.
        title: of the panel, or of all panels, in place of what the plot writes there.
        columns: panels side by side, at the most.
        width: inches of the whole figure where no size is given or set, at most `WIDEST`.
        height: inches of one row, of rows that are together at most `TALLEST` high.
        sharex: whether all panels share their x axis.
        sharey: whether all panels share their y axis.

    Raises:
        ProbeError: axes were given that are no panels, more or fewer, or beside a size; or the size is none.
    """
    # Larger letters leave room for fewer panels side by side.
    across = min(count, max(min(columns, 2), round(columns / larger())))
    down = -(-count // across)
    if ax is not None and figsize is not None:
        raise ProbeError(f"ax= stands in a figure that has a size, and figsize={figsize!r} was asked for. Give one.")
    if ax is not None and not isinstance(ax, FigureBase):
        own = _own(ax, count)
        yield own
        if title is not None and count > 1:
            raise ProbeError("title= stands above all panels, where your axes have no room. Use figure.suptitle().")
        _entitle(own, title)
        return
    # pyplot chooses its backend with the first figure, which a style around it would undo in part.
    figure: Any = _new(across, down, figsize, width, height) if ax is None else ax
    with readers_style():
        made = _filled(figure, across, down, sharex=sharex, sharey=sharey)
        for spare in made.ravel()[count:]:
            spare.remove()
        kept = list(made.ravel()[:count])
        for lowest in kept[-across:]:
            lowest.tick_params(labelbottom=True)
        for one, side in itertools.product(kept, "xy"):
            # How many ticks have room is asked when a figure is drawn, which is after the style has ended.
            one.tick_params(side, labelsize=points(f"{side}tick.labelsize"))
        yield kept
        _entitle(kept, title)
        _break_titles(kept, across)
        for axis in (one for each in figure.axes for one in (each.xaxis, each.yaxis)):
            # So is how a tick looks.
            _ = axis.get_major_ticks(), axis.get_minor_ticks()


def _own(ax: Any, count: int) -> list[Axes]:
    """Return the caller's panels, which are as many as are drawn."""
    given = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
    for one in given:
        if not isinstance(one, Axes) or one.name != "rectilinear":
            kind = f"axes of the kind {one.name!r}" if isinstance(one, Axes) else f"a {type(one).__name__}"
            raise ProbeError(
                f"ax= takes panels of matplotlib, not {kind}. Give axes that plt.subplots returns, a list of them, a "
                "SubFigure, or leave ax= out."
            )
    if len(set(map(id, given))) < len(given):
        raise ProbeError("ax= holds the same axes twice; each panel needs axes of its own.")
    if len(given) != count:
        raise ProbeError(
            f"ax= holds {several(len(given), 'panel')}, and {count} were asked for. Give as many axes, a SubFigure, "
            "ask for other units or signals, or leave ax= out."
        )
    return given


def _new(across: int, down: int, figsize: Any, width: float, height: float) -> ShownFigure:
    """Return a new figure of pyplot's, of the size that was given, or that is set, or that fits a page."""
    # It loads what shows windows, which `import probe.plots` need not.
    import matplotlib.pyplot as plt

    more = larger()
    own = unless_set("figure.figsize", (min(more * width, WIDEST), min(more * height * down, TALLEST)))
    size = own if figsize is None else _inches(figsize)
    return plt.figure(FigureClass=ShownFigure, figsize=size, layout="constrained")  # pyright: ignore[reportReturnType]


def _filled(figure: FigureBase, across: int, down: int, *, sharex: bool, sharey: bool) -> np.ndarray:
    kind = {"axes_class": ShownAxes}
    return figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey, subplot_kw=kind)


def _inches(figsize: Any) -> tuple[float, float]:
    try:
        width, height = (float(side) for side in figsize)
    except (TypeError, ValueError):
        width, height = 0.0, 0.0
    if not (0 < width < np.inf and 0 < height < np.inf):
        raise ProbeError(
            f"figsize={figsize!r} is no size. Give the inches of width and height, such as figsize=(7, 4)."
        )
    return width, height


def _entitle(axes: Sequence[Axes], title: str | None) -> None:
    if title is not None and len(axes) == 1:
        _ = axes[0].set_title(title, parse_math=False)
    elif title is not None:
        _ = axes[0].figure.suptitle(title)


def _break_titles(axes: Sequence[Axes], across: int) -> None:
    """Break the titles above panels, and above all of them, into as many lines as they need."""
    figure: Any = axes[0].figure
    loc: Any = matplotlib.rcParams["axes.titlelocation"]
    inches = figure.bbox.width / figure.dpi
    letter = BOLD * points("axes.titlesize") / 72
    longest = max(len(line) for ax in axes for line in ax.get_title(loc).split("\n"))
    if across == 1 and longest * letter > inches / 2:
        # Where a panel begins depends on the names beside it.
        axes[0].get_figure(root=True).draw_without_rendering()  # pyright: ignore[reportOptionalMemberAccess]
    for ax in axes:
        lines = ax.get_title(loc).split("\n")
        # What stands beside a panel takes a part of its column.
        begins = (ax.bbox.x0 - figure.bbox.x0) / figure.dpi if across == 1 else 0.8
        room = (inches / across - begins) / letter
        _ = ax.set_title("\n".join(fill(line, max(int(room), 8)) for line in lines), loc=loc, parse_math=False)
    above = figure.get_suptitle()
    if above:
        room = inches / (BOLD * points("figure.titlesize") / 72)
        _ = figure.suptitle(fill(above, max(int(room), 8)))


def drawn(axes: Sequence[Axes], shown: pd.DataFrame, *, whole: bool = False) -> Any:
    """Return what a plot returns, the axes of a single panel or the figure of several, and keep its table.

    Args:
        axes: the panels.
        shown: the tidy table that they show.
        whole: whether it is the figure also of a single one.
    """
    figure = axes[0].get_figure()
    found = figure if (whole or len(axes) > 1) and isinstance(figure, (Figure, SubFigure)) else axes[0]
    if "unit" in shown and shown["unit"].astype(str).str.isdigit().all():
        shown = shown.astype({"unit": int})
    for one in (found, *axes):
        _TABLES[one] = shown
    return found
