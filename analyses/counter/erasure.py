"""Does the counter need the count? It is erased from the state after seven bits (LEACE), and the run goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.interventions import erasure

STEP, LEFT, KEPT, PROJECTED = 6, 0.05, 0.3, 0.1
SOURCE = "Elazar et al. 2021; Belrose et al. 2023"
VERSION = 1
RULES = (
    Rule(
        key="II.12a",
        statement="With the count erased from the state, the answer is no better than the suffix allows.",
        metric="erased_excess",
        definition="One-hot LEACE after 7 bits, fitted on half of the prefixes and applied to the others, both ways: "
        "accuracy of the run that goes on, minus the floor (the best constant answer given the suffix), 0 below it.",
        source=SOURCE,
        established_if=Range.at_most(LEFT),
        refuted_if=Range.above(LEFT),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
    Rule(
        key="II.12b",
        statement="Erasing shuffled labels instead, at the same rank, leaves the answer well above that.",
        metric="shuffled_excess",
        definition="The same with the labels of the fitting half in another order, mean of 20 orders.",
        source=SOURCE,
        established_if=Range.at_least(KEPT),
        refuted_if=Range.below(KEPT),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
    Rule(
        key="II.12c",
        statement="With the two dimensions that carry the count projected out, it is no better either.",
        metric="projected_excess",
        definition="The subspace of claim 9, found on half of the prefixes, the mean of these put in its place in "
        "the others, both ways: accuracy minus the floor, 0 below it.",
        source=SOURCE,
        established_if=Range.at_most(PROJECTED),
        refuted_if=Range.above(PROJECTED),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Erase the count from the states of counters and see what the answers are worth."""
    asked = common.pick(networks, *common.ANSWERING)
    return erasure.measure(common.subjects(asked), step=STEP)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what is left of the answers and draw it."""
    drawn = table[table["metric"].isin([*erasure.COLUMNS, "floor"])].reset_index(drop=True)
    picture = common.picture(
        lambda: erasure.draw(drawn, ax=new_figure(height=3.8)[1][0, 0]),
        name="erasure",
        title="What the answer is worth without the count",
        alt=medians_in_words(drawn),
        caption="The share of right answers, by what was erased from the state after seven bits. Each dot is a "
        "network, each bar the 95 % interval of the median. The line is what the best answer reaches "
        "that knows only the remaining bits. We fit everything on half of the prefixes and score it on the others.",
        data=drawn,
    )
    title = "Is the count needed for the answer?"
    notes = {"answer": _answer(table)}
    return common.finding("erasure", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _answer(table: pd.DataFrame) -> str:
    trained = table[table["role"] == "trained"].groupby("metric")["value"].median()
    heads = [common.values(table, "erased_accuracy", role).median() for role in FITTED_HEADS]
    kept = [f"{value:.1%}" for value in heads if np.isfinite(value)]
    beside = f" Three fitted heads on untrained weights keep {', '.join(kept)}." if kept else ""
    return (
        f"Without the count {trained['erased_accuracy']:.1%} of the answers are right; the remaining bits alone "
        f"allow {trained['floor']:.1%}. We erase from the state after seven bits what tells the counts apart, which "
        f"takes {trained['erased_rank']:.0f} dimensions, and let the run go on. The numbers are medians over trained "
        f"networks.{beside} Two controls show how much the erasure itself does. To erase shuffled labels in the same "
        f"way leaves {trained['shuffled_accuracy']:.1%} right, and to erase only what is linear in the count leaves "
        f"{trained['scalar_erased_accuracy']:.1%}. The figure has two more: we project out the two directions that "
        "carry the count, or two random ones."
    )
