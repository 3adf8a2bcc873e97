"""Does one cell unit of the counter hold the count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network
from probe.questions.states import single_units

BOUND = 0.9
ROLES = ("trained", "own initialisation")
SOURCE = "Karpathy et al. 2015; Weiss et al. 2018"
VERSION = 1
RULES = (
    Rule(
        key="II.1a",
        statement="Some cell unit follows the count within every step.",
        metric="largest_correlation",
        definition="Largest over the cell units of the absolute correlation with the count, the mean of each "
        "step taken off both; every step weighs the same.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("own initialisation", 0.0),),
    ),
    Rule(
        key="II.1b",
        statement="At a fixed step one cell unit is a monotone code of the count.",
        metric="mean_monotone_accuracy",
        definition="Share of held-out prefixes whose rounded isotonic prediction is exact, unit and map chosen "
        "on the other half; mean over the steps after 7 to 10 bits.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("own initialisation", 0.0),),
    ),
    Rule(
        key="II.1c",
        statement="The same cell unit, read by the same map, is that code through all steps.",
        metric="lasting_monotone_accuracy",
        definition="The same with one unit and one isotonic map for the states of all steps, four folds.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("own initialisation", 0.0),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure single cell units of counters against the running count."""
    return single_units.measure(common.subjects(networks))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what single units hold."""
    drawn = table[table["metric"].isin([rule.metric for rule in RULES])].reset_index(drop=True)
    title = "Is there one cell that holds the count?"
    notes = {"answer": _answer(drawn), "otherwise": _otherwise(drawn)}
    return common.finding("single_units", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(drawn: pd.DataFrame) -> str:
    hits = drawn.assign(hit=drawn["value"] >= BOUND).groupby(["metric", "role"])["hit"].agg(["sum", "size"])
    unit, fixed, lasting = ({role: hits["sum"][rule.metric, role] for role in ROLES} for rule in RULES)
    trained, before = ROLES
    nothing = " So to find one shows nothing about learning." if unit[before] >= unit[trained] else ""
    return (
        f"{unit[trained]} of {hits['size'][RULES[0].metric, trained]} networks have a cell that follows the count, "
        f"and {unit[before]} before training. A cell follows the count if its correlation with it, among strings "
        f"that have read equally many bits, is at least {BOUND:g} in size.{nothing} To read the count exactly off "
        f"one cell is more. At a fixed step we can do so in {fixed[trained]} networks (before training: "
        f"{fixed[before]}). If a cell kept a running count, one map would read it at all steps. Such a map exists in "
        f"{lasting[trained]} networks (before training: {lasting[before]})."
    )


def _otherwise(drawn: pd.DataFrame) -> str:
    planted = drawn[drawn["network"] == "planted/ones"].set_index("metric")["value"]
    values = ", ".join(f"{planted[rule.metric]:.2f}" for rule in RULES)
    return (
        "If a cell held a running count, the values of the three rules would be those of the planted counter: "
        f"{values}."
    )
