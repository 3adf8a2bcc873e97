"""Where a count lives: the mean state of each count, from bit to bit, in the two directions of largest variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.one_cell import Cells
from analyses.counter.pictures.shown import CALLED, Three
from probe.evidence import DataFigure
from probe.plots.style import GREY, SMALL, STEPS, colours, new_figure

BITS = common.STRINGS.shape[1]
#: One picture with ten steps in it weighs more than one of them.
BYTES = 80_000


def lattice(cells: Cells) -> tuple[pd.DataFrame, float]:
    """Return a network's 66 mean cell states in two directions, and how much of the variance they have.

    The columns are bits, ones, x and y; the directions are those of largest variance of the 66 means.
    """
    frame = pd.DataFrame(cells.values)
    frame["bits"], frame["ones"] = cells.bits, cells.ones
    mean = frame.groupby(["bits", "ones"]).mean()
    start = pd.DataFrame([np.zeros(mean.shape[1])], index=pd.MultiIndex.from_tuples([(0, 0)], names=mean.index.names))
    every = pd.concat([start.set_axis(mean.columns, axis=1), mean])
    centred = every.to_numpy() - every.to_numpy().mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    # Up is more ones after ten bits, and to the right is more bits: the signs of directions are arbitrary.
    placed = centred @ axes[:2].T
    data = every.index.to_frame(index=False).assign(x=placed[:, 0], y=placed[:, 1])
    last = data[data["bits"] == BITS]
    for axis in ("x", "y"):
        data[axis] *= np.sign(np.cov(last["ones"], last[axis])[0, 1]) or 1
    return data, float((sizes[:2] ** 2).sum() / (sizes**2).sum())


def staircase(three: Three) -> DataFigure:
    """Draw the lattice after and before training, and each number of bits read as a step of its own (`at-N`)."""
    (data, share), (before, untrained) = (lattice(three.cells(one)) for one in (three.trained, three.untrained))
    both = {f"{CALLED['trained']}: {share:.0%}": data, f"{CALLED['own initialisation']}: {untrained:.0%}": before}
    return common.picture(
        lambda: _draw(both),
        name="space",
        title="Where the network keeps each count",
        alt=f"After each number of bits up to {BITS} the mean states of the counts lie along a bent line, in the "
        f"order of the count; the plane holds {share:.0%} of their variance, and {untrained:.0%} before training.",
        caption="A dot is the mean over all strings with that many ones; grey: the same count. In percent: the "
        "variance of the means in this plane.",
        data=pd.concat(both, names=["network"]).reset_index(level=0),
        max_bytes=BYTES,
    )


def _draw(both: Mapping[str, pd.DataFrame]) -> Axes:
    _, axes = new_figure(len(both), height=3.4)
    for ax, (called, data) in zip(axes[0], both.items(), strict=True):
        _lattice(ax, data)
        ax.set_title(called)
        ax.set(xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    return axes[0, 0]


def _lattice(ax: Axes, data: pd.DataFrame) -> None:
    for _, own in data.groupby("ones"):
        ax.plot(own["x"], own["y"], "o-", color=GREY, linewidth=0.8, markersize=2, zorder=1)
    centre = data[["x", "y"]].mean().to_numpy()
    for bits, color in enumerate(colours(BITS, STEPS), start=1):
        now, gid = data[data["bits"] == bits], f"at-{bits}"
        ax.plot(now["x"], now["y"], "o-", color=color, markersize=5, linewidth=1.6, zorder=3, gid=f"{gid}-line")
        places = now[["x", "y"]].to_numpy()
        along = np.gradient(places, axis=0) if len(places) > 1 else np.ones((1, 2))
        for (ones, x, y), (across, up) in zip(now[["ones", "x", "y"]].itertuples(index=False), along, strict=True):
            # Beside the line, away from the middle.
            away = np.array([-up, across]) * (np.sign(np.dot([-up, across], np.array([x, y]) - centre)) or 1)
            away = 9 * away / max(float(np.linalg.norm(away)), 1e-9)
            place: Any = {"xytext": tuple(away), "textcoords": "offset points", "ha": "center", "va": "center"}
            ax.annotate(f"{ones:.0f}", (x, y), **place, fontsize=SMALL, gid=f"{gid}-{ones:.0f}")
