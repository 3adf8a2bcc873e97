"""Names of lines: legends outside of our axes and inside of the caller's, labels beside lines, a scale of colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from .style import ROW_HEIGHT, SMALL, larger, ours, points

#: The part of a figure that a legend above its axes may take: what is left stands beside the axes.
BESIDE = 0.86
#: The part of axes that a legend inside of them may take: their edges and what a layout takes of them are the rest.
_FREE = 0.85
#: Inches that a letter is wide, and a key with the room around it.
_LETTER, _KEY = 0.09, 0.6
#: Little room around signs and names, so that more fit on a line; and a dot is as high beside its name as a line.
_CLOSE: dict[str, Any] = {"columnspacing": 1.2, "handletextpad": 0.5, "handlelength": 2.2, "scatteryoffsets": [0.5]}
#: So many lines are named beside a panel; of more, and in several panels, a scale says what the colours mean.
NAMED = 12
#: At most so many lines are drawn in a panel.
LINES = 32
#: So many names of a scale stand in a legend inside of axes, which covers some of them.
_KEYS = 6
#: How lines of names are told apart beside their colours.
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")
#: A longer name beside a panel is cut, of letters as large as ours.
_LONGEST = 24
#: With letters so many times as large as ours the names of bins take two lines.
_WRAPPED = 1.3


def entries(*axes: Axes) -> tuple[list[Artist], list[str]]:
    """Return what axes show, each name once, and its names."""
    found = {
        name: one for ax in axes for one, name in zip(*ax.get_legend_handles_labels(), strict=True) if name.strip()
    }
    return list(found.values()), list(found)


def legend_above(ax: Axes, *, most: int = 3) -> Legend | None:
    """Name what axes show above them, at most so many names side by side; return the legend, or None without names.

    Its right end is that of the axes, so that it may reach over the numbers of the y axis. In axes of the caller,
    whose figure makes no room above them, it stands inside.
    """
    handles, names = entries(ax)
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
    """Return a name of at most so many letters: its beginning and its end, by which long names differ most."""
    if len(name) <= letters:
        return name
    return f"{name[: (letters - 1) // 2]}…{name[len(name) - letters // 2 :]}"


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


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of `count` places, the first and the last among them, evenly between."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


@dataclass(frozen=True)
class Key:
    """What lines mean.

    Attributes:
        labels: what each is called; a single one that stands for all has an empty text.
        colours: the colour of each, as a hex text.
        title: what they are called together.
        names: whether the labels are names, which have no order.
        alike: whether all have the same marker.
        places: of some of the lines, where they stand among all, by which their markers go.
    """

    labels: Sequence[str]
    colours: Sequence[str]
    title: str = ""
    names: bool = False
    alike: bool = False
    places: Sequence[int] | None = None

    @property
    def markers(self) -> list[str]:
        """The marker of each line: names differ by it, too."""
        plain, places = self.alike or not self.names, self.places or range(len(self.labels))
        return ["o" if plain else MARKERS[place % len(MARKERS)] for place in places]

    @property
    def height(self) -> float:
        """Inches of a panel beside which all names have room; numbers have a scale."""
        return max(ROW_HEIGHT, 0.7 + 0.21 * len(self.labels)) if self.names else ROW_HEIGHT

    def only(self, places: Sequence[int] | np.ndarray) -> Key:
        """Return the key of some of the lines."""
        labels, paint = [self.labels[place] for place in places], [self.colours[place] for place in places]
        own = self.places or range(len(self.labels))
        return Key(labels, paint, self.title, self.names, self.alike, [own[place] for place in places])

    def handles(self) -> list[Line2D]:
        """Return a mark for each line."""
        both = zip(self.colours, self.markers, strict=True)
        return [Line2D([], [], color=colour, marker=marker if self.names else "") for colour, marker in both]


def name_lines(axes: Sequence[Axes], ends: Sequence[float], key: Key) -> None:
    """Say what lines mean: beside a single panel, at the height at which each ends, or beside all panels.

    There names stand in a legend and numbers on a scale of colours. In axes of the caller, whose figure makes no room
    beside them, a legend inside says it. A single line that stands for all has no name.
    """
    if not any(key.labels):
        return
    ax, size, longest = axes[0], points("legend.fontsize"), int(_LONGEST / larger())
    line = 1.25 * size / 72 / (ax.bbox.height / ax.figure.dpi)
    if len(axes) > 1 or len(key.labels) > NAMED or line * (len(key.labels) + 1) > 1 or not ours(ax):
        _ = name_beside(axes, key) if key.names else scale(axes, key)
        return
    low, high = ax.get_ylim()
    # A name keeps its height where no other is near, and moves up or down otherwise.
    order = np.argsort(ends, kind="stable")
    heights = _apart((np.asarray(ends, float)[order] - low) / (high - low), line)
    for place, height in zip(order, heights, strict=True):
        look: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "fontsize": size, "parse_math": False}
        _ = ax.text(1.02, height, "\N{BOX DRAWINGS HEAVY HORIZONTAL}", color=key.colours[place], **look)
        _ = ax.text(1.02 + 0.0055 * size, height, shorten_to(str(key.labels[place]), longest), **look)
    if key.title:
        top = max(1.0, heights[-1] + 0.7 * line)
        look = {"transform": ax.transAxes, "va": "bottom", "fontsize": size, "parse_math": False}
        _ = ax.text(1.02, top + 0.02, fill(key.title, longest), **look)


def _apart(heights: np.ndarray, line: float) -> np.ndarray:
    """Return rising heights that lie at least a line of text apart, each as near to its own as that allows."""
    blocks: list[tuple[float, int]] = []  # the lowest height of a block, and how many names stand in it
    for height in heights:
        blocks.append((float(height), 1))
        while len(blocks) > 1 and blocks[-2][0] + line * blocks[-2][1] > blocks[-1][0]:
            (low, below), (high, above) = blocks[-2:]
            middle = (low + line * (below - 1) / 2) * below + (high + line * (above - 1) / 2) * above
            both = below + above
            blocks[-2:] = [(middle / both - line * (both - 1) / 2, both)]
    return np.array([low + line * number for low, count in blocks for number in range(count)])


def name_beside(axes: Sequence[Axes], key: Key) -> Legend | None:
    """Name lines in a legend beside panels, in as many columns as it takes; in the caller's axes inside."""
    figure, longest = axes[0].get_figure(), int(_LONGEST / larger())
    labels = [shorten_to(str(label), longest) for label in key.labels]
    if figure is None or not ours(axes[0]):
        return legend_inside(axes[0], key.handles(), labels, title=key.title)
    room = int(figure.bbox.height * 72 / figure.dpi / (1.55 * points("legend.fontsize"))) - 2 * bool(key.title)
    about: dict[str, Any] = {"ncols": -(-len(labels) // max(room, 1)), "title": fill(key.title, longest) or None}
    legend = figure.legend(key.handles(), labels, loc="outside right upper", **about, **_CLOSE)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
    return legend


def scale(axes: Sequence[Axes], key: Key) -> None:
    """Draw a scale of colours beside panels, with a name for each from below, or for some if not all have room.

    In axes of the caller a legend inside names the lines.
    """
    figure, longest = axes[0].get_figure(), int(_LONGEST / larger())
    labels = [shorten_to(str(label), longest) for label in key.labels]
    if figure is None:
        return
    if not ours(axes[0]):
        _ = legend_inside(axes[0], key.handles(), labels, title=key.title, most=_KEYS)
        return
    norm = BoundaryNorm(np.arange(len(labels) + 1) - 0.5, len(labels))
    size = points("legend.fontsize")
    heights = [edge for ax in axes for edge in ax.get_window_extent().intervaly]
    if larger() > _WRAPPED:
        labels = [fill(label, longest // 2 + 3) for label in labels]
    lines = 1 + max(label.count("\n") for label in labels)
    room = max(1, int((max(heights) - min(heights)) * 72 / figure.dpi / (1.2 * size * lines)))
    # As wide beside many rows of panels as beside one.
    slim = 25 * max(1, len({round(ax.get_position().y0, 3) for ax in axes}))
    bar = figure.colorbar(
        ScalarMappable(norm, ListedColormap(list(key.colours))), ax=list(axes), aspect=slim, pad=0.02
    )
    every = 1 if len(labels) <= room else -(-len(labels) // min(room, NAMED))
    # Where some are left out, every second, fifth or tenth one is named.
    every = next((nice for nice in (1, 2, 5, 10, 20, 50) if nice >= every), every)
    shown = list(range(every - 1, len(labels), every))
    bar.set_ticks(shown, labels=[labels[place] for place in shown])
    bar.ax.tick_params(length=0, which="both", labelsize=size)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(fill(key.title, 2 * longest), parse_math=False)


def numbered(ax: Axes, numbers: Sequence[int] | np.ndarray, *, most: int = 10) -> None:
    """Put rising whole numbers on the x axis, the first and every so many after it: as have room, at most `most`."""
    letters = ax.bbox.width / ax.figure.dpi / (_LETTER * points("xtick.labelsize") / SMALL)
    most = max(1, min(most, int(letters / (len(str(max(numbers))) + 1.5))))
    shown = np.asarray(numbers)[:: -(-len(numbers) // most)]
    ax.set_xticks(shown, [str(one) for one in shown])
