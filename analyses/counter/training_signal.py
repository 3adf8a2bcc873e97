"""What in training sets the drift? All recipes side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Range, Rule, judge
from probe.evidence.measurements import tabulate

NAME = "training_signal"
SOURCE = "the experiment of docs/science.md; Suzgun et al. 2019"
#: Claim 23. Both metrics are of the network with the same seed, which is what a pair shares.
RULES = (
    Rule(
        key="23a",
        statement="The input code sets the drift: with 0/1 it is larger than with -1/+1.",
        sentence="The input code sets the drift (with 0 and 1, minus with -1 and +1)",
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
    "What else in training sets the drift?",
    "We changed one thing about training at a time: the numbers that stand for the bits, and the lengths of the "
    "strings.",
    RULES,
)


def find(tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Judge claim 23, with the error and the drift of every network of every recipe."""
    table = pd.concat([tables["accuracy"], tables["other_lengths"]], ignore_index=True)
    table = table[table["metric"].isin(["test_error", "drift"])]
    table = table.assign(question=NAME, role="other").reset_index(drop=True)
    judged = pd.concat([table, _claimed(table)], ignore_index=True)
    ready = [rule for rule in RULES if rule.metric in set(judged["metric"])]
    claims = judge(judged, ready, family=common.RECIPES_FAMILY)
    return Finding(NAME, ACROSS.title, judged, claims, (), notes={"answer": common.said(claims)})


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
