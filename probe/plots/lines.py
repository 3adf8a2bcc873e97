"""Lines that are told apart by colour: labels beside them, or a scale of colours where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.lines import Line2D

from .legends import legend_inside
from .style import ours, points

#: So many lines are named beside a panel; of more, and in several panels, a scale says what the colours mean.
NAMED = 12
#: At most so many lines are drawn in a panel.
LINES = 32
#: So many names of a scale stand in a legend inside of axes, which covers some of them.
_KEYS = 6
#: The part of a panel's height that a line of text takes, at the least.
_LINE = 0.075


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of `count` places, the first and the last among them, evenly between."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def name_lines(
    axes: Sequence[Axes], ends: Sequence[float], labels: Sequence[str], colours: Sequence[str], *, title: str = ""
) -> None:
    """Say what lines mean: beside a single panel, at the height at which each ends, or by a scale of colours.

    In axes of the caller, whose figure makes no room beside them, a legend inside says it.
    """
    if len(axes) > 1 or len(labels) > NAMED or not ours(axes[0]):
        scale(axes, labels, colours, title=title)
        return
    ax = axes[0]
    low, high = ax.get_ylim()
    size = points("legend.fontsize")
    # A name keeps its height where no other is near, and moves up or down otherwise.
    order = np.argsort(ends, kind="stable")
    heights = _apart((np.asarray(ends, float)[order] - low) / (high - low))
    for place, height in zip(order, heights, strict=True):
        look: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "fontsize": size, "parse_math": False}
        _ = ax.text(1.02, height, "\N{BOX DRAWINGS HEAVY HORIZONTAL}", color=colours[place], **look)
        _ = ax.text(1.075, height, str(labels[place]), **look)
    if title:
        top = max(1.0, heights[-1] + 0.7 * _LINE)
        _ = ax.text(1.02, top + 0.02, title, transform=ax.transAxes, va="bottom", fontsize=size, parse_math=False)


def _apart(heights: np.ndarray) -> np.ndarray:
    """Return rising heights that lie at least a line of text apart, each as near to its own as that allows."""
    blocks: list[tuple[float, int]] = []  # the lowest height of a block, and how many names stand in it
    for height in heights:
        blocks.append((float(height), 1))
        while len(blocks) > 1 and blocks[-2][0] + _LINE * blocks[-2][1] > blocks[-1][0]:
            (low, below), (high, above) = blocks[-2:]
            middle = (low + _LINE * (below - 1) / 2) * below + (high + _LINE * (above - 1) / 2) * above
            both = below + above
            blocks[-2:] = [(middle / both - _LINE * (both - 1) / 2, both)]
    return np.array([low + _LINE * number for low, count in blocks for number in range(count)])


def scale(axes: Sequence[Axes], labels: Sequence[str], colours: Sequence[str], *, title: str = "") -> None:
    """Draw a scale of colours beside panels, with a name for each from below, or for some if not all have room.

    In axes of the caller a legend inside names the lines.
    """
    figure = axes[0].get_figure()
    if figure is None:
        return
    if not ours(axes[0]):
        lines = [Line2D([], [], color=colour) for colour in colours]
        _ = legend_inside(axes[0], lines, list(map(str, labels)), title=title, most=_KEYS)
        return
    norm = BoundaryNorm(np.arange(len(labels) + 1) - 0.5, len(labels))
    size = points("legend.fontsize")
    heights = [edge for ax in axes for edge in ax.get_window_extent().intervaly]
    room = max(1, int((max(heights) - min(heights)) * 72 / figure.dpi / (1.2 * size)))
    # As wide beside many rows of panels as beside one.
    slim = 25 * max(1, len({round(ax.get_position().y0, 3) for ax in axes}))
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colours)), ax=list(axes), aspect=slim, pad=0.02)
    shown = list(range(0, len(labels), -(-len(labels) // room)))
    bar.set_ticks(shown, labels=[str(labels[place]) for place in shown])
    bar.ax.tick_params(length=0, which="both", labelsize=size)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(title)


def numbered(ax: Axes, numbers: Sequence[int] | np.ndarray, *, most: int = 10) -> None:
    """Put rising whole numbers on the x axis, the first and every so many after it, at most `most`."""
    shown = np.asarray(numbers)[:: -(-len(numbers) // most)]
    ax.set_xticks(shown, [str(one) for one in shown])
