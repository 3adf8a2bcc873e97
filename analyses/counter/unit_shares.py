"""Does one unit of the counter carry the count, or do many together?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, one, only
from probe.questions.interventions import unit_shares

ONE, NEGATIVE = 0.5, 0.1
SETUP = (
    "After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 4,096 subsets of the 12 units (the "
    "pairs c_u, h_u) put in from the flipped string, expected answer at the end over all suffixes; sum of the "
    "Shapley values over the sum of the whole differences"
)
VERSION = 1
RULES = (
    Rule(
        key="II.1d",
        statement="One unit carries the count.",
        metric="largest_unit_share",
        definition=f"{SETUP}. The largest unit's share.",
        source="Shapley 1953; Lakretz et al. 2019 for the question",
        established_if=Range.at_least(ONE),
        refuted_if=Range.below(ONE),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
    Rule(
        key="II.5c",
        statement="The cells pull together.",
        metric="negative_unit_shares",
        definition=f"{SETUP}. The negative shares' sum, as a positive number.",
        source="Shapley 1953; causal scrubbing (Chan et al. 2022) for the question",
        established_if=Range.at_most(NEGATIVE),
        refuted_if=Range.above(NEGATIVE),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the units' shares in counters that answer with the count: an untrained head does not."""
    studied = common.pick(networks, *common.ANSWERING)
    return unit_shares.measure(common.subjects(studied), step=6, changed=4)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the units' shares."""
    title = "Is the count carried by one unit?"
    planted = one(table, network="planted/ones", metric="largest_unit_share")
    notes = {
        "answer": _answer(table),
        "otherwise": f"If one unit carried the count, its share would be that of the planted counter: {planted:.2f}.",
    }
    return common.finding("unit_shares", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(table: pd.DataFrame) -> str:
    metrics = ("largest_unit_share", "negative_unit_shares", "unit_participation", "correlated_unit_share")
    largest, negative, taking_part, of_1a = (only(table, metric=each, role="trained")["value"] for each in metrics)
    fitted = common.strongest(table, RULES[1])
    compared = f" With the best of three fitted heads on untrained weights it is {fitted.median():.2f}."
    compared = compared if len(fitted) else ""
    return (
        f"Over all strings together one unit carries half of a count in {(largest >= ONE).sum()} of {len(largest)} "
        f"networks. The largest share is {largest.min():.0%} to {largest.max():.0%} of a count. The count is spread "
        f"as over {taking_part.median():.1f} equal units (median). A single string may use fewer, if units take over "
        "from each other; another question asks whether they do. The unit that follows the count best carries "
        f"{of_1a.median():.0%} of it. Some units work against the others, and their shares are negative. Together "
        f"these come to {negative.median():.3f} of a count.{compared}"
    )
