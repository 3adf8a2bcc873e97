"""What do the counter's gates do after a one and after a zero? A description without a verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Rule
from probe.evidence.measurements import Network
from probe.questions.states import gate_activity

VERSION = 1
RULES: tuple[Rule, ...] = ()
ONES = common.STRINGS[:, :, 0] > 0


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure how far open the gates are and how often they are saturated."""
    return gate_activity.measure(common.subjects(networks), ONES)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Draw how far open the gates are."""
    pair = table[table["role"].isin(["trained", "own initialisation"])]
    figures = gate_activity.figures(pair, labels=("after a 1", "after a 0"))[:1]
    notes = {"answer": _answer(pair[pair["step"].notna() & pair["metric"].ne("mean")])}
    title = "What do the gates do?"
    return common.finding("gate_activity", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _answer(by_step: pd.DataFrame) -> str:
    last = by_step[(by_step["role"] == "trained") & (by_step["step"] == by_step["step"].max())]
    means = last.groupby(["signal", "metric"])["value"].median().unstack()
    after_one, after_zero = means["mean_where_true"], means["mean_where_false"]
    gate = str((after_one - after_zero).abs().idxmax())
    own = by_step[by_step["role"] == "own initialisation"].groupby("signal")["value"].median()
    before = f" Before training the medians over all bits are {own.min():.2f} to {own.max():.2f}." if len(own) else ""
    return (
        f"Of the three gates the {gate.replace('_', ' ')} differs most between the bits: {after_one[gate]:.2f} open "
        f"after a 1, {after_zero[gate]:.2f} after a 0. A gate is open from 0, where it lets nothing through, to 1, "
        "where it lets everything through. These are medians at the last step. They describe and prove nothing: that "
        f"a gate goes with the bit does not show what it does for the count.{before}"
    )
