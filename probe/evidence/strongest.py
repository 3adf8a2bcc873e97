"""`strongest head`: of several heads on one untrained recurrence the one that does best by a rule, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .measurements import FITTED_HEADS

if TYPE_CHECKING:
    import pandas as pd

    from .claims import Rule

#: What the best of the heads is called, as the role of a control and in tables.
STRONGEST = "strongest head"


def of_rule(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, of every role."""
    rows = table[table["metric"] == rule.metric]
    return rows[(rows["signal"] == rule.signal) | (rows["kind"] == rule.signal)] if rule.signal else rows


def with_strongest(table: pd.DataFrame, rules: Iterable[Rule]) -> pd.DataFrame:
    """Return a table with a row more for each pair and rule: the head that does best by the rule.

    Args:
        table: measurements of trained networks and of their controls.
        rules: those without the control `strongest head` need no such row.
    """
    import pandas as pd

    added = []
    for rule in rules:
        if any(control.role == STRONGEST for control in rule.controls):
            rows = of_rule(table, rule)
            heads = rows[rows["role"].isin(FITTED_HEADS)].sort_values(
                "value", ascending=math.isfinite(rule.established_if.high), kind="stable"
            )
            # A pair that lacks a head has no strongest one: the others alone would be a weaker control.
            whole = heads.groupby("pair")["role"].transform("nunique") == len(FITTED_HEADS)
            best = heads[whole].drop_duplicates("pair")
            names = [f"{name.rpartition('/')[0]}/{STRONGEST}" for name in best["network"]]
            added.append(best.assign(role=STRONGEST, network=names))
    if not added:
        return table
    return pd.concat([table, pd.concat(added, ignore_index=True).drop_duplicates()], ignore_index=True)
