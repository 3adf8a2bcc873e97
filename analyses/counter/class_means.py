"""Does the counter need more of its state than the count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network
from probe.questions.interventions import class_means

BOUND = 0.95
VERSION = 1
RULES = (
    Rule(
        key="II.5",
        statement="The network needs nothing of its state but the count: class means do as well.",
        metric="worst_class_mean_ratio",
        definition="Accuracy where the state after t bits is the mean state of its count, over the network's own "
        "accuracy, without the counts 0 and t, which one prefix alone has; the smallest over t = 1 to 9.",
        source="Chan et al. 2022, causal scrubbing",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure answers from class means after each bit."""
    asked = common.pick(networks, *common.ANSWERING)
    return class_means.measure(common.subjects(asked))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the answers from class means."""
    title = "Does the network need more than the count?"
    notes = {"answer": _answer(table)}
    return common.finding("class_means", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(table: pd.DataFrame) -> str:
    metric = RULES[0].metric
    worst = common.values(table, metric)
    change = common.values(table, "class_mean_answer_change")
    sentence = (
        f"On the mean state of each count, networks keep {worst.median():.1%} of their accuracy. A class mean is the "
        "mean state of all strings with the same count. After one of the bits we replace the state by its class "
        "mean, and let the run go on. The share above is the median over networks, after the bit where this costs "
        f"most. {(worst >= BOUND).sum()} of {len(worst)} networks keep at least {BOUND:.0%}. The expected answer "
        f"changes by {change.median():.3f} counts."
    )
    fitted = common.strongest(table, RULES[0])
    if len(fitted):
        alike = worst.median() - fitted.median() <= RULES[0].controls[0].margin
        sentence += f" The best of three fitted heads on untrained weights keeps {fitted.median():.1%}"
        sentence += ": this is no sign of learning." if alike else "."
    return sentence
