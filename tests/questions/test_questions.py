"""What the pictures of questions name: each value of a count, and of more values groups that hold what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from studied import answer, bits
from torch import nn

from probe import Study
from probe.evidence.findings import DataFigure
from probe.subjects.concepts import group_edges


def drawn(values: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Figure, np.ndarray]:
    """Return the picture of the states of a network that nobody trained, and the concept's values that it shows."""
    figures: list[Figure] = []
    made = DataFigure.from_figure

    def kept(figure: Figure, **words: Any) -> DataFigure:
        figures.append(figure)
        return made(figure, **words)

    monkeypatch.setattr(DataFigure, "from_figure", kept)
    x = bits(200, length)
    found = answer(Study(nn.LSTM(1, 6, batch_first=True), x, {"ones": values(x)}), "state-space")
    assert len(found.figures) == len(figures) == 1
    table = found.measurements
    return figures[0], table[table["metric"] == "concept"]["value"].to_numpy(float)


def named(figure: Figure) -> list[str]:
    """Return the names beside the scale of colours, from below, which do not touch."""
    labels = figure.axes[-1].get_yticklabels()
    boxes = [one.get_window_extent() for one in labels]
    assert all(not box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
    return [one.get_text() for one in labels]


def colours_of(figure: Figure) -> int:
    """Return how many colours the dots have."""
    return len({to_hex(dots.get_edgecolor()) for ax in figure.axes[:-1] for dots in ax.patches})


def rounding(text: str) -> float:
    """Return by how much a number may be off that is written so."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


@pytest.mark.parametrize("most", [10, 19])
def test_each_value_of_a_count_has_its_colour_and_name(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 0 to the largest, also where eight quantiles would take several values together."""
    figure, shown = drawn(lambda x: np.minimum(x[:, :, 0].cumsum(1), most), 2 * most, monkeypatch)
    assert set(shown) <= set(range(most + 1))
    assert named(figure) == [str(value) for value in range(most + 1)]
    assert colours_of(figure) == len(set(shown)) > 8


@pytest.mark.parametrize(
    "values",
    [
        lambda x: x[:, :, 0].cumsum(1),
        lambda x: np.where(x[:, :, 0] == 0, 0, x[:, :, 0].cumsum(1)),
        lambda x: x[:, :, 0].cumsum(1) / np.arange(1, 61),
        lambda x: np.random.default_rng(0).normal(size=x.shape[:2]) + 1e4,
    ],
    ids=["count", "mostly 0", "share", "far from 0"],
)
def test_groups_of_many_values_hold_what_they_say(
    values: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name is a value or a range, the ranges rise and lie apart, and every state that is drawn is in one."""
    figure, shown = drawn(values, 60, monkeypatch)
    names = named(figure)
    assert 2 < len(names) == len(set(names)) == colours_of(figure)
    ends = [name.split(" to ") for name in names]
    lows, highs = (np.array([float(own[place]) for own in ends]) for place in (0, -1))
    assert (lows <= highs).all()
    assert (highs[:-1] <= lows[1:]).all()
    below, above = (np.array([rounding(own[place]) for own in ends]) for place in (0, -1))
    inside = (shown[:, None] >= lows - below) & (shown[:, None] <= highs + above)
    assert inside.any(axis=1).all()
    assert inside.any(axis=0).all()


@pytest.mark.filterwarnings("error")
def test_no_group_of_values_is_empty() -> None:
    """An edge between two values, and the next one at the second of them, would leave nothing between."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.integers(0, 40, rng.integers(1, 60)).astype(float)
        edges = group_edges(values, 12)
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        assert len(edges) < 12
        assert counts.min() > 0
