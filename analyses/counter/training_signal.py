"""What in training sets the drift? All recipes side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analyses.counter import common, rules
from probe import Finding
from probe.evidence import judge
from probe.evidence.measurements import tabulate

NAME = "training_signal"
ACROSS = common.Across(
    NAME,
    "What else in training sets the drift?",
    "We changed one thing about training at a time: the numbers that stand for the bits, and the lengths of the "
    "strings.",
    rules.TRAINING_SIGNAL,
)


def find(tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Judge claim 23, with the error and the drift of every network of every recipe."""
    table = pd.concat([tables["accuracy"], tables["other_lengths"]], ignore_index=True)
    table = table[table["metric"].isin(["test_error", "drift"])]
    table = table.assign(question=NAME, role="other").reset_index(drop=True)
    judged = pd.concat([table, _claimed(table)], ignore_index=True)
    ready = [rule for rule in rules.TRAINING_SIGNAL if rule.metric in set(judged["metric"])]
    claims = judge(judged, ready, family=rules.RECIPES_FAMILY)
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
