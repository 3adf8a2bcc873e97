"""The five tests of a cell as bars, and how well cells are read in four ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.one_cell import BOUNDS, kind_of
from probe.evidence import DataFigure
from probe.evidence.measurements import FITTED_HEADS, LINES, only
from probe.plots.style import ROLE_STYLE, new_figure

#: What each test asks, in the words of the page.
ASKED = {
    "read": "one formula gives the\nones after every bit",
    "lasts": "the formula holds\nat 11 and 12 bits",
    "carries": "half of a count's effect\nis in this cell",
    "moves": "put in alone, it moves\nhalf of the answers",
    "suffices": "kept alone, half of the\nanswers stay right",
}
ALL = "one cell passes all"


def passing(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the share of networks with a cell that passes each test, by role."""
    rows = only(tables["one_cell"], metric="cell_test")
    rows = rows[rows["network"].str.startswith("counter/") | (rows["network"] == "planted/ones")]
    best = rows.groupby(["role", "network", "kind"])["value"].max().reset_index()
    found = []
    for role, own in best.groupby("role"):
        for test, bound in BOUNDS.items():
            values = own[own["kind"] == kind_of(test, "ones")]["value"]
            if len(values):
                found.append(
                    {"test": ASKED[test], "role": role, "networks": len(values), "share": (values >= bound).mean()}
                )
        whole = only(tables["one_cell"], metric="all_tests", role=str(role), kind="ones")
        whole = whole[whole["network"].isin(own["network"])]["value"]
        if len(whole):
            found.append({"test": ALL, "role": role, "networks": len(whole), "share": whole.mean()})
    return pd.DataFrame(found)


def bars(tables: Mapping[str, pd.DataFrame]) -> DataFigure:
    """Draw in how many networks some cell passes each of the five tests."""
    data = passing(tables)
    whole = data[data["test"] == ALL].set_index("role")["share"]
    return common.picture(
        lambda: _bars(data),
        name="tests",
        title="In how many networks some cell passes each test",
        alt="Bars for five tests and for all of them by one cell. All: "
        + ", ".join(f"{role} {share:.0%}" for role, share in whole.items())
        + ".",
        caption="Below, one and the same cell passes all. Heads are fitted on random weights, scaled: on larger "
        "ones.",
        data=data,
    )


def _bars(data: pd.DataFrame) -> Axes:
    roles = [
        role for role in ("planted", "own initialisation", *FITTED_HEADS, "trained") if role in set(data["role"])
    ]
    names = [*ASKED.values(), ALL]
    ax = new_figure(width=3.8, height=4.6)[1][0, 0]
    step = 0.8 / len(roles)
    for place, role in enumerate(roles):
        own = data[data["role"] == role].set_index("test")["share"].reindex(names)
        y = pd.Series(np.arange(len(names)) + step * (place - (len(roles) - 1) / 2), names)
        look, own = ROLE_STYLE[role], own.dropna()
        ax.plot(100 * own, y[own.index], look.marker, color=look.color, markersize=6, label=role)
        ax.hlines(y[own.index], 0, 100 * own, color=look.color, linewidth=1.4)
    ax.set_yticks(range(len(names)), names, fontsize=10)
    ax.set(xlabel="networks, %", xlim=(-3, 104), ylim=(len(names) - 0.45, -0.55))
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return ax


#: Four ways to read the ones off a cell, with where each was measured.
READINGS = {
    "one map for all steps": ("one_cell", "best_read"),
    "a zero that may move": ("moving_zero", "best_shifted_read"),
    "a map for each of\nsteps 7 to 10": ("moving_zero", "best_stepwise_read"),
    "and a cell for each": ("single_units", "mean_monotone_accuracy"),
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
        title="How well the best cell tells the ones, by who reads it",
        alt=f"Dots, one a network, before and after training. Medians: {'; '.join(spread)}.",
        caption="Bars are medians. The first two rows are scored after 1 to 10 bits, the others after 7 to 10; the "
        "third on the strings that chose its cell.",
        data=data,
    )


def _readings(data: pd.DataFrame) -> Axes:
    ax = new_figure(width=3.8, height=3.2)[1][0, 0]
    for row, reading in enumerate(READINGS):
        for shift, role in zip((-0.17, 0.17), BEFORE_AND_AFTER, strict=True):
            own = data[(data["reading"] == reading.replace("\n", " ")) & (data["role"] == role)]["value"]
            look = ROLE_STYLE[role]
            y = row + shift + 0.12 * np.linspace(-1, 1, len(own))
            ax.plot(own, y, look.marker, color=look.color, markersize=2, alpha=0.5, rasterized=True)
            ax.plot([own.median()], [row + shift], "|", color="black", markersize=12, markeredgewidth=2)
            ax.plot([], [], look.marker, color=look.color, markersize=5, label=role if row == 0 else None)
    ax.set_yticks(range(len(READINGS)), [*READINGS], fontsize=10)
    ax.set(xlabel="prefixes read right", xlim=(0, 1.02), ylim=(len(READINGS) - 0.5, -0.5))
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return ax


def said(tables: Mapping[str, pd.DataFrame], compared: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what the best cell carries, and what networks do that answer at every step."""
    best = only(tables["moving_zero"], metric="best_stepwise_read")
    best = best[best["role"].isin(BEFORE_AND_AFTER)][["role", "pair", "units"]]
    carries = only(tables["one_cell"], metric="cell_test", kind="carries")
    # The states of a line's network are those of the own initialisation.
    whose = carries["role"].where(~carries["role"].isin((*LINES, "scores head")), "own initialisation")
    carried = carries.assign(whose=whose).merge(best.rename(columns={"role": "whose"}), on=["whose", "pair", "units"])
    shares = carried.groupby("role")["value"].median()
    before = shares.drop("trained")
    passed = only(compared["one_cell"], metric="all_tests", kind="ones")
    passed = passed[passed["network"].str.startswith("every-step/")]["value"]
    drift = only(compared["other_lengths"], metric="drift")
    drift = drift[drift["network"].str.startswith("every-step/")]["value"].median()
    counting = ", and that count the ones at other lengths as well," if drift < SMALL else ""
    return {
        "carried": f"The cell that is then read best carries {shares['trained']:.0%} of what one bit does to the "
        f"answer; before training, with fitted heads, it carries {before.min():.0%} to {before.max():.0%} (medians).",
        "every_step": f"The tests are about single cells: of {len(passed)} networks that we trained to answer after "
        f"every bit{counting} {f'{passed.sum():.0f} have' if passed.any() else 'none has'} a cell that passes.",
    }
