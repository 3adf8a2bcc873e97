"""All units against a concept: the mean activity of each at each value, units that go alike side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ..arguments import FLAG
from ..recurrent.signals import Units
from .concepts import levels
from .keywords import plot_arguments
from .panels import drawn, panels
from .recorded import chosen, words
from .sequences import SHORT, name_across, name_rows, paint_cells, say_scale, scale_of
from .style import SIGNS, TALLEST, WIDEST, colour_map, set_map

#: Standard deviations of a unit at which a colour is full: a unit that holds the concept reaches about so much.
FULL = 2.0
#: Of more units than these the order is a clustering's own, and not the best of those that it allows.
_BEST_ORDER = 1_024
#: Inches that a row and a column of the map have where there is room.
_ROW, _COLUMN = 0.19, 0.36


@plot_arguments(z_score=FLAG)
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
    here = over.codes >= 0
    table = tuned(one.values[here], over.codes[here], len(over.values))
    shown = spread_out(table, "z" if z_score else "mean", one.indices)
    if units is None:
        shown = shown.iloc[clustered(spread_out(table, "z", one.indices))]
    width, height = map_size(len(shown), over.labels)
    with panels(1, ax=ax, figsize=figsize, title=title, width=width, height=height) as axes:
        draw_tuning(axes[0], shown, over.labels, signal=one.signal, z_score=z_score, cmap=cmap)
        axes[0].set_xlabel(over.title, parse_math=False)
    named = {"unit": [one.indices[unit] for unit in table["unit"]], "concept": over.shown * len(one.indices)}
    return drawn(axes, table.assign(**named)[["unit", "concept", "mean", "z", "n", "share"]])


def map_size(rows: int, labels: Sequence[str]) -> tuple[float, float]:
    """Return the inches of a figure in which so many rows have room above the names of columns."""
    longest = max(map(len, labels))
    aslant = 0.055 * longest if longest > SHORT else 0.0
    height = max(1.2 + aslant + _ROW * rows, 2.4 + aslant)
    return min(max(2.2 + _COLUMN * len(labels), 3.8), WIDEST), min(height, TALLEST)


def tuned(states: np.ndarray, codes: np.ndarray, count: int) -> pd.DataFrame:
    """Return the mean of each unit at each value of a concept, a row each.

    Args:
        states: (state, unit).
        codes: which value each state has, (state,), from 0.
        count: of values.

    Returns:
        unit: its number; place: of the value; mean; z: in standard deviations of the unit from its own mean; n: of
        states; share: of the unit's variance, how much lies between values.
    """
    which = codes == np.arange(count)[:, None]
    counts, (size, units) = which.sum(axis=1), states.shape
    means = np.divide(which @ states, counts[:, None], out=np.full((count, units), np.nan), where=counts[:, None] > 0)
    # What is left of a unit that does not move is rounding.
    spread = np.where(np.ptp(states, axis=0) > 0, states.std(axis=0), np.inf)
    z = (means - states.mean(axis=0)) / spread
    share = np.nansum(counts[:, None] * z**2, axis=0) / size
    frame = {
        "unit": np.repeat(np.arange(units), count),
        "place": np.tile(np.arange(count), units),
        "mean": means.T.ravel(),
        "z": z.T.ravel(),
        "n": np.tile(counts, units),
        "share": np.repeat(share, count),
    }
    return pd.DataFrame(frame)


def spread_out(table: pd.DataFrame, column: str, names: Sequence[Any]) -> pd.DataFrame:
    """Return a column of a table of `tuned` as a map: a row a unit, by its name, a column a value."""
    shown = table.pivot(index="unit", columns="place", values=column)
    return shown.set_axis(list(names), axis="index")


def clustered(scores: pd.DataFrame) -> list[int]:
    """Return the order of units, (unit, value), in which those that go alike stand side by side."""
    # It loads for half a second, and few who import this cluster.
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(scores) < 3:
        return list(range(len(scores)))
    tree = linkage(np.nan_to_num(scores.to_numpy(float)), "average", optimal_ordering=len(scores) <= _BEST_ORDER)
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
        given = set_map() if cmap is None else cmap
        paint, norm = colour_map(given, SIGNS), Normalize(-FULL, FULL)
    else:
        paint, norm = scale_of(signal, values, cmap)
    paint_cells(ax, values, paint, norm)
    name_rows(ax, list(map(str, scores.index)))
    ax.set_title(words(signal), parse_math=False)
    ax.set_ylabel("unit")
    name_across(ax, list(map(str, labels)))
    beyond = bool(z_score and np.nanmax(np.abs(values), initial=0.0) > FULL)
    say_scale(ax, norm, beyond=beyond, label="mean, in SD\nof the unit" if z_score else "mean")
