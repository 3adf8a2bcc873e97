"""What is drawn is seen: in pixels as in SVG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import label

from probe.plots.dots import scatter
from probe.plots.style import new_figure
from probe.report.redrawn import saved
from probe.report.svg import figure_to_svg

RED = "#ff0000"


def grid(side: int = 15) -> Figure:
    """Return a figure of side x side dots that do not touch, at places between pixels."""
    figure, axes = new_figure()
    across, up = np.repeat(np.arange(side), side).astype(float), np.tile(np.arange(side), side).astype(float)
    scatter(axes[0, 0], across + 0.3 * np.sin(7 * up), up + 0.3 * np.cos(5 * across), color=RED)
    return figure


def dots_in(png: bytes) -> int:
    """Return how many red spots a picture has."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    spots: Any = label((pixels[..., 0] > 200) & (pixels[..., 1] < 120))
    return spots[1]


def test_every_dot_is_in_the_pixels() -> None:
    """The pictures of notebooks, of findings and for papers have as many dots as there are states."""
    figure, buffer = grid(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    assert dots_in(buffer.getvalue()) == 15**2
    assert dots_in(saved(figure_to_svg(figure, name="dots"), "dots")["png"]) == 15**2
