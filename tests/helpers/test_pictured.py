"""The look at every figure: it finds what is broken on purpose, and nothing in a figure that is whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pictured
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from probe import ProbeError
from probe.evidence import DataFigure
from probe.plots.dots import scatter
from probe.plots.style import new_figure, style

VALUES = np.linspace(0.1, 0.9, 9)


def whole() -> Figure:
    """Return a figure with lines, dots of three kinds, bars, cells, guides, and a key."""
    figure, axes = new_figure(2, 2, height=2.4)
    line, dots, bars, cells = axes.ravel()
    line.plot(VALUES, VALUES, "o-", label="scores")
    line.axhline(0.5, color="black", label="_bound")
    line.set_title("scores")
    line.legend()
    scatter(dots, VALUES, VALUES**2, color="black")
    dots.scatter(VALUES, VALUES**3, s=20)
    dots.set_title("dots")
    bars.bar(range(3), [1.0, 2.0, 0.5])
    bars.plot([0, 1, np.nan, 2], [0.5, 1, np.nan, 0.4])
    cells.imshow(np.eye(4))
    cells.set_xlabel("column")
    return figure


def png(figure: Figure) -> bytes:
    """Return the pixels of a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def snapped(ax: Axes) -> None:
    """Draw dots as lines that whole pixels have no room for, as they once were."""
    places = np.repeat(np.column_stack([VALUES, VALUES]), 2, axis=0)
    places[1::2, 0] += 1e-5
    path = Path(places, np.tile([Path.MOVETO, Path.LINETO], len(VALUES)))
    look: dict[str, Any] = {"edgecolor": "black", "linewidth": 4, "capstyle": "round", "snap": True}
    _ = ax.add_patch(PathPatch(path, fill=False, **look))


def crowd(ax: Axes) -> None:
    """Make the last mark lie on the edge of the axes."""
    ax.set_ylim(0, VALUES[-1])


BROKEN: dict[str, tuple[Callable[[Axes], Any], str]] = {
    "a text that is no number": (lambda ax: ax.set_title("score: nan"), "'score: nan' is written"),
    "a name of a column": (lambda ax: ax.set_xticks([0.5], ["nan"]), "'nan' is written"),
    "empty axes": (lambda ax: ax.clear(), "axes '' are empty"),
    "a bound alone": (lambda ax: (ax.clear(), ax.axhline(1), ax.set_title("bound")), "axes 'bound' are empty"),
    "a line of no numbers": (lambda ax: (ax.clear(), ax.plot([0, 1], [np.nan, 1e400])), "axes '' are empty"),
    "a text beyond the edge": (
        lambda ax: ax.text(0.5, 3.0, "far above", transform=ax.transAxes),
        "'far above' is cut off by the figure's edge",
    ),
    "a mark in half": (crowd, "a dot of 'scores' in 'scores' is cut off by 4 pixels"),
    "a line in part": (lambda ax: ax.set_xlim(0.2, 1), "Line2D 'scores' in 'scores' is cut off by "),
    "a bar in part": (lambda ax: (ax.bar([0.5], [2]), ax.set_ylim(0, 1)), "Rectangle '' in 'scores' is cut off by "),
    "an interval in part": (
        lambda ax: (ax.vlines([0.5], [0], [2], label="interval"), ax.set_ylim(0, 1)),
        "LineCollection 'interval' in 'scores' is cut off by ",
    ),
    "a dot without a place": (
        lambda ax: ax.plot([0.2, 0.4], [0.2, np.nan], "o", label="two"),
        "a dot of 'two' in 'scores' has no place",
    ),
    "a dot beyond the figure": (
        lambda ax: ax.plot([0.5], [9], "o", clip_on=False, scaley=False, label="off")[0].set_in_layout(False),
        "a dot of 'off' in 'scores' is cut off by ",
    ),
    "a dot beyond its axes": (
        lambda ax: ax.plot([0.5], [1.05], "o", clip_on=False, scaley=False, label="off"),
        "a dot of 'off' stands outside of the axes 'scores'",
    ),
    "a dot under paper": (
        lambda ax: ax.axhspan(0.7, 1, color="white", zorder=9),
        "of 9 dots of 'scores' are not in the pixels",
    ),
}


def test_a_figure_that_is_whole_has_no_fault() -> None:
    """Also with a line that has a gap, and marks on the edge that no axes cut off."""
    with style():
        figure = whole()
        _ = figure.axes[0].plot([0.1, 0.9], [figure.axes[0].get_ylim()[1]] * 2, "D", clip_on=False)
        assert pictured.faults(figure, png(figure), "Grey lines are guides. A black cell is full.") == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_purpose_is_found(name: str) -> None:
    """One fault at a time, in words."""
    spoil, said = BROKEN[name]
    with style():
        figure = whole()
        spoil(figure.axes[0])
        found = pictured.faults(figure, png(figure))
    assert [one for one in found if said in one], found


def test_dots_that_whole_pixels_leave_out_are_found() -> None:
    """The fault that pictures for papers had."""
    figure, axes = new_figure()
    snapped(axes[0, 0])
    axes[0, 0].set(xlim=(0, 1), ylim=(0, 1))
    found = pictured.faults(figure, png(figure))
    assert [one for one in found if "dots of '' are not in the pixels" in one], found


def test_a_caption_that_holds_on_one_paper_is_found() -> None:
    """Ink changes with the paper, and cells do not."""
    figure, axes = new_figure()
    axes[0, 0].plot([0, 1])
    said = "the caption says 'black', and ink is black on one paper and white on the other"
    assert pictured.faults(figure, caption="Black: the whole memory.") == [said]
    axes[0, 0].imshow(np.eye(2))
    assert pictured.faults(figure, caption="Black gates are open.") == []


def test_every_figure_with_data_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package or an analysis draws it, also one that is too large for an SVG."""
    monkeypatch.setattr(pictured, "maker", lambda _: "probe.questions")
    words = {"name": "scores", "title": "Scores", "alt": "1.", "caption": "", "data": pd.DataFrame({"a": [1]})}
    with style():
        for most in (None, 10):
            figure = whole()
            crowd(figure.axes[0])
            try:
                _ = DataFigure.from_figure(figure, max_bytes=most, **words)
            except ProbeError:
                assert most == 10
            assert pictured.lost() == ["scores: a dot of 'scores' in 'scores' is cut off by 4 pixels"]
    assert pictured.lost() == []
