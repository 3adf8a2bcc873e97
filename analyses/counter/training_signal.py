"""What in training sets the drift? All recipes side by side."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analyses.counter import common, study
from probe import Finding
from probe.evidence import DataFigure, Range, Rule, judge
from probe.evidence.intervals import median_interval
from probe.evidence.measurements import tabulate
from probe.plots.style import SMALL, new_figure, role_style, style

QUESTION, TITLE = "training_signal", "What in training sets the drift?"
SOURCE = "the experiment of docs/science.md; Suzgun et al. 2019"
#: Claim 23. Both metrics are of the network with the same seed, which is what a pair shares.
RULES = (
    Rule(
        key="23a",
        statement="The input code sets the drift: with 0/1 it is larger than with -1/+1.",
        metric="code_difference",
        definition="d of the network trained on 0/1 less d of the one trained from the same seed on -1/+1.",
        source=SOURCE,
        established_if=Range.above(0.1),
        refuted_if=Range.at_most(0.1),
    ),
    Rule(
        key="23b",
        statement="A tenth of strings of length 9 among the training strings suffices for a small drift.",
        metric="shorter_drift",
        definition="d of the network of whose 500 training strings 50 were replaced by strings of 9 bits.",
        source=SOURCE,
        established_if=Range.at_most(0.3),
        refuted_if=Range.above(0.3),
    ),
)


def find(folder: Path | None = None) -> Finding:
    """Judge claim 23, and draw the drift of every network of every recipe.

    Args:
        folder: of measurements; None for the committed ones.
    """
    networks, lengths = study.read(study.compared(), ["accuracy", "other_lengths"], folder)
    table = pd.concat([*lengths.values()], ignore_index=True)
    table = table[table["metric"].isin(["test_error", "drift"])]
    table = table.assign(question=QUESTION, role="other").reset_index(drop=True)
    judged = pd.concat([table, _claimed(table)], ignore_index=True)
    recipes = _by_recipe(table)
    with style():
        figure = _recipes(recipes, table)
    ready = [rule for rule in RULES if rule.metric in set(judged["metric"])]
    claims = judge(judged, ready, family=common.RECIPES_FAMILY)
    provenance = common.provenance(QUESTION, networks)
    return Finding(QUESTION, TITLE, judged, claims, (figure,), provenance, {"answer": _answer(recipes)})


def _claimed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the two metrics that claim 23 judges, one value a seed."""
    drift = table[table["metric"] == "drift"].set_index("network")["value"]
    rows = []
    for network in drift.index:
        recipe, _, seed = network.partition("/seed-")
        values = {"shorter_drift": drift[network]} if recipe == "shorter-10-percent" else {}
        if recipe == "code-signed" and f"counter/seed-{seed}" in drift.index:
            values["code_difference"] = drift[f"counter/seed-{seed}"] - drift[network]
        rows += [common.row(QUESTION, metric, network, value, pair=seed) for metric, value in values.items()]
    return tabulate(rows)


def _by_recipe(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each recipe how many networks, their errors and drifts."""
    recipe = table["network"].str.split("/").str[0]
    rows = []
    for name, own in table.groupby(recipe, sort=False):
        drift, error = (own[own["metric"] == metric]["value"] for metric in ("drift", "test_error"))
        low, high = median_interval(drift.tolist()) or (drift.min(), drift.max())
        rows.append(
            {"recipe": name, "networks": len(drift), "median_test_error": error.median()}
            | {"median_drift": drift.median(), "low": low, "high": high}
            | {"smallest": drift.min(), "largest": drift.max()}
            | {"quartile_range": drift.quantile(0.75) - drift.quantile(0.25)}
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
        caption="Each dot is a network, none left out. Bars are medians, and in brackets stands how many networks "
        "there are. The recipe's name says what we changed: the input code, how many strings were shorter, or "
        "something else. All seeds are from 1000 on; the other figures are of counters of seeds from 2000 on.",
        data=recipes,
    )


def _answer(recipes: pd.DataFrame) -> str:
    by_name = recipes.set_index("recipe")
    named = {
        "counter": "bits read as 0 and 1",
        "code-reversed": "bits read as 1 and 0",
        "code-signed": "bits read as -1 and +1",
        "code-shifted": "bits read as 1 and 2",
        "shorter-10-percent": "a tenth of the strings one bit shorter",
        "truncated": "strings of all lengths up to ten",
        "every-step": "the count asked for after every step",
    }
    drifts = by_name.loc[[name for name in named if name in by_name.index], "median_drift"]
    errors = by_name.loc[drifts.index, "median_test_error"]
    low, high = (named[str(drifts.idxmin())], named[str(drifts.idxmax())])
    return (
        f"What we change in training moves the median drift from {drifts.min():.2f} to {drifts.max():.2f}. The drift "
        "is how much the answer exceeds the ones for each bit that a string has fewer than ten. A recipe is one way "
        f"to train: each changes one thing. The drift is lowest with {low}, and highest with {high}. The figure has "
        f"every recipe. The median network of a recipe misreads {errors.min():.1%} to "
        f"{errors.max():.1%} of new strings."
    )
