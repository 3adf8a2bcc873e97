"""When in training does the count appear, when does the running count go, and where does the drift come to rest?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from analyses.counter import common, second, study
from models.populations import SHIFTED, TRAJECTORY
from models.recipes import RECIPES
from probe import Finding
from probe.evidence import DataFigure, Range, Rule, judge
from probe.evidence.measurements import only, tabulate
from probe.plots.style import GREY, SMALL, new_figure, role_style, style

QUESTION, TITLE = "over_training", "When does the count appear in training, and where does the drift come to rest?"
#: After so many steps the counters that all other questions are about were finished.
USUAL, LAST, SETTLED = 10_000, 30_000, 20_000
#: From which value on a cell keeps a running count (claim 1c), and up to which a network counts (claim 0).
CODE, ERROR = 0.9, 0.01
SOURCE = (
    "docs/science.md, the second judgement; Saxe et al. 2019 for the question of what training does in its course"
)
NEEDS = 12
RULES = (
    Rule(
        key="T1",
        statement="The running count is gone from single cells before the network counts.",
        metric="gone_before",
        definition="Share of networks in which one monotone map reads the count off one cell at all steps (1c, at "
        "least .9) at no checkpoint from the first one on that misreads at most 1 % of all 1,024 strings.",
        source=SOURCE,
        established_if=Range.at_least(0.5),
        refuted_if=Range.below(0.5),
        statistic="share",
        needs=NEEDS,
    ),
    Rule(
        key="T2",
        statement="The drift goes on rising after 10,000 steps.",
        metric="later_drift",
        definition="d after 30,000 steps less d after 10,000.",
        source=SOURCE,
        established_if=Range.above(0.05),
        refuted_if=Range.at_most(0.05),
        needs=NEEDS,
    ),
    Rule(
        key="T3",
        statement="The drift comes to rest.",
        metric="last_change",
        definition="|d after 30,000 steps less d after 20,000|.",
        source=SOURCE,
        established_if=Range.at_most(0.05),
        refuted_if=Range.above(0.05),
        needs=NEEDS,
    ),
    Rule(
        key="T4",
        statement="It rests at a counter of zeros.",
        metric="last_distance",
        definition="|d after 30,000 steps less 1|.",
        source=SOURCE,
        established_if=Range.at_most(0.1),
        refuted_if=Range.above(0.1),
        needs=NEEDS,
    ),
    Rule(
        key="T5",
        statement="The input code sets the drift through learning, not through the first function.",
        metric="shifted_drift",
        definition="The larger of |d - d'| for two networks of the same seed whose biases began half an input weight "
        "lower or higher, so that their first function is that of inputs half a unit lower or higher; d' without.",
        source=SOURCE,
        established_if=Range.at_most(0.2),
        refuted_if=Range.above(0.2),
        needs=NEEDS,
    ),
)
Shown = tuple[str, str, str, float | None]
#: What the figures show: metric, signal, what an axis says, and a line across.
SHOWN: tuple[Shown, ...] = (
    ("all_error", "", "misread strings", ERROR),
    ("lasting_monotone_accuracy", "", "count read off one cell,\none map for all steps", CODE),
    ("between_concept_share", "hidden_state", "share of h's variance\nbetween counts", None),
    ("noisy_accuracy", "", "right with noise", None),
    ("gate_share", "cell_candidate", "candidate's share", None),
    ("gate_share", "forget_gate", "forget gate's share", None),
    ("drift", "", "drift", None),
)
BEFORE = "own initialisation"


def find(folder: Path | None = None) -> Finding:
    """Judge the rules on the networks along their training and draw what happens in it.

    Args:
        folder: of measurements; None for the committed ones.
    """
    chosen = [group for each in (*TRAJECTORY, *SHIFTED) for group in study.groups(each.recipe, each.seeds)]
    along = [group for group in chosen if group.recipe in {each.recipe for each in TRAJECTORY}]
    networks, tables = study.read(along, study.ON_THE_WAY, folder)
    shifted, lengths = study.read([group for group in chosen if group not in along], ["other_lengths"], folder)
    data = _courses(pd.concat(tables.values(), ignore_index=True))
    table = tabulate(judged_values(data, _drifts(lengths["other_lengths"])))
    claims = judge(table, RULES, family=second.FAMILY)
    with style():
        pictures = _pictures(data)
    notes = {
        "answer": _answer(data, table),
        "moving": _moving(data, _best_shifted(tables)),
        "shifted": _shifted(table),
    }
    notes |= {"needs": NEEDED}
    provenance = common.provenance(QUESTION, [*networks, *shifted])
    return Finding(QUESTION, TITLE, table, claims, tuple(pictures), provenance, notes)


def steps_of(recipe: str) -> int:
    """Return after how many steps of training a recipe's networks stand."""
    return RECIPES[recipe].steps


def _courses(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is shown as one row a network, step of training and metric; step 0 is the own initialisation."""
    parts = []
    for metric, signal, name, _ in SHOWN:
        rows = table[table["metric"] == metric]
        rows = rows[rows["signal"] == signal] if signal else rows
        recipe, seed = rows["network"].str.split("/").str[0], rows["network"].str.split("/").str[1]
        steps = recipe.map(steps_of).where(rows["role"] != BEFORE, 0)
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


def _drifts(table: pd.DataFrame) -> pd.Series:
    return table[table["metric"] == "drift"].set_index("network")["value"]


def judged_values(data: pd.DataFrame, shifted: pd.Series) -> list[dict[str, object]]:
    """Return the metrics that the rules judge, a value a network each."""
    error, code, drift = (_course(data, metric) for metric in ("all_error", "lasting_monotone_accuracy", "drift"))
    rows = []
    for network in drift:
        own, d = error[network], drift[network]
        counts = own[own <= ERROR].index.min()
        late = code[network].loc[counts:] if pd.notna(counts) else code[network].iloc[-1:]
        pairs = [shifted[f"{each.recipe}/{network}"] - d[USUAL] for each in SHIFTED]
        values = {
            "gone_before": float(pd.notna(counts) and bool((late < CODE).all())),
            "counts_from": float(counts),
            "later_drift": d[LAST] - d[USUAL],
            "last_change": abs(d[LAST] - d[SETTLED]),
            "last_distance": abs(d[LAST] - 1),
            "shifted_drift": max(map(abs, pairs)),
        }
        name, pair = f"after-{LAST}-steps/{network}", str(network).removeprefix("seed-")
        rows += [common.row(QUESTION, metric, name, value, pair=pair) for metric, value in values.items()]
        rows += [
            common.row(QUESTION, "shift_of_drift", name, value, pair=pair, kind=each.recipe)
            for each, value in zip(SHIFTED, pairs, strict=True)
        ]
    return rows


def _pictures(data: pd.DataFrame) -> list[DataFigure]:
    """Return what is learned and lost, and how it is done, over the steps of training."""
    error, drift = _course(data, "all_error"), _course(data, "drift")
    said = ", ".join(f"after {step:,} steps {drift.loc[step].median():.2f}" for step in (1000, USUAL, LAST))
    wrong = ", ".join(f"after {step:,} steps {error.loc[step].median():.1%}" for step in (100, 1000, USUAL))
    lines = f"A line for each of {drift.shape[1]} networks over the steps of training."
    return [
        _drawn(data, SHOWN[:4], "learned", "What training makes and takes away", f"{lines} Misread: {wrong}."),
        _drawn(data, SHOWN[4:], "drifting", "The gates' shares and the drift", f"{lines} Drift: {said}."),
    ]


CAPTION = (
    "A thin line is a network. Horizontal lines are the bounds of the rules. The vertical line marks where the "
    "training of all other counters ended. Step 0 is the network before training."
)


def _drawn(data: pd.DataFrame, shown: Sequence[Shown], name: str, title: str, alt: str) -> DataFigure:
    figure, axes = new_figure(2, -(-len(shown) // 2), height=2.1)
    kept = []
    for ax, (metric, signal, label, bound) in zip(axes.flat, shown, strict=False):
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
    for spare in axes.flat[len(shown) :]:
        spare.remove()
    figure.supxlabel("steps of training", fontsize=SMALL)
    return DataFigure.from_figure(
        figure, name=name, title=title, alt=alt, caption=CAPTION, data=pd.concat(kept, ignore_index=True)
    )


def _answer(data: pd.DataFrame, table: pd.DataFrame) -> str:
    code, drift = _course(data, "lasting_monotone_accuracy"), _course(data, "drift")
    held = (code >= CODE).sum(axis=1)
    counts = table[table["metric"] == "counts_from"]["value"]
    gone = table[table["metric"] == "gone_before"]["value"]
    noise = _course(data, "noisy_accuracy").median(axis=1)
    usual, late = (f"{drift.loc[step].median():.2f}" for step in (USUAL, LAST))
    return (
        f"One map gives the count at all steps from one cell in {held.loc[0]} of {drift.shape[1]} networks before "
        f"training, and in {held.loc[USUAL]} after {USUAL:,} steps. That is where the training of all other counters "
        f"ended. We followed these networks for {LAST:,} steps. Most of them have such a cell after "
        f"{held.idxmax():,} steps: {held.max()}. A network first misreads at most {ERROR:.0%} of the strings after "
        f"{counts.median():,.0f} steps (median). From there on no cell gives the count in {gone.sum():.0f} of them. "
        f"The drift is {usual} where training usually ended, and {late} at our end (medians). With noise in the "
        f"state the networks answer best after {noise.idxmax():,} steps."
    )


def _best_shifted(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how well a count whose zero moves is read, a row for each step of training and a column a network."""
    rows = only(tables[study.MOVING_ZERO], metric="best_shifted_read")
    names = rows["network"].str.split("/")
    steps = names.str[0].map(steps_of).where(rows["role"] != BEFORE, 0)
    return rows.assign(seed=names.str[1], steps=steps).pivot_table(index="steps", columns="seed", values="value")


def _moving(data: pd.DataFrame, read: pd.DataFrame) -> str:
    """Return in how many networks T1 holds of a count whose zero may move from step to step."""
    error, gone = _course(data, "all_error"), 0
    for network in read:
        counts = error[network][error[network] <= ERROR].index.min()
        gone += pd.notna(counts) and bool((read[network].loc[counts:] < CODE).all())
    return (
        "The rule T1 is about a count whose zero stays. If its zero may move from step to step, no cell gives it "
        f"from there on in {gone} of {read.shape[1]} networks."
    )


NEEDED = (
    f"These rules ask for {NEEDS} networks and not for fifty, because we followed each network over so many steps. "
    "We fixed that with the rules. With so few networks, it is hard for a rule to be decided."
)


def _shifted(table: pd.DataFrame) -> str:
    rows = table[table["metric"] == "shift_of_drift"]
    said = "; ".join(f"{recipe}: {own['value'].median():+.2f}" for recipe, own in rows.groupby("kind", sort=False))
    return (
        "Which numbers stand for the bits (the input code) could set the drift through the function that training "
        "begins with. To test that, we moved the biases before training. The network then began with the function of "
        "inputs that are half a unit lower or higher, while the inputs stayed. This changed the drift by (medians): "
        f"{said}."
    )
