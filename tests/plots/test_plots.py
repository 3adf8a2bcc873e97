"""What is drawn is seen: in pixels as in SVG, and with a name for each colour that has room for one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import find_objects, label

from probe.plots.dots import scatter
from probe.plots.lines import scale
from probe.plots.style import VALUES, colours, new_figure
from probe.report.svg import for_papers

RED = "#ff0000"


def grid(side: int = 15) -> Figure:
    """Return a figure of side x side dots that do not touch, at places between pixels."""
    figure, axes = new_figure()
    across, up = np.repeat(np.arange(side), side).astype(float), np.tile(np.arange(side), side).astype(float)
    scatter(axes[0, 0], across + 0.3 * np.sin(7 * up), up + 0.3 * np.cos(5 * across), color=RED)
    return figure


def spots(png: bytes) -> Any:
    """Return the red spots of a picture, numbered, and how many there are."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return label((pixels[..., 0] > 200) & (pixels[..., 1] < 120))


def dots_in(png: bytes) -> int:
    """Return how many red spots a picture has."""
    return spots(png)[1]


def apart(places: list[tuple[list[float], list[float]]]) -> Figure:
    """Return a figure of dots in a few calls, each (across, up)."""
    figure, axes = new_figure()
    for across, up in places:
        scatter(axes[0, 0], np.array(across, dtype=float), np.array(up, dtype=float), color=RED)
    return figure


@pytest.mark.parametrize("dpi", [72, 100, 144, 150, 300])
def test_every_dot_is_in_the_pixels(dpi: int) -> None:
    """The pictures of notebooks, of findings and for papers have as many dots as there are states."""
    figure, buffer = grid(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    assert dots_in(buffer.getvalue()) == 15**2
    assert dots_in(for_papers(figure, name="dots")["png"]) == 15**2


@pytest.mark.parametrize(
    "places",
    [
        [([0.01 * across], [0.01 * up]) for across in range(5) for up in range(5)],
        [([across, across + 1e-3], [up, up + 1]) for across in range(5) for up in range(0, 10, 2)],
        [([1e-12], [0.0]), ([1.0], [1.0]), ([0.0, 1e6], [2.0, 3.0])],
    ],
    ids=["one at a time", "two hardly apart", "far apart"],
)
def test_a_dot_is_round_whatever_its_numbers(places: list[tuple[list[float], list[float]]]) -> None:
    """One of a colour of its own, two of one place, numbers of any size: in each format, and as wide as high."""
    figure, buffer = apart(places), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=300)
    for png in (buffer.getvalue(), for_papers(figure, name="dots")["png"]):
        assert dots_in(png) == sum(len(across) for across, _ in places)
        sizes = [(one[0].stop - one[0].start, one[1].stop - one[1].start) for one in find_objects(spots(png)[0])]
        assert max(abs(high - wide) for high, wide in sizes) <= 2


@pytest.mark.parametrize(("height", "named"), [(2.9, 10), (4.6, 20), (1.8, 4)])
def test_a_scale_names_as_many_colours_as_have_room(height: float, named: int) -> None:
    """Names never touch, and none is left out where there is room."""
    figure, axes = new_figure(height=height)
    scale(list(axes[0]), [str(value) for value in range(20)], colours(20, VALUES), title="ones")
    figure.draw_without_rendering()
    names = [one for one in figure.axes[1].get_yticklabels() if one.get_text()]
    boxes = [one.get_window_extent() for one in names]
    assert all(not box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
    assert len(names) >= named


def test_figures_of_this_folder_are_held_against_the_table_of_colours(request: pytest.FixtureRequest) -> None:
    """Around each test of the checkout, not of the wheel alone; and each starts from the same random numbers."""
    assert {"nothing_is_lost", "one_colour_one_meaning", "tidy"} <= set(request.fixturenames)
