"""Many dots as one path: as a marker each, a figure of some hundred states would not fit into a page."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Transform

#: So much of an axis is left free beside the outermost dots; so many pixels a dot's line is long.
_MARGIN, _LENGTH = 0.06, 0.05


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
