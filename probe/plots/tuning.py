"""All units against a concept: the mean activity of each at each value, units that go alike side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ..recurrent.signals import Units
from .concepts import Levels, levels
from .keywords import plot_arguments
from .panels import drawn, panels
from .recorded import Chosen, chosen, words
from .sequences import name_across, name_rows, paint_cells, say_scale, scale_of
from .style import SIGNS, TALLEST, WIDEST, colour_map, unless_set

#: Standard deviations of a unit at which a colour is full: a unit that holds the concept reaches about so much.
FULL = 2.0
#: Of more units than these the order is a clustering's own, and not the best of those that it allows.
_BEST_ORDER = 1_024
#: Inches that a row and a column of the map have where there is room.
_ROW, _COLUMN = 0.19, 0.36


@plot_arguments()
def tuning(
    recording: Any,
    concept: Any,
    *,
    units: Units = None,
    signal: str | None = None,
    layer: str | None = None,
    name: str = "",
    z_score: bool = True,
    figsize: Any = None,
    title: str | None = None,
    cmap: Any = None,
    ax: Any = None,
) -> Axes:
    """Draw the mean activity of every unit at every value of a concept: a map of units by values.

    It shows at once which units follow the concept, and which values. Units that go alike stand side by side, by
    average-linkage clustering. A unit that follows the steps is coloured, too, where the concept grows with them:
    `against` tells the two apart. `probe.plots.table` of what comes back has the columns unit, concept, mean, z, n,
    and share: of the unit's variance, how much lies between the values.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        concept: its value at each step, (batch, time) or (batch,), numbers or names; many numbers are put into bins.
        units: which units, in this order; None for all, clustered.
        signal: the signal's name, or None for the cell state, else the hidden state, else the only state.
        layer: the layer's name; it may be left out where there is one.
        name: what the concept is called.
        z_score: whether the colour is how far the mean lies from the unit's own mean, in standard deviations of the
            unit over all states; else it is the mean itself.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the signal's name.
        cmap: a colour map, or its name, in place of teal below 0 and gold above.
        ax: where to draw, or None for a new figure of pyplot's. In your axes the title has the ends of the scale.

    Raises:
        ProbeError: a name or a number does not exist, or the concept is not aligned to the recording.

    Reference:
        The map is that of Waskom 2021, seaborn: statistical data visualization (clustermap), of rows alone.
    """
    one = chosen(recording, layer=layer, signal=signal, units=units)
    over = levels(concept, one, "concept", name)
    table = tuned(one, over)
    shown = table.pivot(index="unit", columns="place", values="z" if z_score else "mean")
    scores = shown.reindex(list(dict.fromkeys(one.indices)))
    if units is None:
        scores = scores.iloc[clustered(table.pivot(index="unit", columns="place", values="z").loc[scores.index])]
    height = min(1.2 + _ROW * len(scores), TALLEST)
    width = min(max(2.2 + _COLUMN * len(over.values), 3.6), WIDEST)
    with panels(1, ax=ax, figsize=figsize, title=title, width=width, height=height) as axes:
        draw_tuning(axes[0], scores, over.labels, signal=one.signal, z_score=z_score, cmap=cmap)
        axes[0].set_xlabel(over.title, parse_math=False)
    return drawn(axes, table.drop(columns="place"))


def tuned(one: Chosen, over: Levels) -> pd.DataFrame:
    """Return the mean of each unit at each value of a concept, a row each, and the place of the value."""
    here = over.codes >= 0
    values, codes = one.values[here], over.codes[here]
    which = codes == np.arange(len(over.values))[:, None]
    counts = which.sum(axis=1)
    means, spread = (which @ values) / counts[:, None], values.std(axis=0)
    # What is left of a unit that does not move is rounding.
    spread = np.where(np.ptp(values, axis=0) > 0, spread, np.inf)
    frame = {
        "unit": np.repeat(one.indices, len(counts)),
        "place": np.tile(np.arange(len(counts)), len(one.indices)),
        "concept": over.shown * len(one.indices),
        "mean": means.T.ravel(),
        "z": ((means - values.mean(axis=0)) / spread).T.ravel(),
        "n": np.tile(counts, len(one.indices)),
        "share": np.repeat(over.shares(one.values), len(counts)),
    }
    return pd.DataFrame(frame)


def clustered(scores: pd.DataFrame) -> list[int]:
    """Return the order of units, (unit, value), in which those that go alike stand side by side."""
    # It loads for half a second, and few who import this cluster.
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(scores) < 3:
        return list(range(len(scores)))
    tree = linkage(scores.to_numpy(float), "average", optimal_ordering=len(scores) <= _BEST_ORDER)
    return leaves_list(tree).tolist()


def draw_tuning(
    ax: Axes, scores: pd.DataFrame, labels: Any, *, signal: str, z_score: bool = True, cmap: Any = None
) -> None:
    """Draw a map of units by values, and what its colours mean.

    Args:
        ax: where to draw.
        scores: a row a unit, in the order of rows, a column a value.
        labels: the names of the values.
        signal: what was recorded.
        z_score: whether the numbers are standard deviations of the unit.
        cmap: a colour map, or its name, or None for our own.
    """
    values = scores.to_numpy(float)
    if z_score:
        given = unless_set("image.cmap", None) if cmap is None else cmap
        paint, norm = colour_map(given, SIGNS), Normalize(-FULL, FULL)
    else:
        paint, norm = scale_of(signal, values, cmap)
    paint_cells(ax, values, paint, norm)
    name_rows(ax, list(map(str, scores.index)))
    ax.set_title(words(signal), parse_math=False)
    ax.set_ylabel("unit")
    name_across(ax, list(map(str, labels)))
    say_scale(ax, norm, label="mean, in SD of the unit" if z_score else "mean")
