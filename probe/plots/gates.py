"""How often the gates of a layer are saturated, a dot a unit."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..arguments import NAMES
from ..errors import ProbeError, unknown
from ..recurrent.signals import Units
from .keywords import plot_arguments
from .panels import drawn, panels
from .recorded import Chosen, Layer, chosen, layer_of, words
from .style import GREY, WIDEST, inks, unless_set

#: A gate is saturated below the first and above the second of these.
CLOSED, OPEN = 0.1, 0.9
#: So much room is left beside shares of 0 and 1. Of more units than these the dots are small.
_EDGE, _FEW = 0.1, 32


@plot_arguments(gates=NAMES)
def saturation(
    recording: Any,
    *,
    gates: Any = None,
    units: Units = None,
    layer: str | None = None,
    figsize: Any = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes | Figure:
    """Draw how often each unit's gates are nearly open and nearly closed: a panel a gate, a dot a unit.

    The share of values above 0.9 (right-saturated) lies across, the share below 0.1 (left-saturated) upwards, over
    all sequences and steps without padding. On the line a gate is always one of both. `probe.plots.table` of what
    comes back has the columns gate, unit, above and below.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        gates: the names of the gates, or one name; None draws all that were recorded.
        units: which units, or None for all.
        layer: the layer's name; it may be left out where there is one.
        figsize: inches of a new figure, (width, height), or None.
        title: stands in place of the gate's name, or above the panels.
        ax: where to draw: axes, as many as there are gates, or a SubFigure; None for a new figure of pyplot's.

    Returns:
        The axes of a single gate, or the figure of several.

    Raises:
        ProbeError: the layer has no gates, or a name or a number does not exist.

    Reference:
        Karpathy, Johnson & Li 2015, Visualizing and understanding recurrent networks, figure 3.
    """
    found = layer_of(recording, layer, gates[0] if gates and len(gates) == 1 else None)
    names = _gates(found, gates)
    shown = [chosen(recording, layer=found.name, signal=name, units=units) for name in names]
    across = min(len(shown), 3)
    table = pd.concat([_shares(one) for one in shown], ignore_index=True)
    room: dict[str, Any] = {"width": WIDEST, "height": 2.7} if across > 1 else {"width": 4.2, "height": 3.8}
    shared: dict[str, Any] = {"columns": across, "sharex": True, "sharey": True, **room}
    with panels(len(shown), ax=ax, figsize=figsize, title=title, **shared) as axes:
        for panel, one in zip(axes, shown, strict=True):
            panel.plot([0, 1], [1, 0], color=GREY, linewidth=1, linestyle="--", zorder=1)
            _draw_dots(panel, table[table["gate"] == one.signal])
            panel.set_title(words(one.signal), parse_math=False)
            panel.set_xlabel("share above 0.9")
        for first in axes[::across]:
            first.set_ylabel("share below 0.1")
    return drawn(axes, table)


def _shares(one: Chosen) -> pd.DataFrame:
    """Return the shares of each unit of a gate, a row each."""
    values = one.values[one.real]
    shares = {"above": (values > OPEN).mean(axis=0), "below": (values < CLOSED).mean(axis=0)}
    return pd.DataFrame({"gate": one.signal, "unit": one.indices, **shares})


def _draw_dots(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw a dot a unit; those on an edge are whole, and stand apart from the axis."""
    few, many = (unless_set("lines.markersize", size) for size in (6.0, 3.5))
    look: dict[str, Any] = {"color": inks(1)[0], "markersize": few if len(rows) <= _FEW else many, "clip_on": False}
    ax.plot(rows["above"], rows["below"], "o", alpha=0.5, markeredgewidth=0, zorder=2, **look)
    ax.set(xlim=(-_EDGE, 1 + _EDGE), ylim=(-_EDGE, 1 + _EDGE), aspect="equal")
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _gates(layer: Layer, gates: Any) -> list[str]:
    """Return the names of the gates that are drawn."""
    known = [name for name in layer.signals if name.endswith("_gate")]
    if not known:
        raise ProbeError(
            f"The layer {layer.name!r} has no gate among its signals: {', '.join(layer.signals)}. Record the gates "
            "of a layer that has some, such as signals=['forget_gate'] of an LSTM."
        )
    names = known if gates is None else list(gates)
    if not names:
        raise ProbeError(f"gates={gates!r} names no gate; name one of {', '.join(map(repr, known))}.")
    for name in names:
        if name not in known:
            raise ProbeError(unknown("recorded gate", name, known))
    return names
