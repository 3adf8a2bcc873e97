"""Does the counter need more of its state than the count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import Control, DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.interventions import class_means

from . import common

BOUND = 0.95
#: Whose answers are counts; an untrained network's head is random, and a template network answers something else.
VERSION = 1
RULES = (
    Rule(
        key="5",
        statement="The network needs nothing of its state but the count: class means do as well.",
        metric="worst_class_mean_ratio",
        definition="Accuracy where the state after t bits is the mean state of its count, over the network's own "
        "accuracy, without the counts 0 and t, which one prefix alone has; the smallest over t = 1 to 9.",
        source="Chan et al. 2022, causal scrubbing",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("readout", 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure answers from class means after each bit."""
    asked = common.pick(networks, *common.ANSWERING)
    return class_means.measure(asked, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the answers from class means and draw them."""
    drawn = table[table["metric"] == "class_mean_ratio"].reset_index(drop=True)
    with style():
        figure, axes = new_figure()
        class_means.draw(table, threshold=BOUND, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="class_means",
            title="Answers from class means",
            alt=_alt(drawn),
            caption="Accuracy where every state after a bit is replaced by the mean state of its count, over the "
            "network's own accuracy on the same strings. Steps count from 0; after the first bit each count has one "
            f"prefix and there is nothing to replace. Lines are medians over networks, bands 95 % intervals, each "
            f"planted network a thin line; dotted: the rule's {BOUND:g}.",
            data=drawn,
        )
    title = "Does the network need more than the count?"
    notes = {"answer": _answer(table)}
    return common.finding("class_means", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _of(table: pd.DataFrame, metric: str, subject: str) -> pd.Series:
    return table[(table["metric"] == metric) & (table["subject"] == subject)]["value"]


def _alt(drawn: pd.DataFrame) -> str:
    parts = []
    for subject, own in drawn.groupby("subject", sort=False):
        by_step = own.groupby("step")["value"].median()
        parts.append(f"{role_name(subject)} {by_step.min():.2f} to {by_step.max():.2f}")
    return f"Accuracy from class means over own accuracy by step, medians over networks: {'; '.join(parts)}."


def _answer(table: pd.DataFrame) -> str:
    metric = RULES[0].metric
    worst, balanced = _of(table, metric, "trained"), _of(table, "worst_balanced_class_mean_ratio", "trained")
    change = _of(table, "class_mean_answer_change", "trained")
    sentence = (
        f"On the mean state of each count, networks keep {worst.median():.1%} of their accuracy. We replace each "
        "state by its class mean, the mean state of all strings with the same count, and let the run go on "
        f"(medians, worst step; {balanced.median():.1%} where every count weighs the same). "
        f"{(worst >= BOUND).sum()} of {len(worst)} networks keep at least {BOUND:.0%}, and the expected answer "
        f"changes by {change.median():.3f} counts."
    )
    fitted = _of(table, metric, "readout")
    if len(fitted):
        alike = worst.median() - fitted.median() <= RULES[0].controls[0].margin
        sentence += f" Untrained weights with a fitted head keep {fitted.median():.1%}"
        sentence += ": this is no sign of learning." if alike else "."
    return sentence
