"""The style of every figure: fonts, sizes, one colour and marker for each role, and the scales of colours.

No global setting of matplotlib is touched, and in the plots of recordings and tables those hold that somebody set.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
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
from ..errors import ProbeError, several, unknown

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
#: Inches of the two pictures that stand beside each other at the top of a page, and how high the second is.
FRONT_WIDTH, NARROW, NARROW_HEIGHT = 6.2, 4.0, 3.4
#: Pixels an inch of the picture in a notebook, and how many of them a CSS pixel has.
SHOWN_DPI, SHARP = 192, 2
#: The ways of pyplot to draw that open no window.
WITHOUT_WINDOWS = ("agg", "inline", "module://matplotlib_inline.backend_inline")


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
    "axes.formatter.limits": [-5, 5],
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


def set_map() -> str | None:
    """Return the colour map that the reader set for images, or None.

    seaborn's themes set "rocket" for all of them: it has no middle for 0, and nobody chose it.
    """
    found = unless_set("image.cmap", None)
    return None if found == "rocket" else found


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
    """A figure that a notebook shows where it is the last value of a cell: sharp, and once."""

    def tight_layout(self, *_: Any, **__: Any) -> None:
        """Change nothing: the constrained layout of the figure makes room by itself, and scales allow no other."""

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

    def _ipython_display_(self) -> None:
        """Show the figure, unless it has a window; pyplot, which would show it again after the cell, lets it go."""
        import matplotlib.pyplot as plt
        from IPython.display import display

        open_one = getattr(self, "number", None) in plt.get_fignums()
        if open_one and plt.get_backend().lower() not in WITHOUT_WINDOWS:
            return
        picture, size = self._repr_png_()
        plain = {"image/png": picture, "text/plain": repr(self)}
        display(plain, raw=True, metadata={"image/png": size})
        plt.close(self)


class ShownAxes(Axes):
    """Axes that a notebook shows by themselves, as the figure that they stand in."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Return the figure as PNG and its size, or None where it is not one of ours."""
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, ShownFigure) else None

    def _ipython_display_(self) -> None:
        """Show the figure.

        Raises:
            NotImplementedError: it is not one of ours, and IPython shows the axes as it shows others.
        """
        figure = self.get_figure(root=True)
        if not isinstance(figure, ShownFigure):
            raise NotImplementedError
        figure._ipython_display_()


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


def larger() -> float:
    """Return how many times as large as ours the letters of a plot are, by what the reader set; at least 1."""
    with readers_style():
        return max(1.0, *(points(key) / own for key, own in _SIZES.items()))


def ours(ax: Axes) -> bool:
    """Whether axes stand in a figure that was made here, which makes room beside them; in others nothing may."""
    return isinstance(ax.get_figure(root=True), ShownFigure)


def colours(count: int, scale: Colormap) -> list[str]:
    """Return so many colours of a scale, evenly from first to last, as hex texts; a single one is the last."""
    return [to_hex(scale(place)) for place in (np.linspace(0, 1, count) if count > 1 else [1.0])]


def name_colours(count: int) -> list[str]:
    """Return so many colours for names, which have no order: hues of one lightness, as hex texts."""
    # It takes a second to load, and few who import this draw names.
    import seaborn as sns

    return sns.husl_palette(count, h=0.04, s=0.9, l=0.55).as_hex() if count else []


def palette_colours(palette: Any, labels: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return a colour for each of some names, as hex texts: by a palette as seaborn takes it, or our own.

    Args:
        palette: a name of a palette or a colour map, a Colormap, colours, or a colour for each name; or None.
        labels: the names.
        own: our own colours.

    Raises:
        ProbeError: it is none of these, or lacks a colour.
    """
    if palette is None:
        return list(own)
    wanted = (
        "Give a name of a palette or a colour map, such as 'colorblind' or 'viridis', a Colormap, a list of colours, "
        "or a dict with a colour for each value."
    )
    try:
        if isinstance(palette, Colormap) or (isinstance(palette, str) and palette in matplotlib.colormaps):
            return colours(len(labels), palette if isinstance(palette, Colormap) else matplotlib.colormaps[palette])
        if isinstance(palette, str):
            import seaborn as sns

            return [to_hex(one) for one in sns.color_palette(palette, len(labels))]
        if isinstance(palette, Mapping):
            of = {name: one for key, one in palette.items() for name in _written(key)}
            return [to_hex(of[label]) for label in labels]
        given = [to_hex(one) for one in palette]
    except KeyError as error:
        raise ProbeError(f"palette= has no colour for {error}, one of {', '.join(labels)}.") from None
    except (TypeError, ValueError):
        raise ProbeError(f"palette={palette!r} is no palette. {wanted}") from None
    if len(given) < len(labels):
        raise ProbeError(
            f"palette= holds {several(len(given), 'colour')}, and {len(labels)} values are drawn. {wanted}"
        )
    return given[: len(labels)]


def _written(key: Any) -> list[str]:
    """Return how a value may be written as the name of a line: a number with more digits or fewer."""
    number = isinstance(key, (int, float)) and not isinstance(key, bool)
    return [str(key), *(f"{float(key):.{digits}g}" for digits in range(6, 18) if number)]


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
