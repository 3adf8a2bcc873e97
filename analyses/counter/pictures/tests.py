"""How well cells are read in two ways, and what cells do in networks that answer at every step."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.legends import legend_above
from probe.plots.style import ROLE_STYLE, new_figure

#: Two ways to read the ones off a cell, with where each was measured.
READINGS = {
    "one formula for\nall steps": ("one_cell", "best_read"),
    "a formula and a cell\nfor each of steps 7 to 10": ("single_units", "mean_monotone_accuracy"),
}
BEFORE_AND_AFTER = {"own initialisation": "before training", "trained": "after training"}


def readings(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw how well the best cell tells the ones before and after training, by who reads it."""
    found = []
    for reading, (question, metric) in READINGS.items():
        rows = only(tables[question], metric=metric)
        rows = rows[rows["role"].isin(BEFORE_AND_AFTER) & rows["network"].str.startswith("counter/")]
        found.append(rows[["role", "network", "value"]].assign(reading=reading.replace("\n", " ")))
    data = pd.concat(found, ignore_index=True)
    medians = data.groupby(["reading", "role"], sort=False)["value"].median().unstack()
    spread = [
        f"{reading}: {row['own initialisation']:.2f} before, {row['trained']:.2f} after"
        for reading, row in medians.iterrows()
    ]
    return common.picture(
        lambda: _readings(data),
        name="readings",
        title="How well the ones are read from the best cell",
        alt=f"Dots, one a network, before and after training. Medians: {'; '.join(spread)}.",
        caption="A dot is a network, a bar a median.",
        data=data,
    )


def _readings(data: pd.DataFrame) -> Axes:
    ax = new_figure(height=2.2)[1][0, 0]
    for row, reading in enumerate(READINGS):
        for shift, role in zip((-0.19, 0.19), BEFORE_AND_AFTER, strict=True):
            own = data[(data["reading"] == reading.replace("\n", " ")) & (data["role"] == role)]["value"]
            common.strip(ax, own, role, at=row + shift)
    for role, called in BEFORE_AND_AFTER.items():
        ax.plot([], [], ROLE_STYLE[role].marker, color=ROLE_STYLE[role].color, label=called)
    ax.set_yticks(range(len(READINGS)), [*READINGS])
    ax.set(xlabel="share of prefixes read right", xlim=(0, 1.02), ylim=(len(READINGS) - 0.5, -0.5))
    legend_above(ax)
    return ax


def said(compared: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what networks do that answer at every step."""
    passed = only(compared["one_cell"], metric="all_tests", kind="ones")
    passed = passed[passed["network"].str.startswith("every-step/")].groupby("network")["value"].max()
    have = f"{passed.sum():.0f} have" if passed.any() else "none has"
    said = f"Of {len(passed)} networks trained to answer after every bit {have} a cell that passes all five."
    return {"every_step": said}
