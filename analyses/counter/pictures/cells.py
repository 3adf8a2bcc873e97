"""The best cell of three networks: the ones that it says, against the ones read so far."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.pictures.shown import CALLED, Three
from probe.evidence import DataFigure
from probe.methods.probing.monotone import monotone_predictions
from probe.plots.style import SMALL, STEPS, colours, new_figure
from probe.subjects.subject import Subject

PANEL = 3.4
#: After how many bits a line of the best cell is named at its end.
NAMED = (4, 7, 10)
BITS = common.STRINGS.shape[1]
LAST = 10


def told(three: Three, subject: Subject, unit: int) -> pd.DataFrame:
    """Return the ones that a cell says by one map, a mean for each number of bits and of ones among them.

    The map is the one that the first test of a cell fits, on all prefixes; the columns are bits, ones and said.
    """
    cells = three.cells(subject)
    column = cells.values[:, [unit]]
    said = monotone_predictions(column, cells.ones.astype(float), cells.weight, column)[:, 0]
    frame = pd.DataFrame({"bits": cells.bits, "ones": cells.ones, "said": said})
    return frame.groupby(["bits", "ones"])["said"].mean().reset_index()


def hero(three: Three) -> list[DataFigure]:
    """Draw the ones that the best cell of each of the three networks says, a line for each length."""
    found = []
    for subject in three:
        role, unit = subject.network.role, three.best[subject.network.role]
        data = told(three, subject, unit)
        apart = data[data["ones"] == 2]["said"]
        found.append(
            common.picture(
                lambda data=data, role=role: _lines(data, role),
                name=f"hero_{role.replace(' ', '_')}",
                title=f"{CALLED[role]}: cell {unit}",
                alt=f"{CALLED[role]}: the ones that cell {unit} says by one map, against the ones read so far, a "
                f"line for each of 1 to {BITS} bits. Where two ones were read it says {apart.min():.1f} to "
                f"{apart.max():.1f}.",
                caption="",
                data=data,
            )
        )
    return found


def _lines(data: pd.DataFrame, role: str) -> Axes:
    ax = new_figure(width=PANEL, height=2.7)[1][0, 0]
    ax.plot([0, LAST], [0, LAST], color="black", linestyle="--", linewidth=1, zorder=0)
    for (bits, own), color in zip(data.groupby("bits"), colours(BITS, STEPS), strict=True):
        ax.plot(own["ones"], own["said"], "o-", color=color, markersize=3.5, linewidth=1.6)
        if role == "trained" and bits in NAMED:
            end = own.iloc[-1]
            ax.text(end["ones"] + 0.35, end["said"], f"{bits} bits", va="center", fontsize=SMALL)
    ax.set(xlabel="ones read so far", xlim=(-0.4, LAST + (3.2 if role == "trained" else 0.4)), ylim=(-0.4, 10.4))
    ax.set_ylabel("ones that the cell says")
    ax.set_xticks(range(0, LAST + 1, 2))
    ax.set_yticks(range(0, LAST + 1, 2))
    return ax
