"""Does one cell unit of the counter hold the count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from probe import Control, DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.style import new_figure, style
from probe.questions.states import single_units

from . import common

BOUND = 0.9
SOURCE = "Karpathy et al. 2015; Weiss et al. 2018"
VERSION = 1
RULES = (
    Rule(
        key="1a",
        statement="Some cell unit follows the count within every step.",
        metric="largest_correlation",
        definition="Largest over the cell units of the absolute correlation with the count, the mean of each "
        "step taken off both; every step weighs the same.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("untrained", 0.0),),
    ),
    Rule(
        key="1b",
        statement="At a fixed step one cell unit is a monotone code of the count.",
        metric="mean_monotone_accuracy",
        definition="Share of held-out prefixes whose rounded isotonic prediction is exact, unit and map chosen "
        "on the other half; mean over the steps after 7 to 10 bits.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("untrained", 0.0), Control("template", 0.2)),
    ),
    Rule(
        key="1c",
        statement="The same cell unit, read by the same map, is that code through all steps.",
        metric="lasting_monotone_accuracy",
        definition="The same with one unit and one isotonic map for the states of all steps, four folds.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure single cell units of counters against the running count."""
    return single_units.measure(networks, common.STRINGS, common.COUNTS)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what single units hold and draw it."""
    drawn = table[table["metric"].isin([rule.metric for rule in RULES])].reset_index(drop=True)
    medians = drawn.groupby(["metric", "subject"])["value"].median()
    with style():
        figure, axes = new_figure(height=3.6)
        single_units.draw(drawn, threshold=BOUND, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="single_units",
            title="One unit as a code",
            alt="Dots, one a network, in three columns. Median correlation of the best unit: "
            f"{medians['largest_correlation', 'trained']:.2f} after training, "
            f"{medians['largest_correlation', 'untrained']:.2f} before. Read exactly off one unit step by "
            f"step: {medians['mean_monotone_accuracy', 'trained']:.2f} and "
            f"{medians['mean_monotone_accuracy', 'untrained']:.2f}; with one map for all steps: "
            f"{medians['lasting_monotone_accuracy', 'trained']:.2f} and "
            f"{medians['lasting_monotone_accuracy', 'untrained']:.2f}.",
            caption="Each dot is a network, each bar the 95 % interval of the median, the line the rule's "
            f"{BOUND}. The planted counter shows what a unit that holds the count looks like.",
            data=drawn,
        )
    title = "Is there one cell that holds the count?"
    notes = {"answer": _answer(drawn), "otherwise": _otherwise(drawn)}
    return common.finding("single_units", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _answer(drawn: pd.DataFrame) -> str:
    groups = drawn.groupby(["metric", "subject"])["value"]
    hits = {key: (values >= BOUND).sum() for key, values in groups}
    unit, fixed, lasting = (rule.metric for rule in RULES)
    nothing = (
        "So finding one shows nothing about learning. " if hits[unit, "untrained"] >= hits[unit, "trained"] else ""
    )
    return (
        f"{hits[unit, 'trained']} of {len(groups.get_group((unit, 'trained')))} networks have a cell that follows "
        f"the count, and {hits[unit, 'untrained']} before training. {nothing}To follow is an |r| of at least "
        f"{BOUND:g}. We can read the count exactly off one cell at a fixed step in {hits[fixed, 'trained']} "
        f"networks (before training: {hits[fixed, 'untrained']}). A running count in one cell would let us read it "
        f"with one map at all steps: that works in {hits[lasting, 'trained']} (before training: "
        f"{hits[lasting, 'untrained']})."
    )


def _otherwise(drawn: pd.DataFrame) -> str:
    planted = drawn[drawn["network"] == "planted/ones"].set_index("metric")["value"]
    values = ", ".join(f"{planted[rule.metric]:.2f}" for rule in RULES)
    return f"Had a cell held a running count, the three numbers would be those of the planted counter: {values}."
