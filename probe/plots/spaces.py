"""Three coordinates of a state space seen from one side: a cube around it, paths in it, and fixed points; many dots.

Dots are one path: as a marker each, a figure of some hundred states would not fit into a page.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Transform

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

#: So much of an axis is left free beside the outermost dots; so many pixels a dot's line is long.
_MARGIN, _LENGTH = 0.06, 0.05


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


def scatter(
    ax: Axes,
    across: Float[np.ndarray, " dot"],
    up: Float[np.ndarray, " dot"],
    *,
    color: str,
    size: float = 4.0,
) -> None:
    """Draw dots of one colour with a diameter in points, and make room for them in the axes."""
    if not len(across):
        return
    # A line of hardly any length with round ends is a dot.
    places = np.repeat(np.column_stack([across, up]).astype(float), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(across))
    path = Path(places, codes)
    path.should_simplify = False
    # To whole pixels a dot's line has no length, and the dot is left out of the picture.
    look: dict[str, Any] = {"edgecolor": color, "linewidth": size, "capstyle": "round"}
    _ = ax.add_artist(PathPatch(path, fill=False, snap=False, zorder=2, transform=ax.transData + _Apart(), **look))
    ax.update_datalim(places)
    ax.margins(_MARGIN)
    ax.autoscale_view()


class _Apart(Transform):
    """Moves the end of each dot's line beside its start: in pixels, whatever the data's numbers are."""

    @property
    def input_dims(self) -> int:
        """Across and up."""
        return 2

    @property
    def output_dims(self) -> int:
        """Across and up."""
        return 2

    def transform_non_affine(self, values: Any) -> np.ndarray:
        """Return places on the figure, (vertex, 2), every second one moved."""
        moved = np.array(values, dtype=float)
        moved[1::2, 0] += _LENGTH
        return moved
