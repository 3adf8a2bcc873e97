"""The plot of what is left of a change, by the steps since a state was replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..arguments import checked_arguments
from ..errors import ProbeError
from .legends import LINES, legend_inside
from .style import GREY, VALUES, colours, inks, panels, unless_set

if TYPE_CHECKING:
    from ..influence.memory import Memory

#: How lines of controls are told apart.
DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2)))
#: Steps are shown as long as a line is above this part of its highest value.
_SHOWN = 0.01


@checked_arguments()
def memory(found: Memory, *, size: Any = None, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw how far answers lie from the clean run's, by the steps since the state was replaced.

    Lines are medians over rows and places, of controls too; the band holds the middle half of a single line without
    controls, and the dotted line stands where its difference has halved.

    Args:
        found: what `probe.memory` returned.
        size: inches of a new figure, (width, height), or None.
        title: of the panel, or None for none.
        ax: where to draw, or None for a new figure.

    Raises:
        ProbeError: it is nothing of that kind, or has more than 32 lines.
    """
    groups: dict[str, Any] = dict(getattr(found, "groups", {}))
    if not groups:
        raise ProbeError(f"This plot draws what probe.memory returned; it was given a {type(found).__name__}.")
    own = {name: next(iter(other.groups.values())) for name, other in found.controls.items()}
    if len(groups) + len(own) > LINES:
        raise ProbeError(f"{len(groups) + len(own)} lines cannot be told apart; at most {LINES} can. Choose units=.")
    looks: list[dict[str, Any]] = [
        {"color": colour} for colour in (inks(1) if len(groups) == 1 else colours(len(groups), VALUES))
    ]
    looks += [{"color": GREY, "linestyle": DASHES[number % len(DASHES)]} for number in range(len(own))]
    curves = [_curves(lags) for lags in (*groups.values(), *own.values())]
    most = 1 + max(1, *(int((middle > _SHOWN * middle.max()).nonzero()[0].max(initial=0)) for _, middle, _ in curves))
    with panels(1, ax=ax, size=size, title=title, height=3.6) as (panel,):
        lines, width = list[Any](), unless_set("lines.linewidth", 1.8)
        for (low, middle, high), look in zip(curves, looks, strict=True):
            at = np.arange(len(middle))[: most + 1]
            lines += panel.plot(at, middle[at], linewidth=width, **look)
            if len(looks) == 1:
                panel.fill_between(at, low[at], high[at], alpha=0.2, linewidth=0, **look)
        half = next(iter(groups.values())).quantile(0.5, "half") + 1
        if len(looks) == 1 and half <= most:
            panel.axvline(half, color=GREY, linestyle=":", linewidth=1.2)
        panel.set_xlim(0, most)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylim(0, None)
        panel.set_xlabel("steps since the state was replaced")
        panel.set_ylabel("difference of the answer")
        if len(looks) > 1:
            _ = legend_inside(panel, lines, [*groups, *own])
    return panel


def _curves(lags: Any) -> np.ndarray:
    """Return the quartiles of differences by lag, (quartile, lag)."""
    flat = lags.differences.reshape(-1, lags.differences.shape[2])
    return np.nanquantile(flat[:, ~np.isnan(flat).all(0)], [0.25, 0.5, 0.75], axis=0)
