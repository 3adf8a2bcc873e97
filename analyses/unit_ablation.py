"""Does the counter need all of its units, and would one be enough?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.style import new_figure, style
from probe.questions.interventions import unit_ablation
from probe.questions.interventions.unit_ablation import COSTLY

from . import common

BOUND = 0.5
#: Whose answers are counts; an untrained network's head is random, and a template network answers something else.
SUBJECTS = ("trained", "planted", "other")
VERSION = 1
RULES = (
    Rule(
        key="14",
        statement="No unit suffices: alone, the best one keeps less than half of what the network can do.",
        metric="best_single_unit_score",
        definition="(accuracy with the best unit alone - with none) / (own accuracy - with none); the states of the "
        "others, (c, h), are those of a random other prefix after every bit, 32 draws.",
        source="Lakretz et al. 2019; Chan et al. 2022, causal scrubbing",
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure what each unit's ablation costs and how few units suffice."""
    asked = common.pick(networks, *SUBJECTS)
    return unit_ablation.measure(asked, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what one unit keeps and draw what each costs."""
    drops = unit_ablation.sorted_drops(table).reset_index(drop=True)
    kept = unit_ablation.kept_by_number(table).reset_index(drop=True)
    how = (
        "The other units' states are those of a random other string that has read as many bits, after every bit. "
        "Lines are medians over networks, bands 95 % intervals, each planted network a thin line."
    )
    with style():
        figure, axes = new_figure()
        unit_ablation.draw(table, ax=axes[0, 0])
        few = DataFigure.from_figure(
            figure,
            name="kept_units",
            title="How few units are enough",
            alt=_alt("Accuracy by number of units kept", kept, "kept"),
            caption=f"Accuracy with the best k units alone; each next one is that which adds most. {how}",
            data=kept,
        )
        figure, axes = new_figure()
        unit_ablation.draw_drops(table, ax=axes[0, 0])
        lost = DataFigure.from_figure(
            figure,
            name="unit_drops",
            title="What one unit's loss costs",
            alt=_alt("Accuracy lost without a unit, the costliest first", drops, "rank"),
            caption="Accuracy lost where one unit's state is that of a random other string that has read as many "
            f"bits, after every bit; dotted: {COSTLY:.0%}. Lines are medians over networks, bands 95 % intervals, "
            "each planted network a thin line.",
            data=drops,
        )
    title = "Would one unit be enough?"
    notes = {"answer": _answer(table)}
    return common.finding(
        "unit_ablation", title, table, studied=networks, rules=RULES, figures=[few, lost], notes=notes
    )


def _alt(what: str, rows: pd.DataFrame, at: str) -> str:
    parts = []
    for subject, own in rows.groupby("subject", sort=False):
        middle = own.groupby(at)["value"].median()
        parts.append(
            f"{subject} {middle.iloc[0]:.2f} at {middle.index[0]} to {middle.iloc[-1]:.2f} at {middle.index[-1]}"
        )
    return f"{what}, medians over networks: {'; '.join(parts)}."


def _answer(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"]
    values = own.groupby("metric")["value"]
    score, costly = values.get_group("best_single_unit_score"), values.get_group("costly_units")
    kept = unit_ablation.kept_by_number(own)
    enough = kept[kept["value"] >= 0.9].groupby("network")["kept"].min()
    return (
        f"One unit alone is enough in {(score > BOUND).sum()} of {len(score)} networks. Enough is more than half of "
        f"what the network can do; the best unit of the median network does {score.median():.2f} of it. "
        f"{costly.median():.0f} units cost more than {COSTLY:.0%} of the answers each, where the network loses one "
        f"of them (median; {costly.min():.0f} to {costly.max():.0f}). Added one after the other, "
        f"{enough.median():.0f} units are needed for nine answers in ten."
    )
