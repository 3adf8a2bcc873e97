"""Three coordinates of a state space seen from one side: a cube around it, paths in it, and fixed points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from ..errors import ProbeError, several
from .style import GREY, axes_or_new, inks

#: From where a space is seen, in degrees: turned around the third axis, then tilted towards the reader.
TURN, TILT = 28.0, 22.0
#: By how many directions a fixed point is unstable in: marker and size. All are drawn in ink, stable ones filled.
UNSTABLE_STYLE: tuple[tuple[Literal["o", "s", "^", "*"], float], ...] = (
    ("o", 8.0),
    ("s", 6.5),
    ("^", 7.5),
    ("*", 11.0),
)


def seen(points: Float[np.ndarray, "*rows axis"]) -> Float[np.ndarray, "*rows 2"]:
    """Return where points of three coordinates stand on paper: an orthographic projection.

    Raises:
        ProbeError: there are other than three coordinates.
    """
    if points.shape[-1] != 3:
        raise ProbeError(f"A space is drawn of 3 coordinates, and {points.shape[-1]} were given. Choose 3.")
    across, up = np.radians(TURN), np.radians(TILT)
    first, second, third = np.moveaxis(points, -1, 0)
    depth = -np.sin(across) * first + np.cos(across) * second
    return np.stack(
        [np.cos(across) * first + np.sin(across) * second, np.cos(up) * third + np.sin(up) * depth], axis=-1
    )


def draw_cube(names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw the edges of a cube from -1 to 1, and along three of them what the coordinates are called.

    Raises:
        ProbeError: there are other than three names.
    """
    if len(names) != 3:
        raise ProbeError(f"A cube has 3 coordinates, and {len(names)} names were given.")
    ax = axes_or_new(ax)
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    for one, other in itertools.combinations(corners, 2):
        if np.count_nonzero(one != other) == 1:
            ax.plot(*seen(np.stack([one, other])).T, color=GREY, linewidth=0.8, zorder=1)
    # The three edges at the lower rim, nearest to the reader, are named beside their middles.
    places = ((0, -1.22, -1.22), (1.22, 0, -1.22), (-1.2, -1.2, 0))
    for name, place, side in zip(names, places, ("center", "left", "right"), strict=True):
        x, y = seen(np.array(place, dtype=float))
        ax.text(x, y, f"{name}", ha=side, va="center")
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def draw_fixed_points(frame: pd.DataFrame, columns: Sequence[str], *, ax: Axes) -> None:
    """Draw fixed points by the number of directions that they are unstable in.

    Args:
        frame: a row a point: its coordinates, `unstable`, and `neutral` where some are neither stable nor unstable.
        columns: what the two or three coordinates are called in the frame.
        ax: where to draw.
    """
    neutral = frame.get("neutral", pd.Series(0, frame.index)).astype(bool)
    _draw_points(frame[neutral], columns, "D", 6.0, "neutral", filled=False, ax=ax)
    frame = frame[~neutral]
    for number, (marker, size) in enumerate(UNSTABLE_STYLE):
        last = number == len(UNSTABLE_STYLE) - 1
        rows = frame[frame["unstable"] >= number] if last else frame[frame["unstable"] == number]
        more = " or more" if last and bool((rows["unstable"] > number).any()) else ""
        label = f"{several(number, 'unstable direction')}{more}" if number else "stable"
        _draw_points(rows, columns, marker, size, label, filled=not number, ax=ax)


def _draw_points(
    rows: pd.DataFrame, columns: Sequence[str], marker: str, size: float, label: str, *, filled: bool, ax: Axes
) -> None:
    if rows.empty:
        return
    places = rows[list(columns)].to_numpy(float)
    places = places if len(columns) == 2 else seen(places)
    (ink,) = inks(1)
    look = {"color": ink, "markersize": size, "markerfacecolor": ink if filled else "none"}
    ax.plot(*places.T, marker, label=label, zorder=3 + filled, **look)
