"""What in training sets the drift? All recipes side by side, and the experiment beside its predictions."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from analyses.counter import common, study
from analyses.counter.predictions import PREDICTIONS, RULES, Cells
from models.populations import CELLS, CONFIRMING
from models.recipes import CODES, DOSES
from probe import Finding
from probe.evidence import DataFigure, judge
from probe.evidence.intervals import median_interval
from probe.evidence.measurements import FITTED_HEADS, tabulate
from probe.plots.legends import figure_legend
from probe.plots.style import IN_INK, INK, SMALL, new_figure, role_style, style

QUESTION, TITLE = "training_signal", "What in training sets the drift?"
#: What the experiment's networks are asked of ten-bit strings: metric, signal, question, and what a legend says. All
#: four stand at an end of their scale; `drift_traces` asks what does not.
BATTERY = (
    ("last_step_r_squared", "", "linear_readout", "probe, R²"),
    ("worst_class_mean_ratio", "", "class_means", "class means"),
    ("erased_excess", "", "erasure", "count erased"),
    ("direction_score", "ols", "directions", "probe's direction"),
)
#: How many letters of a prediction stand on a line of its figure.
LINE = 52
EVERY_CELL = {cell.recipe for cell in (CONFIRMING, *CELLS)}
WRITTEN = {"": "0/1", "reversed": "1/0", "signed": "-1/+1", "half-signed": "-.5/+.5", "shifted": "1/2"}


def find(folder: Path | None = None) -> Finding:
    """Judge claim 23 and hold the predictions against what was measured of all populations.

    Args:
        folder: of measurements; None for the committed ones.
    """
    networks, lengths = study.read(study.compared(), ["accuracy", "other_lengths"], folder)
    inside = [group for group in study.compared() if group.recipe in EVERY_CELL and group.seed in CONFIRMING.seeds]
    _, battery = study.read(inside, sorted({question for _, _, question, _ in BATTERY}), folder)
    table = pd.concat([*lengths.values(), *battery.values()], ignore_index=True)
    table = table[~table["role"].isin(["own initialisation", *FITTED_HEADS])]
    table = table[table["metric"].isin(["test_error", "drift", *(metric for metric, *_ in BATTERY)])]
    table = table.assign(question=QUESTION, role="other").reset_index(drop=True)
    judged = pd.concat([table, _claimed(table)], ignore_index=True)
    recipes, trained = _by_recipe(table), {group.recipe for group in inside}
    notes, figures = {"answer": _answer(recipes)}, []
    with style():
        figures.append(_recipes(recipes, table))
        if trained == EVERY_CELL:
            cells = Cells(_experiments(table))
            outcome = _outcome(cells)
            figures += [_experiment(cells), _predicted(outcome)]
            notes["predictions"] = _tally(outcome)
        else:
            notes["predictions"] = (
                f"{len(trained)} of the experiment's {len(EVERY_CELL)} cells are trained; its {len(PREDICTIONS)} "
                "predictions, committed before, are held against nothing yet."
            )
    ready = [rule for rule in RULES if rule.metric in set(judged["metric"])]
    claims = judge(judged, ready, family=common.family())
    provenance = common.provenance(QUESTION, networks)
    return Finding(QUESTION, TITLE, judged, claims, tuple(figures), provenance, notes)


def _experiments(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the experiment's seeds: the counters for exploring are no cell of it."""
    seeds = table["network"].str.split("seed-").str[1].astype(int)
    return table[seeds.isin(CONFIRMING.seeds)]


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
        "something else. The counters are those that we judged and those for exploring.",
        data=recipes,
    )


def _experiment(cells: Cells) -> DataFigure:
    shown = [("drift", "", "drift"), *((metric, signal, label) for metric, signal, _, label in BATTERY)]
    rows = [
        {"code": WRITTEN[code], "shorter_percent": dose, "metric": label, "median": cells.median(code, dose, *which)}
        for *which, label in shown
        for code in CODES
        for dose in DOSES
    ]
    data = pd.DataFrame(rows)
    figure, axes = new_figure(2, -(-len(shown) // 2), height=2.0)
    for ax, (*_, label) in zip(axes.flat, shown, strict=False):
        for look, code in zip(IN_INK, WRITTEN.values(), strict=False):
            own = data[(data["metric"] == label) & (data["code"] == code)]
            ax.plot(range(len(DOSES)), own["median"], markersize=4, markevery=[-1], label=code, **look.line())
        ax.set_xticks(range(len(DOSES)), [str(dose) for dose in DOSES])
        ax.set_ylim(-0.35, 1.35)
        # Ticks are most of what five panels weigh.
        ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"] if ax in axes[:, 0] else ["", "", ""])
        ax.set_title(label)
    for spare in axes.flat[len(shown) :]:
        spare.remove()
    figure.supxlabel("% of shorter strings", fontsize="medium")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure_legend(figure, handles, [f"code {name}" for name in names])
    spans = data.groupby(["metric", "code"], sort=False)["median"].agg(lambda own: own.max() - own.min())
    widest = spans.groupby(level="metric", sort=False).max()
    said = ", ".join(f"{label} {span:.2f}" for label, span in widest.items())
    return DataFigure.from_figure(
        figure,
        name="experiment",
        title="The drift moves, and four metrics on ten bits stay at the end of their scale",
        alt=f"Five panels by dose of shorter strings. Largest change of a median over doses within one code: {said}.",
        caption="Medians over networks, by how many of the training strings are one bit shorter. A line is an input "
        "code: the numbers that stand for the bits. The first panel is the drift, which other lengths show. The "
        "others are four metrics on ten-bit strings. They stand at an end of their scale and could hardly have "
        "moved. Other ten-bit quantities do move.",
        data=data,
    )


def _outcome(cells: Cells) -> pd.DataFrame:
    rows = []
    for each in PREDICTIONS:
        number = each.number(cells)
        outcome = "held" if number in each.held_if else "failed"
        rows.append(
            {"key": each.key, "prediction": each.statement, "number": number, "held_if": str(each.held_if)}
            | {"outcome": outcome, "definition": each.definition}
        )
    return pd.DataFrame(rows)


def _predicted(outcome: pd.DataFrame) -> DataFigure:
    texts = [
        fill(f"{key}. {said} {number:.3g} ({held_if}): {result}", LINE)
        for key, said, number, held_if, result in outcome.iloc[:, :5].itertuples(index=False)
    ]
    tall = np.array([text.count("\n") + 1.6 for text in texts])
    figure, axes = new_figure(height=0.17 * tall.sum() + 0.2)
    ax = axes[0, 0]
    for row, text, result in zip(np.cumsum(tall) - tall / 2, texts, outcome["outcome"], strict=True):
        marker, face = ("o", "none") if result == "held" else ("X", INK)
        ax.plot(0, row, marker, color=INK, mfc=face, markersize=8)
        ax.text(0.04, row, text, va="center", fontsize=SMALL)
    ax.set_xlim(-0.02, 1)
    ax.set_ylim(tall.sum(), 0)
    ax.axis("off")
    failed = outcome[outcome["outcome"] == "failed"]["key"]
    return DataFigure.from_figure(
        figure,
        name="predictions",
        title="What was predicted before training, and what came",
        alt=f"{len(outcome)} predictions, {len(outcome) - len(failed)} held"
        + (f"; failed: {', '.join(failed)}." if len(failed) else "."),
        caption="Each was committed, with its number and range, before the networks of the experiment were trained.",
        data=outcome,
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


def _tally(outcome: pd.DataFrame) -> str:
    rows = outcome[outcome["outcome"] == "failed"]
    failed = [f"{key} failed: {text}" for key, text in zip(rows["key"], rows["prediction"], strict=True)]
    return (
        f"Of {len(outcome)} predictions about the experiment, committed before its networks were trained, "
        f"{' '.join([f'{len(outcome) - len(failed)} held.', *failed])} The figure has the number that each was "
        "judged by. Four of them, E5a to E5d, could hardly have failed: they asked metrics that stand at an end of "
        "their scale."
    )
