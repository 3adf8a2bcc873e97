"""A legend has as many names abreast as there is room for, and the names of columns do not run into each other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from matplotlib.legend import Legend

from probe.plots.legends import figure_legend, legend_above
from probe.plots.networks import name_columns
from probe.plots.style import COLUMN_WIDTH, new_figure, style

LONG = "initialisation"


def columns_of(legend: Legend | None) -> int:
    """Return how many names stand side by side: at how many places across a name begins."""
    assert legend is not None
    figure = legend.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return len({round(text.get_window_extent().x0) for text in legend.get_texts()})


def named(count: int, width: float = COLUMN_WIDTH):
    """Return a figure and axes with so many long names."""
    figure, axes = new_figure(width=width)
    for number in range(count):
        axes[0, 0].plot([0, 1], [0, number], label=f"{LONG} {number}")
    return figure, axes[0, 0]


@pytest.mark.parametrize(("width", "columns"), [(2.0, 1), (COLUMN_WIDTH, 2), (9.0, 3)])
def test_a_legend_is_not_wider_than_its_figure(width: float, columns: int) -> None:
    """Three names stand one, two or three abreast; three abreast would be wider than a figure of the usual width."""
    with style():
        figure, ax = named(3, width)
        legend = legend_above(ax)
        assert legend is not None
        assert columns_of(legend) == columns
        assert legend.get_window_extent().width <= figure.bbox.width
        below = figure_legend(figure, *ax.get_legend_handles_labels(), where="lower")
        assert figure.legends == [below]
        assert columns_of(below) == columns
        assert columns_of(legend_above(ax, most=1)) == 1


def test_panels_side_by_side_have_narrower_legends() -> None:
    """A panel has its part of the figure's width; axes without names have no legend."""
    with style():
        _, axes = new_figure(2)
        for number in range(2):
            axes[0, 0].plot([0, 1], [0, number], label=f"{LONG} {number}")
        legend = legend_above(axes[0, 0])
        assert legend is not None
        assert columns_of(legend) == 1
        assert legend_above(axes[0, 1]) is None


@pytest.mark.parametrize(
    ("names", "upright"),
    [
        (["one", "two"], False),
        (["the first of them", "the second of them", "the third of them"], False),
        (["logistic", "directions that carry it", "nothing", "labels", "ridge", "other"], True),
    ],
)
def test_names_of_columns_do_not_meet(names: list[str], upright: bool) -> None:
    """They take several lines, or stand upright where one word is wider than a column."""
    with style():
        figure, axes = new_figure()
        name_columns(axes[0, 0], names)
        axes[0, 0].set_xlim(-0.5, len(names) - 0.5)
        figure.draw_without_rendering()
        texts = axes[0, 0].get_xticklabels()
    assert [" ".join(text.get_text().split()) for text in texts] == names
    assert {text.get_rotation() for text in texts} == {90.0 if upright else 0.0}
    boxes = [text.get_window_extent() for text in texts]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
