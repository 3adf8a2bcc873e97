"""What the pictures of questions name: each value of a count, and of more values groups that hold what they say."""

from __future__ import annotations

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


def pictured(values: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], np.ndarray, int]:
    """Return the names beside the scale of a picture of states, the values that are shown, and how many colours."""
    figures: list[Figure] = []

    def kept(figure: Figure, **words: Any) -> DataFigure:
        figures.append(figure)
        return DataFigure(**words, svg='<svg xmlns="http://www.w3.org/2000/svg"></svg>', png=b"")

    monkeypatch.setattr(DataFigure, "from_figure", kept)
    x = bits(200, length)
    found = answer(Study(nn.LSTM(1, 6, batch_first=True), x, {"ones": values(x)}), "state-space")
    (figure,), table = figures, found.measurements
    labels = figure.axes[-1].get_yticklabels()
    boxes = [one.get_window_extent() for one in labels]
    assert all(not box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
    inks = {to_hex(dots.get_edgecolor()) for ax in figure.axes[:-1] for dots in ax.patches}
    return [one.get_text() for one in labels], table[table["metric"] == "concept"]["value"].to_numpy(float), len(inks)


def rounding(text: str) -> float:
    """Return by how much a number may be off that is written so."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def test_each_value_of_a_count_has_its_colour_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 0 to the largest, also where eight quantiles would take several values together."""
    names, shown, inks = pictured(lambda x: np.minimum(x[:, :, 0].cumsum(1), 19), 38, monkeypatch)
    assert set(shown) <= set(range(20))
    assert names == [str(value) for value in range(20)]
    assert inks == len(set(shown)) > 8


MANY: dict[str, Any] = {
    "mostly 0": lambda x: np.where(x[:, :, 0] == 0, 0, x[:, :, 0].cumsum(1)),
    "share": lambda x: x[:, :, 0].cumsum(1) / np.arange(1, 61),
    "far from 0": lambda x: np.random.default_rng(0).normal(size=x.shape[:2]) + 1e4,
}


@pytest.mark.parametrize("values", MANY.values(), ids=MANY)
def test_groups_of_many_values_hold_what_they_say(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is a value or a range, the ranges rise and lie apart, and every state that is drawn is in one."""
    names, shown, inks = pictured(values, 60, monkeypatch)
    assert 2 < len(names) == len(set(names)) == inks
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
