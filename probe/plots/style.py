"""The style of every figure: fonts, sizes, one colour and marker for each role, and the scales of colours.

No global setting of matplotlib is touched, and in the plots of recordings and tables those hold that somebody set.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

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
#: Inches that a figure is wide. A phone shows it 560 pixels wide, and a letter of `SMALL` points is then 11 high.
COLUMN_WIDTH = 7.0
#: Inches that a plot of a recording is wide, which is shown in a notebook; and of several panels, which fit a page.
PLOT_WIDTH, WIDEST, TALLEST = 5.6, 7.0, 9.0
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
        """Return the keywords for `Axes.plot`."""
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


#: The look of the project. Ink is pure black, because black is what the report turns into the page's own text colour.
_LOOK: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.axisbelow": True,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[INK]),
    "grid.color": GREY,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "probe",
    "svg.fonttype": "none",
}
_SIZES: dict[Any, Any] = {
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
}
_LINES: dict[Any, Any] = {"lines.linewidth": 2.0, "lines.markersize": 6.0}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the project's style, whatever the reader set: a page has the same bytes everywhere.

    Matplotlib's settings are as before afterwards.
    """
    with matplotlib.style.context("default"), matplotlib.rc_context({**_LOOK, **_SIZES, **_LINES}):
        yield


def is_set(key: Any) -> bool:
    """Whether one of matplotlib's settings is another than its default: by the reader, by a style sheet, or by us."""
    return matplotlib.rcParams[key] != matplotlib.rcParamsDefault[key]


def unless_set(key: Any, value: Any) -> Any:
    """Return a value, or what one of matplotlib's settings is set to in place of its default."""
    return matplotlib.rcParams[key] if is_set(key) else value


def lines_unless_set(width: float, size: float) -> dict[str, Any]:
    """Return how wide lines are and how large their marks, where nobody set it."""
    return {
        "linewidth": unless_set("lines.linewidth", width),
        "markersize": unless_set("lines.markersize", size),
    }


def inks(count: int) -> list[str]:
    """Return the colours of so many lines that mean nothing else: ink, or those of a cycle that somebody set."""
    return [to_hex(f"C{place}" if is_set("axes.prop_cycle") else INK) for place in range(count)]


@contextlib.contextmanager
def readers_style() -> Iterator[None]:
    """Draw in the project's style as far as the reader left matplotlib's settings at their defaults."""
    # Letters of a size that somebody chose are as large as that in all places.
    own = _LOOK if is_set("font.size") else {**_LOOK, **_SIZES}
    # Names that somebody gave are texts as they stand, `$` included.
    kept: dict[Any, Any] = {key: value for key, value in own.items() if not is_set(key)}
    with matplotlib.rc_context({**kept, "text.parse_math": False}):
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, without pyplot, where it is the last value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the figure as PNG, and how large it is shown in CSS pixels; the figure stays as it was."""
        buffer = io.BytesIO()
        before = self.dpi
        own = before == matplotlib.rcParamsDefault["figure.dpi"]
        dpi = SHOWN_DPI if own else SHARP * before
        self.savefig(buffer, format="png", dpi=dpi)
        self.set_dpi(before)
        width, height = self.get_size_inches() * dpi / SHARP
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


def points(key: Any) -> float:
    """Return the points of letters of one of matplotlib's settings, which may be a word."""
    return FontProperties(size=matplotlib.rcParams[key]).get_size_in_points()


def ours(ax: Axes) -> bool:
    """Whether axes stand in a figure that was made here, which makes room beside them; in others nothing may."""
    return isinstance(ax.get_figure(root=True), ShownFigure)


def colours(count: int, scale: Colormap) -> list[str]:
    """Return so many colours of a scale, evenly from first to last, as hex texts; a single one is the last."""
    return [to_hex(scale(place)) for place in (np.linspace(0, 1, count) if count > 1 else [1.0])]


def colour_map(given: Any, own: Colormap) -> Colormap:
    """Return a colour map that was given, by its name or as it is, or our own where none was.

    Raises:
        ProbeError: there is none of that name.
    """
    if given is None or isinstance(given, Colormap):
        return own if given is None else given
    if not isinstance(given, str) or given not in matplotlib.colormaps:
        raise ProbeError(
            f"cmap={given!r} is no colour map. Give a name of matplotlib.colormaps, such as 'viridis' or 'coolwarm', "
            "or a Colormap."
        )
    return matplotlib.colormaps[given]


def _check_axes(ax: Any, count: int, size: Any) -> None:
    """Refuse what is no single panel of the caller's, and a size beside it."""
    if not isinstance(ax, Axes) or ax.name == "3d":
        kind = "three-dimensional axes" if isinstance(ax, Axes) else f"a {type(ax).__name__}"
        raise ProbeError(
            f"ax= takes one panel of matplotlib, not {kind}. Give one of the axes that plt.subplots returns, or "
            "leave ax= out."
        )
    if count != 1:
        raise ProbeError(
            f"ax= holds one panel, and {count} panels were asked for. Ask for a single one, such as one unit or one "
            "signal, or leave ax= out."
        )
    if size is not None:
        raise ProbeError(f"ax= stands in a figure that has a size, and size={size!r} was asked for. Give one.")


@contextlib.contextmanager
def panels(
    count: int,
    *,
    ax: Axes | None,
    size: Any = None,
    title: str | None = None,
    columns: int = 1,
    width: float | int = PLOT_WIDTH,
    height: float | int = ROW_HEIGHT,
    sharex: bool = False,
    sharey: bool = False,
) -> Iterator[Sequence[Axes]]:
    """Give the axes of so many panels: the caller's single one as it is styled, or new ones in the reader's style.

    Args:
        count: of panels.
        ax: the caller's.
        size: inches of the whole figure, (width, height), or None.
        title: of the panel, or of all panels, in place of what the plot writes there.
        columns: panels side by side, at the most.
        width: inches of the whole figure where no size is given or set, at most `WIDEST`.
        height: inches of one row, of rows that are together at most `TALLEST` high.
        sharex: whether all panels share their x axis.
        sharey: whether all panels share their y axis.

    Raises:
        ProbeError: axes were given, and there are several panels or a size; or the size is none.
    """
    if ax is not None:
        _check_axes(ax, count, size)
        yield [ax]
        _entitle([ax], title)
        return
    across = min(columns, count)
    down = -(-count // across)
    own = unless_set("figure.figsize", (min(width, WIDEST), min(height * down, TALLEST)))
    wide, tall = own if size is None else _inches(size)
    with readers_style():
        _, axes = new_figure(across, down, width=wide, height=tall / down, sharex=sharex, sharey=sharey)
        for spare in axes.ravel()[count:]:
            spare.remove()
        kept = list(axes.ravel()[:count])
        for lowest in kept[-across:]:
            lowest.tick_params(labelbottom=True)
        for one, side in itertools.product(kept, "xy"):
            # How many ticks have room is asked when a figure is drawn, which is after the style has ended.
            one.tick_params(side, labelsize=points(f"{side}tick.labelsize"))
        yield kept
        _entitle(kept, title)
        for axis in (one for each in kept[0].figure.axes for one in (each.xaxis, each.yaxis)):
            # So is how a tick looks.
            _ = axis.get_major_ticks(), axis.get_minor_ticks()


def _inches(size: Any) -> tuple[float, float]:
    try:
        width, height = (float(side) for side in size)
    except (TypeError, ValueError):
        width, height = 0.0, 0.0
    if not (0 < width < np.inf and 0 < height < np.inf):
        raise ProbeError(f"size={size!r} is no size. Give the inches of width and height, such as size=(7, 4).")
    return width, height


def _entitle(axes: Sequence[Axes], title: str | None) -> None:
    if title is not None and len(axes) == 1:
        _ = axes[0].set_title(title, parse_math=False)
    elif title is not None:
        _ = axes[0].figure.suptitle(title)


def drawn(axes: Sequence[Axes], *, whole: bool = False) -> Axes | Figure:
    """Return what a plot returns: the axes of a single panel, or the figure of several.

    Args:
        axes: the panels.
        whole: whether it is the figure also of a single one.
    """
    figure = axes[0].get_figure()
    return figure if (whole or len(axes) > 1) and isinstance(figure, Figure) else axes[0]
