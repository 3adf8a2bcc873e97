"""Cells against the count: the best cell of three networks, all twelve of them, and the best of two hundred."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS
from analyses.counter.pictures.shown import CALLED, Three
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.style import ROLE_STYLE, STEPS, colours, new_figure
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
                caption="The best cell against the ones read so far. Each line is one number of bits read.",
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
                caption="Each dot is a string read so far, coloured by its number of bits.",
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


def strips(tables: Mapping[str, pd.DataFrame]) -> list[DataFigure]:
    """Draw how well the best cell is read before and after training, a dot a network."""
    rows = only(tables["one_cell"], metric="best_read")
    data = rows[rows["role"].isin(["own initialisation", "trained"]) & (rows["pair"] != "")]
    data = data[data["network"].str.startswith("counter/")][["role", "network", "pair", "value"]]
    medians = data.groupby("role")["value"].median()
    counts = (data["value"] >= BOUNDS["read"]).groupby(data["role"]).sum()
    said = "; ".join(
        f"{CALLED[role].lower()} {medians[role]:.2f}, {counts[role]} networks above" for role in medians.index
    )
    return [
        common.picture(
            lambda: _strip(data, BOUNDS["read"]),
            name="best_read",
            title="One formula for the ones, off the best cell",
            alt=f"Two strips of dots, one a network. Median share of prefixes that are read: {said} "
            f"{BOUNDS['read']:g}.",
            caption="Each dot is one of 100 networks: the share of prefixes on which one map for all steps reads the "
            "ones off its best cell. Right of the line the test is passed.",
            data=data,
        )
    ]


def _strip(data: pd.DataFrame, bound: float) -> Axes:
    ax = new_figure(width=3.6, height=2.2)[1][0, 0]
    rng = np.random.default_rng(0)
    for y, role in enumerate(("trained", "own initialisation")):
        values = data[data["role"] == role]["value"].to_numpy()
        look = ROLE_STYLE[role]
        places = y + rng.uniform(-0.25, 0.25, len(values))
        ax.plot(values, places, look.marker, color=look.color, markersize=3.5, rasterized=True)
        ax.text(0.02, y + 0.42, CALLED[role].lower(), transform=ax.get_yaxis_transform(), va="center")
    ax.axvline(bound, color="black", linewidth=1, linestyle="--")
    ax.set(xlabel="prefixes on which the ones are read", ylim=(-0.5, 1.7), yticks=[])
    ax.spines["left"].set_visible(False)
    return ax
