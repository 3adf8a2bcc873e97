"""The look at every figure: it finds what is broken on purpose, and nothing in a figure that is whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import painted
import pandas as pd
import pictured
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from probe import ProbeError
from probe.evidence import DataFigure
from probe.plots.spaces import scatter
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
    ax.clear()
    places = np.repeat(np.column_stack([VALUES, VALUES]), 2, axis=0)
    places[1::2, 0] += 1e-5
    path = Path(places, np.tile([Path.MOVETO, Path.LINETO], len(VALUES)))
    look: dict[str, Any] = {"edgecolor": "black", "linewidth": 4, "capstyle": "round", "snap": True}
    _ = ax.add_patch(PathPatch(path, fill=False, **look))
    ax.set(xlim=(0, 1), ylim=(0, 1))


#: What is found -> what is done to the first axes.
BROKEN: dict[str, Callable[[Axes], Any]] = {
    "'score: nan' is written": lambda ax: ax.set_title("score: nan"),
    "axes '' are empty": lambda ax: (ax.clear(), ax.plot([0, 1], [np.nan, 1e400])),
    "axes 'bound' are empty": lambda ax: (ax.clear(), ax.axhline(1), ax.set_title("bound")),
    "'far above' is cut off by the figure's edge": lambda ax: ax.text(0.5, 3.0, "far above", transform=ax.transAxes),
    "a dot of 'scores' in 'scores' is cut off by 4 pixels": lambda ax: ax.set_ylim(0, VALUES[-1]),
    "Line2D 'scores' in 'scores' is cut off by ": lambda ax: ax.set_xlim(0.2, 1),
    "Rectangle '' in 'scores' is cut off by ": lambda ax: (ax.bar([0.5], [2]), ax.set_ylim(0, 1)),
    "LineCollection 'two' in 'scores' is cut off by ": lambda ax: (
        ax.vlines([0.5], [0], [2], label="two"),
        ax.set_ylim(0, 1),
    ),
    "a dot of 'two' in 'scores' has no place": lambda ax: ax.plot([0.2, 0.4], [0.2, np.nan], "o", label="two"),
    "a dot of 'off' in 'scores' is cut off by ": lambda ax: ax.plot(
        [0.5], [9], "o", clip_on=False, scaley=False, label="off"
    )[0].set_in_layout(False),
    "a dot of 'off' stands outside of the axes 'scores'": lambda ax: ax.plot(
        [0.5], [1.05], "o", clip_on=False, scaley=False, label="off"
    ),
    "'small' is too small for a phone": lambda ax: ax.set_title("small", fontsize=8),
    "'scores' stands over 'over'": lambda ax: ax.text(0, 1.02, "over", transform=ax.transAxes),
    "of 9 dots of 'scores' are not in the pixels": lambda ax: ax.axhspan(0.7, 1, color="white", zorder=9),
    "dots of '' are not in the pixels": snapped,
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_broken_on_purpose_is_found(said: str) -> None:
    """One fault at a time, in words."""
    with style():
        figure = whole()
        BROKEN[said](figure.axes[0])
        found = pictured.faults(figure, png(figure))
    assert [one for one in found if said in one], found


def test_a_figure_that_is_whole_has_no_fault() -> None:
    """Also with marks on the edge that no axes cut off; a caption may hold on one paper alone."""
    with style():
        figure = whole()
        _ = figure.axes[0].plot([0.1, 0.9], [figure.axes[0].get_ylim()[1]] * 2, "D", clip_on=False)
        assert pictured.faults(figure, png(figure), "Grey lines are guides. A black cell is full.") == []
    figure, axes = new_figure()
    axes[0, 0].plot([0, 1])
    said = "the caption says 'black', and ink is black on one paper and white on the other"
    assert pictured.faults(figure, caption="Black: the whole memory.") == [said]


def test_every_figure_with_data_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package or an analysis draws it, also one that is too large for an SVG, and all plots."""
    monkeypatch.setattr(pictured, "maker", lambda _: "probe.plots.units")
    words = {"name": "scores", "title": "Scores", "alt": "1.", "caption": "", "data": pd.DataFrame({"a": [1]})}
    with style():
        for most in (None, 10):
            figure, axes = new_figure()
            axes[0, 0].plot(VALUES, VALUES, "o", label="scores")
            axes[0, 0].set(title="scores", ylim=(0, VALUES[-1]))
            try:
                _ = DataFigure.from_figure(figure, max_bytes=most, **words)
            except ProbeError:
                assert most == 10
            fault = "a dot of 'scores' in 'scores' is cut off by 4 pixels"
            assert pictured.lost() == [f"scores: {fault}"]
            assert pictured.of_library() == [f"probe.plots.units: {fault}"]
    assert pictured.lost() == []
    _ = painted.looked_at()
