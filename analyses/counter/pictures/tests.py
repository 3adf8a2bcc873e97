"""The five tests of a cell as bars, and how well cells are read in four ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS, kind_of
from probe.evidence import DataFigure
from probe.evidence.claims import STRONGEST
from probe.evidence.measurements import FITTED_HEADS, only
from probe.plots.legends import legend_above
from probe.plots.style import IN_INK, ROLE_STYLE, new_figure

#: What each test asks, in the words of the page.
ASKED = {
    "read": "one formula gives the\nones after every bit",
    "lasts": "the formula holds\nat 11 and 12 bits",
    "carries": "half of a count's effect\nis in this cell",
    "moves": "put in alone, it moves\nhalf of the answers",
    "suffices": "kept alone, half of the\nanswers stay right",
}
ALL = "one cell passes all"
SHOWN = {
    "planted": "written by hand",
    "own initialisation": "before training",
    STRONGEST: "any of five heads",
    "trained": "after training",
}


def passing(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the share of networks with a cell that passes each test, by role; of five heads any may have it."""
    rows = only(tables["one_cell"], metric="cell_test")
    whole = only(tables["one_cell"], metric="all_tests", kind="ones").assign(kind=ALL)
    rows = pd.concat([rows, whole])
    rows = rows[rows["network"].str.startswith("counter/") | (rows["network"] == "planted/ones")]
    rows = rows.assign(role=rows["role"].where(~rows["role"].isin(FITTED_HEADS), STRONGEST))
    best = rows.groupby(["role", "pair", "kind"])["value"].max().reset_index()
    tests = {kind_of(test, "ones"): (ASKED[test], bound) for test, bound in BOUNDS.items()} | {ALL: (ALL, 1.0)}
    found = []
    for (role, kind), own in best[best["kind"].isin(tests)].groupby(["role", "kind"]):
        said, bound = tests[str(kind)]
        found.append({"test": said, "role": role, "networks": len(own), "share": (own["value"] >= bound).mean()})
    return pd.DataFrame(found)


def bars(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw in how many networks some cell passes each of the five tests."""
    data = passing(tables)
    whole = data[data["test"] == ALL].set_index("role")["share"]
    return common.picture(
        lambda: _bars(data),
        name="tests",
        title="Networks in which some cell passes",
        alt="Bars for five tests and for all of them by one cell. All: "
        + ", ".join(f"{role} {share:.0%}" for role, share in whole.items())
        + ".",
        caption="Untrained weights pass if a cell does with any of five fitted heads.",
        data=data,
    )


def _bars(data: pd.DataFrame) -> Axes:
    names = [*ASKED.values(), ALL]
    ax = new_figure(height=3.9)[1][0, 0]
    step = 0.7 / len(SHOWN)
    for place, (role, called) in enumerate(SHOWN.items()):
        own = data[data["role"] == role].set_index("test")["share"].reindex(names)
        y = pd.Series(np.arange(len(names)) + step * (place - (len(SHOWN) - 1) / 2), names)
        # The strongest of several heads is none of their roles.
        look, own = ROLE_STYLE.get(role, IN_INK[3]), own.dropna()
        ax.plot(100 * own, y[own.index], look.marker, color=look.color, markersize=7, label=called)
        ax.hlines(y[own.index], 0, 100 * own, color=look.color, linewidth=1.4)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="networks, %", xlim=(-3, 104), ylim=(len(names) - 0.45, -0.55))
    legend_above(ax, most=4)
    return ax


#: Four ways to read the ones off a cell, with where each was measured.
READINGS = {
    "one formula for\nall steps": ("one_cell", "best_read"),
    "one formula, with a\nzero that may move": ("moving_zero", "best_shifted_read"),
    "a formula for each\nof steps 7 to 10": ("moving_zero", "best_stepwise_read"),
    "a formula and a cell\nfor each of these": ("single_units", "mean_monotone_accuracy"),
}
#: Up to what a network adds for a missing bit it counts the ones.
SMALL = 0.1
BEFORE_AND_AFTER = ("own initialisation", "trained")


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
        caption="A dot is a network, a bar a median. Lower rows: 7 to 10 bits only; the third on the strings used to "
        "pick its cell.",
        data=data,
    )


def _readings(data: pd.DataFrame) -> Axes:
    ax = new_figure(height=3.2)[1][0, 0]
    for row, reading in enumerate(READINGS):
        for shift, role in zip((-0.19, 0.19), BEFORE_AND_AFTER, strict=True):
            own = data[(data["reading"] == reading.replace("\n", " ")) & (data["role"] == role)]["value"]
            common.strip(ax, own, role, at=row + shift)
    for role in BEFORE_AND_AFTER:
        ax.plot([], [], ROLE_STYLE[role].marker, color=ROLE_STYLE[role].color, label=SHOWN[role])
    ax.set_yticks(range(len(READINGS)), [*READINGS])
    ax.set(xlabel="share of prefixes read right", xlim=(0, 1.02), ylim=(len(READINGS) - 0.5, -0.5))
    legend_above(ax)
    return ax


def said(compared: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what networks do that answer at every step."""
    passed = only(compared["one_cell"], metric="all_tests", kind="ones")
    passed = passed[passed["network"].str.startswith("every-step/")]["value"]
    drift = only(compared["other_lengths"], metric="drift")
    drift = drift[drift["network"].str.startswith("every-step/")]["value"].median()
    counting = ", and that count at other lengths too," if drift < SMALL else ""
    have = f"{passed.sum():.0f}" if passed.any() else "none"
    return {"every_step": f"Networks that we trained to answer after every bit{counting} have {have}."}
