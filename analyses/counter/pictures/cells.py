"""Cells against the count: the best cell of three networks, and all twelve of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.pictures.shown import CALLED, Three
from probe.evidence import DataFigure
from probe.plots.style import STEPS, colours, new_figure
from probe.subjects.subject import Subject

#: After how many bits a line of the best cell is named at its end.
NAMED = (4, 7, 10)
PANEL = 3.4
#: What a grid of all cells may weigh: three of them stand on one page.
GRID_BYTES = 18_000
BITS = common.STRINGS.shape[1]
LAST = 10


def means(three: Three, subject: Subject, unit: int) -> pd.DataFrame:
    """Return a cell's mean for each number of bits read and of ones among them: columns bits, ones, cell."""
    cells = three.cells(subject)
    frame = pd.DataFrame({"bits": cells.bits, "ones": cells.ones, "cell": cells.values[:, unit]})
    return frame.groupby(["bits", "ones"])["cell"].mean().reset_index()


def hero(three: Three) -> list[DataFigure]:
    """Draw the best cell of each of the three networks against the ones read so far, a line for each length."""
    found = []
    for subject in three:
        role, unit = subject.network.role, three.best[subject.network.role]
        data = means(three, subject, unit)
        found.append(
            common.picture(
                lambda data=data, unit=unit, role=role: _lines(data, unit, role),
                name=f"hero_{role.replace(' ', '_')}",
                title=CALLED[role],
                alt=f"{CALLED[role]}: the mean of cell {unit} against the ones read so far, a line for each of 1 to "
                f"{BITS} bits. {_spread(data)}",
                caption="",
                data=data,
            )
        )
    return found


def _spread(data: pd.DataFrame) -> str:
    """Return how far the lines are apart, in words: at two ones, over the whole range of the cell."""
    at = data[data["ones"] == 2]["cell"]
    reach = data["cell"].max() - data["cell"].min()
    return f"At two ones the lines are up to {(at.max() - at.min()) / reach:.0%} of the cell's range apart."


def _lines(data: pd.DataFrame, unit: int, role: str) -> Axes:
    ax = new_figure(width=PANEL, height=3.0)[1][0, 0]
    for (bits, own), color in zip(data.groupby("bits"), colours(BITS, STEPS), strict=True):
        ax.plot(own["ones"], own["cell"], "o-", color=color, markersize=3.5, linewidth=1.6)
        if role == "trained" and bits in NAMED:
            end = own.iloc[-1]
            ax.text(end["ones"] + 0.35, end["cell"], f"{bits} bits", va="center", fontsize=10)
    ax.set(xlabel="ones read so far", ylabel=f"cell {unit}", xlim=(-0.4, LAST + (3.2 if role == "trained" else 0.4)))
    ax.set_xticks(range(0, LAST + 1, 2))
    return ax


def every_cell(three: Three) -> list[DataFigure]:
    """Draw all cells of each of the three networks against the ones read so far, a dot a prefix."""
    found = []
    for subject in three:
        role, cells = subject.network.role, three.cells(subject)
        r = [abs(np.corrcoef(cells.ones, column)[0, 1]) for column in cells.values.T]
        order = np.argsort(r)[::-1]
        data = pd.DataFrame(cells.values, columns=[f"cell {unit}" for unit in range(cells.values.shape[1])])
        data.insert(0, "ones", cells.ones)
        data.insert(0, "bits", cells.bits)
        found.append(
            common.picture(
                lambda data=data, order=order, r=r: _grid(data, order, r),
                name=f"cells_{role.replace(' ', '_')}",
                title=CALLED[role],
                alt=f"{CALLED[role]}: all {len(r)} cells against the ones read so far, a dot for each of {len(data)} "
                f"prefixes. The largest correlation is {max(r):.2f}, in cell {order[0]}.",
                caption="",
                data=data.groupby(["bits", "ones"], as_index=False).mean().round(3),
                max_bytes=GRID_BYTES,
            )
        )
    return found


def _grid(data: pd.DataFrame, order: np.ndarray, r: list[float]) -> Axes:
    columns = 3
    figure, axes = new_figure(columns, -(-len(order) // columns), width=PANEL, height=0.95)
    colors = np.array(colours(BITS, STEPS))[data["bits"].to_numpy() - 1]
    for place, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if place < len(order):
            unit = order[place]
            jitter = (data["bits"].to_numpy() - 5.5) / 15
            ax.scatter(data["ones"] + jitter, data[f"cell {unit}"], s=2, c=colors, rasterized=True)
            ax.set_title(f"{unit}: r {r[unit]:.2f}", fontsize=10, pad=2)
    figure.supxlabel("ones read so far", fontsize=10)
    return axes[0, 0]
