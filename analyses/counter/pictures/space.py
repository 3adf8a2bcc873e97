"""Where a count lives: the mean state of each count, from bit to bit, in the two directions of largest variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.one_cell import Cells
from analyses.counter.pictures.shown import Three
from probe.evidence import DataFigure
from probe.plots.style import GREY, STEPS, colours, new_figure

BITS = common.STRINGS.shape[1]
#: One picture with ten steps in it weighs more than one of them.
BYTES = 40_000


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
    """Draw the lattice, and over it the states of each number of bits read, as a step of its own (`at-N`)."""
    data, share = lattice(three.cells(three.trained))
    return common.picture(
        lambda: _draw(data),
        name="space",
        title="Where the trained network keeps each count",
        alt=f"After each number of bits up to {BITS} the mean states of the counts lie along a bent line, in the "
        f"order of the count; the plane holds {share:.0%} of the variance.",
        caption="Each dot is the mean of the cells over all strings with so many ones; grey lines join the same "
        "count.",
        data=data,
        max_bytes=BYTES,
    )


def _draw(data: pd.DataFrame) -> Axes:
    ax = new_figure(width=4.4, height=3.9)[1][0, 0]
    for _, own in data.groupby("ones"):
        ax.plot(own["x"], own["y"], "o-", color=GREY, linewidth=0.8, markersize=2, zorder=1)
    centre = data[["x", "y"]].mean().to_numpy()
    for bits, color in enumerate(colours(BITS, STEPS), start=1):
        now, gid = data[data["bits"] == bits], f"at-{bits}"
        ax.plot(now["x"], now["y"], "o-", color=color, markersize=6, linewidth=1.6, zorder=3, gid=f"{gid}-line")
        for ones, x, y in now[["ones", "x", "y"]].itertuples(index=False):
            away = np.array([x, y]) - centre
            away = 9 * away / max(float(np.linalg.norm(away)), 1e-9)
            place: Any = {"xytext": tuple(away), "textcoords": "offset points", "ha": "center", "va": "center"}
            ax.annotate(f"{ones:.0f}", (x, y), **place, fontsize=10, gid=f"{gid}-{ones:.0f}")
    ax.set(xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    return ax


def said(three: Three) -> dict[str, str]:
    """Return how much of the variance the plane holds, and that of the network before training."""
    (_, share), (_, before) = (lattice(three.cells(one)) for one in (three.trained, three.untrained))
    return {
        "space": f"A plane has {share:.0%} of what varies in this network's mean states, and had {before:.0%} before "
        "training."
    }
