"""How often the gates of a layer are saturated, a dot a unit."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..arguments import NAMES, checked_arguments
from ..errors import ProbeError, unknown
from ..recurrent.signals import Units
from .recorded import Layer, chosen, layer_of, words
from .style import GREY, WIDEST, drawn, inks, panels, unless_set

#: A gate is saturated below the first and above the second of these.
CLOSED, OPEN = 0.1, 0.9


@checked_arguments(gates=NAMES)
def saturation(
    recording: Any,
    *,
    gates: Any = None,
    units: Units = None,
    layer: str | None = None,
    size: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw how often each unit's gates are nearly open and nearly closed: a panel a gate, a dot a unit.

    The share of values above 0.9 (right-saturated) lies across, the share below 0.1 (left-saturated) upwards, over
    all sequences and steps without padding. On the line a gate is always one of both.

    Args:
        recording: a Recording, or an xarray object with the dims (batch, time, unit).
        gates: the names of the gates, or one name; None draws all that were recorded.
        units: which units, or None for all.
        layer: the layer's name; it may be left out where there is one.
        size: inches of a new figure, (width, height), or None.
        title: stands in place of the gate's name, or above the panels.
        ax: where to draw a single gate, or None for a new figure.

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
    look: dict[str, Any] = {"color": inks(1)[0], "markersize": unless_set("lines.markersize", 5.0)}
    room: dict[str, Any] = {"width": WIDEST, "height": 2.7} if across > 1 else {"width": 4.2, "height": 3.8}
    shared: dict[str, Any] = {"columns": across, "sharex": True, "sharey": True, **room}
    with panels(len(shown), ax=ax, size=size, title=title, **shared) as axes:
        for panel, one in zip(axes, shown, strict=True):
            values = one.values[one.real]
            panel.plot([0, 1], [1, 0], color=GREY, linewidth=1, linestyle="--", zorder=1)
            opened, closed = (values > OPEN).mean(axis=0), (values < CLOSED).mean(axis=0)
            panel.plot(opened, closed, "o", alpha=0.8, zorder=2, **look)
            panel.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", title=words(one.signal))
            panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            panel.set_xlabel("share above 0.9")
        for first in axes[::across]:
            first.set_ylabel("share below 0.1")
    return drawn(axes)


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
