"""When in training does the count appear, and when does the running count leave single cells?"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd

from analyses.counter import common, one_cell, rules
from models.recipes import RECIPES
from probe import Finding
from probe.evidence import DataFigure, judge
from probe.evidence.measurements import tabulate
from probe.plots.style import GREY, SMALL, new_figure, role_style, style

NAME = "over_training"
#: After so many steps the counters that all other questions are about were finished.
USUAL, LAST = 10_000, 30_000
#: What is read off the best cell, from which value on it keeps a count; up to which error a network counts.
READ, CODE, ERROR = "best_read", one_cell.BOUNDS["read"], 0.01
ACROSS = common.Across(
    NAME,
    "When does the count appear in training, and when does it leave single cells?",
    f"We trained {rules.OVER_TRAINING[0].needs} networks for {LAST:,} steps, and all others for {USUAL:,}.",
    rules.OVER_TRAINING,
)
Shown = tuple[str, str, str, float | None]
#: What the figures show: metric, signal, what an axis says, and a line across.
SHOWN: tuple[Shown, ...] = (
    ("all_error", "", "misread strings", ERROR),
    (READ, "", "count read off one cell,\none map for all steps", CODE),
    ("between_concept_share", "hidden_state", "share of h's variance\nbetween counts", None),
    ("noisy_accuracy", "", "right with noise", None),
    ("start", "", "answer before\nthe first bit", None),
    ("fitted_drift", "", "added for each\nmissing bit", None),
)
BEFORE = "own initialisation"
#: Six panels weigh more than one figure may otherwise.
BYTES = 32_000


def find(tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Judge the rules on networks along their training, by what was measured of them, and draw what happens in it."""
    data = _courses(pd.concat(tables.values(), ignore_index=True))
    table = tabulate(judged_values(data))
    claims = judge(table, rules.OVER_TRAINING, family=rules.FAMILY)
    with style():
        picture = _picture(data)
    return Finding(NAME, ACROSS.title, table, claims, (picture,), notes={"answer": common.said(claims)})


def _courses(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is shown or judged, a row for each network, step of training and metric; step 0 is untrained."""
    parts = []
    for metric, signal, name, _ in (*SHOWN, (f"{READ}{one_cell.BY_PREFIX}", "", "", CODE)):
        rows = table[table["metric"] == metric]
        rows = rows[rows["signal"] == signal] if signal else rows
        recipe, seed = rows["network"].str.split("/").str[0], rows["network"].str.split("/").str[1]
        steps = recipe.map(lambda name: RECIPES[str(name)].steps).where(rows["role"] != BEFORE, 0)
        parts.append(
            pd.DataFrame(
                {"network": seed, "steps": steps, "metric": metric, "signal": signal, "name": name}
                | {"value": rows["value"]}
            )
        )
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values(["metric", "signal", "network", "steps"], kind="stable").reset_index(drop=True)


def _course(data: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric with a row for each step of training and a column for each network."""
    return data[data["metric"] == metric].pivot_table(index="steps", columns="network", values="value")


def judged_values(data: pd.DataFrame) -> list[dict[str, object]]:
    """Return from which step on each network counts, and whether no cell keeps the count from there on."""
    rows = []
    for network, own in _course(data, "all_error").items():
        counts = own[own <= ERROR].index.min()
        values = {"counts_from": float(counts)}
        for weighed in (one_cell.BY_LENGTH, one_cell.BY_PREFIX):
            code = _course(data, f"{READ}{weighed}")[network]
            late = code.loc[counts:] if pd.notna(counts) else code.iloc[-1:]
            values[f"gone_before{weighed}"] = float(pd.notna(counts) and bool((late < CODE).all()))
        name, pair = f"after-{LAST}-steps/{network}", str(network).removeprefix("seed-")
        rows += [common.row(NAME, metric, name, value, pair=pair) for metric, value in values.items()]
    return rows


def _picture(data: pd.DataFrame) -> DataFigure:
    """Draw what is learned and lost over the steps of training."""
    error = _course(data, "all_error")
    wrong = ", ".join(f"after {step:,} steps {error.loc[step].median():.1%}" for step in (100, 1000, USUAL))
    figure, axes = new_figure(3, 2, height=2.1)
    kept = []
    for ax, (metric, signal, label, bound) in zip(axes.flat, SHOWN, strict=True):
        own = data[(data["metric"] == metric) & (data["signal"] == signal)]
        kept.append(own)
        # One artist, its lines parted by a gap: a picture for each would weigh too much.
        parts = [course[["steps", "value"]].to_numpy(float) for _, course in own.groupby("network")]
        x, y = np.concatenate([np.vstack([part, [np.nan, np.nan]]) for part in parts]).T
        ax.plot(x, y, color=role_style("trained").color, linewidth=0.8, alpha=0.6, rasterized=True)
        if bound is not None:
            ax.axhline(bound, color="black", linewidth=1, zorder=0)
        ax.axvline(USUAL, color=GREY, linewidth=1, zorder=0)
        ax.set_xscale("symlog", linthresh=100)
        ax.set_title(fill(label, 20), fontsize=SMALL)
        ax.set_xlim(0, 1.2 * np.nanmax(x))
        ax.set_xticks([0, 1000, 10_000], ["0", "1,000", "10,000"])
        if metric == "all_error":
            ax.set_yscale("symlog", linthresh=0.01)
            ax.set_yticks([0, 0.01, 0.1, 1], ["0", ".01", ".1", "1"])
        ax.minorticks_off()
    figure.supxlabel("steps of training", fontsize=SMALL)
    return DataFigure.from_figure(
        figure,
        name="learned",
        title="What training makes and takes away",
        alt=f"A line for each of {error.shape[1]} networks over the steps of training. Misread: {wrong}.",
        caption="Each thin line is a network. Horizontal lines are the rules' bounds; the vertical one is where "
        "training ended for all other counters.",
        data=pd.concat(kept, ignore_index=True),
        max_bytes=BYTES,
    )
