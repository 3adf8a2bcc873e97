"""What in training sets the drift? All recipes side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import DataFigure, Range, Rule, judge
from probe.evidence.intervals import median_interval
from probe.evidence.measurements import tabulate
from probe.plots.style import SMALL, new_figure, role_style, style

NAME = "training_signal"
SOURCE = "the experiment of docs/science.md; Suzgun et al. 2019"
#: Claim 23. Both metrics are of the network with the same seed, which is what a pair shares.
RULES = (
    Rule(
        key="23a",
        statement="The input code sets the drift: with 0/1 it is larger than with -1/+1.",
        sentence="The input code sets the drift (with 0 and 1 less with -1 and +1)",
        metric="code_difference",
        definition="d of the network trained on 0/1 less d of the one trained from the same seed on -1/+1.",
        source=SOURCE,
        established_if=Range.above(0.1),
        refuted_if=Range.at_most(0.1),
    ),
    common.rule(
        key="23b",
        statement="A tenth of strings of length 9 among the training strings suffices for a small drift.",
        sentence="A tenth of shorter strings suffices for a small drift (drift)",
        metric="shorter_drift",
        definition="d of the network of whose 500 training strings 50 were replaced by strings of 9 bits.",
        source=SOURCE,
        at_most=0.3,
    ),
)


ACROSS = common.Across(
    NAME,
    "What in training sets the drift?",
    "The drift is how much the answer exceeds the ones for each bit that a string has fewer than ten. A recipe is "
    "one way to train: each changes one thing, such as the numbers that stand for the bits.",
    RULES,
)


def find(tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Judge claim 23, and draw the drift of every network of every recipe."""
    table = pd.concat([tables["accuracy"], tables["other_lengths"]], ignore_index=True)
    table = table[table["metric"].isin(["test_error", "drift"])]
    table = table.assign(question=NAME, role="other").reset_index(drop=True)
    judged = pd.concat([table, _claimed(table)], ignore_index=True)
    ends = tables["drift_law"]
    recipes = _by_recipe(table, ends[ends["metric"] == "start"].set_index("network")["value"])
    with style():
        figure = _recipes(recipes, table)
    ready = [rule for rule in RULES if rule.metric in set(judged["metric"])]
    claims = judge(judged, ready, family=common.RECIPES_FAMILY)
    return Finding(NAME, ACROSS.title, judged, claims, (figure,), notes={"answer": common.said(claims)})


def _claimed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the two metrics that claim 23 judges, one value a seed."""
    drift = table[table["metric"] == "drift"].set_index("network")["value"]
    rows = []
    for network in drift.index:
        recipe, _, seed = network.partition("/seed-")
        values = {"shorter_drift": drift[network]} if recipe == "shorter-10-percent" else {}
        if recipe == "code-signed" and f"counter/seed-{seed}" in drift.index:
            values["code_difference"] = drift[f"counter/seed-{seed}"] - drift[network]
        rows += [common.row(NAME, metric, network, value, pair=seed) for metric, value in values.items()]
    return tabulate(rows)


def _by_recipe(table: pd.DataFrame, starts: pd.Series) -> pd.DataFrame:
    """Return for each recipe how many networks, their errors and drifts, and their answers before the first bit."""
    recipe = table["network"].str.split("/").str[0]
    rows = []
    for name, own in table.groupby(recipe, sort=False):
        drift, error = (own[own["metric"] == metric]["value"] for metric in ("drift", "test_error"))
        low, high = median_interval(drift.tolist()) or (drift.min(), drift.max())
        rows.append(
            {"recipe": name, "networks": len(drift), "median_test_error": error.median()}
            | {"median_drift": drift.median(), "low": low, "high": high}
            | {"median_start": starts.reindex(own["network"]).median()}
        )
    return pd.DataFrame(rows).sort_values("median_drift", kind="stable").reset_index(drop=True)


def _recipes(recipes: pd.DataFrame, table: pd.DataFrame) -> DataFigure:
    drift = table[table["metric"] == "drift"]
    recipe = drift["network"].str.split("/").str[0]
    figure, axes = new_figure(height=0.22 * len(recipes) + 1.2)
    ax = axes[0, 0]
    for row, name in enumerate(recipes["recipe"]):
        values = drift[recipe == name]["value"]
        ax.plot(values, [row] * len(values), "o", color=role_style("trained").color, markersize=3, alpha=0.5)
    ax.plot(recipes["median_drift"], range(len(recipes)), "|", color="black", markersize=11, markeredgewidth=2)
    for landmark in (0.0, 0.5, 1.0):
        ax.axvline(landmark, color="black", linewidth=0.8, zorder=0)
    labels = [f"{name} ({n})" for name, n in zip(recipes["recipe"], recipes["networks"], strict=True)]
    ax.set_yticks(range(len(recipes)), labels)
    figure.supxlabel("drift: 0 counts ones, 1 counts zeros, 0.5 weighs both", fontsize=SMALL)
    least, most = recipes.iloc[0], recipes.iloc[-1]
    return DataFigure.from_figure(
        figure,
        name="drift-by-recipe",
        title="The drift of every network of every recipe",
        alt=f"{recipes['networks'].sum()} networks of {len(recipes)} recipes. Median drift from "
        f"{least['median_drift']:.2f} ({least['recipe']}) to {most['median_drift']:.2f} ({most['recipe']}).",
        caption="Each dot is a network, none left out; bars are medians, in brackets the number of networks. The "
        "recipe's name says what we changed. All seeds are from 1000 on, in other figures from 2000 on.",
        data=recipes,
    )
