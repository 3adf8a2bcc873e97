"""The strongest control of a pair: of several heads, or networks with random weights, the best by a rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .measurements import CONTROLS, FITTED_HEADS

if TYPE_CHECKING:
    import pandas as pd

    from .claims import Rule

#: What the best of the heads is called, as the role of a control and in tables.
STRONGEST = "strongest head"
RANDOM = CONTROLS[0]


def of_rule(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, of every role."""
    rows = table[table["metric"] == rule.metric]
    return rows[(rows["signal"] == rule.signal) | (rows["kind"] == rule.signal)] if rule.signal else rows


def with_strongest(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, each pair with its strongest controls.

    For the control `strongest head` each pair gets a row more: the head that does best by the rule. Of several
    networks with random weights of a pair only the one that does best by the rule is left.

    Args:
        table: measurements of trained networks and of their controls.
        rule: the rule.
    """
    import pandas as pd

    rows = of_rule(table, rule).reset_index(drop=True)
    best_first = rows.sort_values("value", ascending=math.isfinite(rule.established_if.high), kind="stable")
    paired = best_first["pair"].notna() & (best_first["pair"] != "")
    beaten = (best_first["role"] == RANDOM) & paired & best_first.duplicated(["role", "pair"])
    rows = best_first[~beaten].sort_index()
    if all(control.role != STRONGEST for control in rule.controls):
        return rows
    heads = best_first[best_first["role"].isin(FITTED_HEADS)]
    # A pair that lacks a head has no strongest one: the others alone would be a weaker control.
    whole = heads.groupby("pair")["role"].transform("nunique") == len(FITTED_HEADS)
    best = heads[whole].drop_duplicates("pair")
    names = [f"{name.rpartition('/')[0]}/{STRONGEST}" for name in best["network"]]
    return pd.concat([rows, best.assign(role=STRONGEST, network=names)], ignore_index=True)


def called(table: pd.DataFrame, role: str, best: str = "best") -> str:
    """Return what words call the controls of a role: of several with random weights beside a network the best."""
    copies = table[table["role"] == role].groupby("pair")["network"].nunique().max()
    return f"the {best} of {copies} networks with random weights" if role == RANDOM and copies > 1 else role
