"""The style of every figure: fonts, sizes, and one colour and marker for each role.

No global setting of matplotlib is touched: a library that restyles its user's own plots is not wanted.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from ..errors import ProbeError, unknown

# Each has a contrast of at least 3:1 on white and on the dark page, which rules out the yellows and sky blue
# of the palettes (Okabe-Ito, petroff10) that these come from.
BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY = "#3f90da", "#e76300", "#009e73", "#c06aa8", "#a96b59", "#7d828c"
RED, OLIVE = "#d6455d", "#7f8a1c"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY)
DIVERGING = "vlag"
SEQUENTIAL = "viridis"
#: The colours of steps, first to last, and those of a concept's values, low to high. Every colour of both has a
#: contrast of at least 3:1 on white and on the dark page, and the first is always lighter than the last.
STEPS = LinearSegmentedColormap.from_list(
    "steps", ["#039fb6", "#0b96c1", "#0a8bd2", "#0f7cf6", "#885ee8", "#bd36bb", "#d10485"]
)
CONCEPTS = LinearSegmentedColormap.from_list(
    "concepts", ["#0da177", "#019f35", "#649101", "#8c8003", "#a76e00", "#c64f02", "#db1a31"]
)
#: Points of titles and of the names of axes, and of everything smaller: no letter of a figure is below it.
FONT_SIZE, SMALL = 11.0, 10.0
#: Of more networks than this none is named, and each is a small or thin mark below their median.
MANY = 30
#: Inches that a figure is wide. On a phone (358 pixels of it) a letter of `SMALL` points is then 11 pixels high.
COLUMN_WIDTH = 4.4
#: Inches that a plot of a recording is wide, which is shown in a notebook.
PLOT_WIDTH = 5.6
ROW_HEIGHT = 3.5
#: Pixels an inch of the picture in a notebook, and how many of them a CSS pixel has.
SHOWN_DPI, SHARP = 192, 2


@dataclass(frozen=True)
class RoleStyle:
    """How one role is drawn: colour, line and marker together, so that it reads without colour."""

    color: str
    linestyle: Literal["-", "--", ":", "-."] | tuple[int, tuple[float, ...]]
    marker: Literal["o", "s", "^", "D", "v", "X", "P", "*"]

    def line(self) -> dict[str, Any]:
        """Return the keywords for `Axes.plot` and `seaborn.lineplot`."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


ROLE_STYLE = {
    "trained": RoleStyle(BLUE, "-", "o"),
    "own initialisation": RoleStyle(ORANGE, "--", "s"),
    "planted": RoleStyle(GREEN, ":", "^"),
    "fitted head": RoleStyle(PURPLE, "-.", "D"),
    "ridge head": RoleStyle(RED, (0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "P"),
    "noise head": RoleStyle(OLIVE, (0, (8.0, 2.0)), "*"),
    "random weights": RoleStyle(BROWN, (0, (1.0, 1.5)), "X"),
    "template": RoleStyle(GREY, (0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)), "v"),
}


def role_style(role: str) -> RoleStyle:
    """Return a role's look.

    Raises:
        ProbeError: there is no such role.
    """
    if role not in ROLE_STYLE:
        raise ProbeError(unknown("role", role, ROLE_STYLE))
    return ROLE_STYLE[role]


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the project's style; matplotlib's settings are as before afterwards.

    Ink is pure black, because black is what the report turns into the page's own text colour.
    """
    settings: dict[Any, Any] = {
        **sns.axes_style("ticks"),
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": FONT_SIZE,
        "axes.titlesize": FONT_SIZE,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": FONT_SIZE,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        # seaborn outlines bars in white, which glares on a dark page.
        "patch.force_edgecolor": False,
        "patch.edgecolor": "black",
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "lines.solid_capstyle": "round",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=list(PALETTE)),
        "axes.unicode_minus": True,
        "image.cmap": SEQUENTIAL,
        "svg.hashsalt": "probe",
        "svg.fonttype": "none",
    }
    ink = (
        "text.color",
        "axes.edgecolor",
        "axes.labelcolor",
        "axes.titlecolor",
        "xtick.color",
        "ytick.color",
    )
    with matplotlib.rc_context({**settings, **dict.fromkeys(ink, "black")}):
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, without pyplot, where it is the last value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the figure as PNG, and how large it is shown in CSS pixels; the figure stays as it was."""
        buffer = io.BytesIO()
        before = self.dpi
        self.savefig(buffer, format="png", dpi=SHOWN_DPI)
        self.set_dpi(before)
        width, height = self.get_size_inches() * SHOWN_DPI / SHARP
        return buffer.getvalue(), {"width": round(width), "height": round(height)}


class ShownAxes(Axes):
    """Axes that a notebook shows by themselves, as the figure that they stand in."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Return the figure as PNG and its size, or None where somebody moved the axes to another figure."""
        figure = self.get_figure()
        return figure._repr_png_() if isinstance(figure, ShownFigure) else None


def new_figure(
    columns: int = 1,
    rows: int = 1,
    *,
    width: float | int = COLUMN_WIDTH,
    height: float | int = ROW_HEIGHT,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, without pyplot, which would keep every figure alive.

    A notebook shows the figure where a cell ends with it or with one of its axes.

    Args:
        columns: axes side by side.
        rows: axes one above the other.
        width: inches of the whole figure; on a phone the letters of one wider than 4.5 are below 11 pixels.
        height: inches of one row.
        sharex: whether all axes share their x axis.
        sharey: whether all axes share their y axis.

    Returns:
        The figure, and its axes as an array of shape (rows, columns).

    Raises:
        ProbeError: a count or a size is not positive.
    """
    if columns < 1 or rows < 1 or width <= 0 or height <= 0:
        raise ProbeError(
            f"A figure needs at least one column and row and a positive size; {columns} columns, {rows} rows, "
            f"{width} x {height} inches were asked for."
        )
    figure = ShownFigure(figsize=(width, height * rows), layout="constrained")
    kind = {"axes_class": ShownAxes}
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey, subplot_kw=kind)
    return figure, axes


def axes_or_new(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure: the first line of every `plot_x(data, *, ax=None)`."""
    if ax is not None:
        return ax
    _, axes = new_figure()
    return axes[0, 0]


def colours(count: int, scale: LinearSegmentedColormap) -> list[str]:
    """Return so many colours of a scale, evenly from its first to its last, as hex texts.

    Args:
        count: how many; a single one is the last colour.
        scale: `STEPS` or `CONCEPTS`.
    """
    return [to_hex(scale(place)) for place in (np.linspace(0, 1, count) if count > 1 else [1.0])]


@contextlib.contextmanager
def panels(
    count: int,
    *,
    ax: Axes | None,
    columns: int = 1,
    width: float | int = PLOT_WIDTH,
    height: float | int = ROW_HEIGHT,
    sharex: bool = False,
    sharey: bool = False,
) -> Iterator[Sequence[Axes]]:
    """Give the axes of so many panels: those of the caller as they are styled, or new ones in the project's style.

    Args:
        count: how many panels.
        ax: the caller's, for a single panel; None for new ones.
        columns: of new panels, how many stand side by side.
        width: inches of a new figure.
        height: inches of one row of it.
        sharex: whether new panels share their x axis.
        sharey: whether new panels share their y axis.

    Raises:
        ProbeError: axes were given, and there are several panels.
    """
    if ax is not None:
        if count != 1:
            raise ProbeError(
                f"ax= holds one panel, and {count} panels were asked for. Ask for a single one, such as one unit or "
                "one signal, or leave ax= out."
            )
        yield [ax]
        return
    across = min(columns, count)
    # Names that somebody gave are texts as they stand, `$` included.
    plain: dict[Any, Any] = {"text.parse_math": False}
    with style(), matplotlib.rc_context(plain):
        _, axes = new_figure(across, -(-count // across), width=width, height=height, sharex=sharex, sharey=sharey)
        for spare in axes.ravel()[count:]:
            spare.remove()
        for one in axes.ravel()[:count]:
            # Ticks are made when a figure is drawn, which is after the style has ended.
            one.tick_params(labelsize=SMALL, color="black", labelcolor="black")
        yield list(axes.ravel()[:count])


def drawn(axes: Sequence[Axes]) -> Axes | Figure:
    """Return what a plot returns: the axes of a single panel, or the figure of several."""
    figure = axes[0].get_figure()
    return figure if len(axes) > 1 and isinstance(figure, Figure) else axes[0]
