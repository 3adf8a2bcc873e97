"""The five tests of a cell as bars, and what noise does to the answers, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from analyses.counter.noise_margin import DOSE
from analyses.counter.one_cell import BOUNDS, kind_of
from probe.evidence import DataFigure
from probe.evidence.measurements import FITTED_HEADS, only
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
#: The dose that the rule of noise has, and where the axis of doses is labelled.
NOISE, TICKS = DOSE, (0.001, 0.01, 0.1, 0.5)


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
        caption="In how many networks some cell passes; below, one and the same cell passes all. Planted: written by "
        "hand; own initialisation: before training; heads: fitted on random weights, scaled: on larger ones.",
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


def said(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return what noise does to the answers, in a sentence."""
    rows = only(tables["noise_margin"], metric="noisy_accuracy")
    rows = rows[rows["network"].str.startswith("counter/")]
    medians = rows.groupby("role")["value"].median()
    best = medians.reindex(FITTED_HEADS).max()
    return {
        "noise": "with noise of a tenth of a standard deviation trained networks answer "
        f"{medians['trained']:.0%} right, and the best head on random weights {best:.0%} (medians)."
    }
