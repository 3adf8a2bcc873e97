"""What is drawn is seen: in pixels as in SVG, and with a name for each colour that has room for one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import find_objects, label

from probe.plots.dots import scatter
from probe.plots.lines import scale
from probe.plots.style import VALUES, colours, new_figure
from probe.report.svg import for_papers

#: Dots in a few calls, each (across, up).
Places = list[tuple[Any, Any]]
ACROSS, UP = np.repeat(np.arange(15), 15).astype(float), np.tile(np.arange(15), 15).astype(float)
GRID: Places = [(ACROSS + 0.3 * np.sin(7 * UP), UP + 0.3 * np.cos(5 * ACROSS))]
ONE_AT_A_TIME: Places = [([0.01 * across], [0.01 * up]) for across in range(5) for up in range(5)]
HARDLY_APART: Places = [([across, across + 1e-3], [up, up + 1]) for across in range(5) for up in range(0, 10, 2)]
FAR_APART: Places = [([1e-12], [0.0]), ([1.0], [1.0]), ([0.0, 1e6], [2.0, 3.0])]


@pytest.mark.parametrize("dpi", [100, 300])
@pytest.mark.parametrize("places", [GRID, ONE_AT_A_TIME, HARDLY_APART, FAR_APART], ids=range(4))
def test_every_dot_is_in_the_pixels_and_round(places: Places, dpi: int) -> None:
    """At places between pixels, of a colour of its own, two of one place, numbers of any size: in each format."""
    figure, axes = new_figure()
    for across, up in places:
        scatter(axes[0, 0], np.array(across, dtype=float), np.array(up, dtype=float), color="#ff0000")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    for png in (buffer.getvalue(), *([for_papers(figure, name="dots")["png"]] if dpi == 300 else [])):
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        spots: Any = label((pixels[..., 0] > 200) & (pixels[..., 1] < 120))
        assert spots[1] == sum(len(across) for across, _ in places)
        sizes = [(one[0].stop - one[0].start, one[1].stop - one[1].start) for one in find_objects(spots[0])]
        assert max(abs(high - wide) for high, wide in sizes) <= 2


@pytest.mark.parametrize(("height", "named"), [(4.6, 20), (1.8, 4)])
def test_a_scale_names_as_many_colours_as_have_room(height: float, named: int) -> None:
    """Names never touch, and none is left out where there is room."""
    figure, axes = new_figure(height=height)
    scale(list(axes[0]), [str(value) for value in range(20)], colours(20, VALUES), title="ones")
    figure.draw_without_rendering()
    boxes = [one.get_window_extent() for one in figure.axes[1].get_yticklabels() if one.get_text()]
    assert all(not box.count_overlaps(boxes[:place]) for place, box in enumerate(boxes))
    assert len(boxes) >= named
