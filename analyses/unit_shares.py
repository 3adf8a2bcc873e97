"""Does one unit of the counter carry the count, or do many together?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import Control, DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.interventions import unit_shares

from . import common

ONE, NEGATIVE = 0.5, 0.1
SETUP = (
    "After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 4,096 subsets of the 12 units (the "
    "pairs c_u, h_u) put in from the flipped string, expected answer at the end over all suffixes; sum of the "
    "Shapley values over the sum of the whole differences"
)
VERSION = 1
RULES = (
    Rule(
        key="1d",
        statement="One unit carries the count.",
        metric="largest_unit_share",
        definition=f"{SETUP}. The largest unit's share.",
        source="Shapley 1953; Lakretz et al. 2019 for the question",
        established_if=Range.at_least(ONE),
        refuted_if=Range.below(ONE),
    ),
    Rule(
        key="5c",
        statement="The cells pull together.",
        metric="negative_unit_shares",
        definition=f"{SETUP}. The negative shares' sum, as a positive number.",
        source="Shapley 1953; causal scrubbing (Chan et al. 2022) for the question",
        established_if=Range.at_most(NEGATIVE),
        refuted_if=Range.above(NEGATIVE),
        controls=(Control("readout", 0.5, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the units' shares in counters that answer with the count: an untrained head and a template do not."""
    studied = common.pick(networks, *common.ANSWERING)
    return unit_shares.measure(
        studied, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, step=6, changed=4
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the units' shares and draw them."""
    drawn = common.drawn(table)
    with style():
        figure, axes = new_figure(height=3.6)
        unit_shares.draw(drawn, threshold=ONE, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="unit_shares",
            title="How many units carry one count",
            alt=f"Shares of the units from the largest to the smallest. {_medians(drawn)}",
            caption="What each unit contributes to a difference of one count held after seven bits, in exact shares "
            "that sum to 1. Thin lines are networks, thick ones medians; the horizontal line is the rule's "
            f"{ONE}. In the planted counter one unit carries everything.",
            data=drawn[drawn["metric"] == "unit_share"][["subject", "network", "seed", "units", "value"]],
        )
    title = "Is the count carried by one unit?"
    notes = {"answer": _answer(table) + common.easily_beaten(networks), "otherwise": _otherwise(table)}
    return common.finding("unit_shares", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _values(table: pd.DataFrame, metric: str, subject: str) -> pd.Series:
    return table[(table["metric"] == metric) & (table["subject"] == subject)]["value"]


def _medians(table: pd.DataFrame) -> str:
    parts = [
        f"{role_name(subject)}: largest {_values(table, 'largest_unit_share', str(subject)).median():.2f}, negative "
        f"ones {_values(table, 'negative_unit_shares', str(subject)).median():.2f}"
        for subject in table["subject"].unique()
    ]
    return f"Medians, {'; '.join(parts)}."


def _answer(table: pd.DataFrame) -> str:
    largest, negative, taking_part, of_1a = (
        _values(table, metric, "trained")
        for metric in ("largest_unit_share", "negative_unit_shares", "unit_participation", "correlated_unit_share")
    )
    return (
        f"One unit carries half of a count in {(largest >= ONE).sum()} of {len(largest)} networks. The largest "
        f"share is {largest.min():.0%} to {largest.max():.0%} of a count, and the count is spread as over "
        f"{taking_part.median():.1f} equal units (median). The unit that follows the count best carries "
        f"{of_1a.median():.0%}. Units that work against the rest take {negative.median():.3f} of a "
        f"count{_fitted(table)}."
    )


def _fitted(table: pd.DataFrame) -> str:
    shares = _values(table, "negative_unit_shares", "readout")
    return f"; with a fitted head on untrained weights they take {shares.median():.2f}" if len(shares) else ""


def _otherwise(table: pd.DataFrame) -> str:
    own = table[(table["network"] == "planted/ones") & (table["metric"] == "largest_unit_share")]
    return f"Had one unit carried the count, its share would be the planted counter's: {own['value'].item():.2f}."
