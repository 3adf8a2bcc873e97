"""The plot of what is left of a change, by the steps since a state was replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..errors import ProbeError
from .keywords import plot_arguments
from .legends import LINES, legend_inside
from .panels import drawn, panels
from .style import GREY, VALUES, colours, inks, palette_colours, unless_set

if TYPE_CHECKING:
    from ..influence.memory import Memory

#: How lines of controls are told apart.
DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2)))
#: Steps are shown as long as a line is above this part of its highest value.
_SHOWN = 0.01


@plot_arguments()
def memory(
    found: Memory, *, figsize: Any = None, title: str | None = None, palette: Any = None, ax: Any = None
) -> Axes:
    """Draw how far answers lie from the clean run's, by the steps since the state was replaced.

    Lines are medians over rows and places, of controls too; the band holds the middle half of a single line without
    controls, and the dotted line stands where its difference has halved. `probe.plots.table` of what comes back has
    the columns line, lag, low, median and high.

    Args:
        found: what `probe.memory` returned.
        figsize: inches of a new figure, (width, height), or None.
        title: of the panel, or None for none.
        palette: the colours of the lines, as in seaborn: a name, a colour map, a list or a dict; controls are grey.
        ax: where to draw, or None for a new figure of pyplot's.

    Raises:
        ProbeError: it is nothing of that kind, or has more than 32 lines.
    """
    groups: dict[str, Any] = dict(getattr(found, "groups", {}))
    if not groups:
        raise ProbeError(f"This plot draws what probe.memory returned; it was given a {type(found).__name__}.")
    own = {name: next(iter(other.groups.values())) for name, other in found.controls.items()}
    if len(groups) + len(own) > LINES:
        raise ProbeError(f"{len(groups) + len(own)} lines cannot be told apart; at most {LINES} can. Choose units=.")
    names = list(groups)
    inks_of = palette_colours(palette, names, inks(1) if len(names) == 1 else colours(len(names), VALUES))
    looks: list[dict[str, Any]] = [{"color": colour} for colour in inks_of]
    looks += [{"color": GREY, "linestyle": DASHES[number % len(DASHES)]} for number in range(len(own))]
    curves = [_quartiles(name, lags) for name, lags in (*groups.items(), *own.items())]
    most = max(map(_shown_until, curves))
    with panels(1, ax=ax, figsize=figsize, title=title, height=3.6) as axes:
        panel, lines, width = axes[0], list[Any](), unless_set("lines.linewidth", 1.8)
        for curve, look in zip(curves, looks, strict=True):
            rows = curve[: most + 1]
            lines += panel.plot(rows["lag"], rows["median"], linewidth=width, **look)
            if len(looks) == 1:
                panel.fill_between(rows["lag"], rows["low"], rows["high"], alpha=0.2, linewidth=0, **look)
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
    return drawn(axes, pd.concat(curves, ignore_index=True))


def _quartiles(name: str, lags: Any) -> pd.DataFrame:
    """Return the quartiles of a line's differences, a row for each number of steps since the state was replaced."""
    flat = lags.differences.reshape(-1, lags.differences.shape[2])
    low, median, high = np.nanquantile(flat[:, ~np.isnan(flat).all(0)], [0.25, 0.5, 0.75], axis=0)
    return pd.DataFrame({"line": name, "lag": range(len(median)), "low": low, "median": median, "high": high})


def _shown_until(curve: pd.DataFrame) -> int:
    """Return the number of steps after which a line has come down."""
    high = curve["lag"][curve["median"] > _SHOWN * curve["median"].max()]
    return 1 + max(1, int(high.max()) if len(high) else 0)
