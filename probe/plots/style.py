"""The style of every figure: fonts, sizes, one colour and marker for each role, and the scales of colours.

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
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from ..colours import GREY, INK, MEANINGS, PAPER, STEP, VALUE, of_role
from ..errors import ProbeError, unknown

#: The colours of steps, first to last, and of values, low to high, as lines and marks: every colour of both has a
#: contrast of at least 3:1 on white and on the dark page.
STEPS = LinearSegmentedColormap.from_list("steps", MEANINGS[STEP])
VALUES = LinearSegmentedColormap.from_list("values", MEANINGS[VALUE])
#: The colours of cells: values of both signs, white where they are 0; and how much, from 0 to 1, white to black.
SIGNS = LinearSegmentedColormap.from_list("signs", [MEANINGS[VALUE][0], PAPER, MEANINGS[VALUE][-1]])
AMOUNTS = matplotlib.colormaps["Greys"]
#: Points of titles and of the names of axes, and of everything smaller: no letter of a figure is below it.
FONT_SIZE, SMALL = 11.0, 10.0
#: Of more networks than this none is named, and each is a small or thin mark below their median.
MANY = 30
#: Inches that a figure is wide. A phone shows it 560 pixels wide, and a letter of `SMALL` points is then 11 high.
COLUMN_WIDTH = 7.0
#: Inches that a plot of a recording is wide, which is shown in a notebook.
PLOT_WIDTH = 5.6
ROW_HEIGHT = 3.5
#: Pixels an inch of the picture in a notebook, and how many of them a CSS pixel has.
SHOWN_DPI, SHARP = 192, 2


@dataclass(frozen=True)
class RoleStyle:
    """How one thing is drawn, such as a role: colour, line and marker together, so that it reads without colour."""

    color: str
    linestyle: Literal["-", "--", ":", "-."] | tuple[int, tuple[float, ...]]
    marker: Literal["o", "s", "^", "D", "v", "X", "P", "*", "<", ">"]

    def line(self) -> dict[str, Any]:
        """Return the keywords for `Axes.plot` and `seaborn.lineplot`."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


ROLE_STYLE = {
    "trained": RoleStyle(of_role("trained"), "-", "o"),
    "own initialisation": RoleStyle(of_role("own initialisation"), "--", "s"),
    "planted": RoleStyle(of_role("planted"), ":", "^"),
    "fitted head": RoleStyle(of_role("fitted head"), "-.", "D"),
    "ridge head": RoleStyle(of_role("ridge head"), (0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "P"),
    "noise head": RoleStyle(of_role("noise head"), (0, (8.0, 2.0)), "*"),
    "scores head": RoleStyle(of_role("scores head"), (0, (2.0, 2.0)), "<"),
    "scaled head": RoleStyle(of_role("scaled head"), (0, (6.0, 1.0, 1.0, 1.0)), ">"),
    "random weights": RoleStyle(of_role("random weights"), (0, (1.0, 1.5)), "X"),
    "template": RoleStyle(of_role("template"), (0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)), "v"),
}
#: How things that are no roles are told apart: in ink, by line and marker.
IN_INK = (
    RoleStyle(INK, "-", "o"),
    RoleStyle(INK, "--", "s"),
    RoleStyle(INK, ":", "^"),
    RoleStyle(INK, "-.", "D"),
    RoleStyle(INK, (0, (8.0, 2.0)), "v"),
    RoleStyle(INK, (0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "X"),
)


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
    import seaborn as sns  # with scipy's statistics: a process that draws nothing does without

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
        "grid.color": GREY,
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "lines.solid_capstyle": "round",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=[INK]),
        "axes.unicode_minus": True,
        "image.cmap": AMOUNTS.name,
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
        width: inches of the whole figure; on a phone the letters of one wider than 7 are below 11 pixels.
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
    """Return so many colours of a scale, evenly from first to last, as hex texts; a single one is the last."""
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
    """Give the axes of so many panels: the caller's single one as it is styled, or new ones in the project's style.

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
