"""Does the counter count ones, or follow a rule that agrees with counting at ten bits only?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.questions.answers import other_lengths

SOURCE = "Hupkes et al. 2018; Meloux et al. 2025; the theorem in docs/science.md"
VERSION = 1
RULES = (
    Rule(
        key="II.17a",
        statement="The network is a ones-counter: its answer does not drift with the length.",
        metric="absolute_drift",
        definition="|d| of g(L) = d (10 - L) over L = 6..14; g(L) is the mean of expected answer minus ones over "
        "the strings of length L with at most 10 ones and at most 10 zeros.",
        source=SOURCE,
        established_if=Range.at_most(0.1),
        refuted_if=Range.above(0.1),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
    Rule(
        key="II.17b",
        statement="Most networks are none of the named programs: they count neither ones nor zeros, nor balance.",
        metric="near_none",
        definition="Share of networks whose d is not within 0.1 of 0 (ones), 0.5 (balance) or 1 (zeros).",
        source=SOURCE,
        established_if=Range.at_least(0.5),
        refuted_if=Range.below(0.5),
        statistic="share",
        controls=(Control(common.STRONGEST, 0.05),),
    ),
    Rule(
        key="II.17c",
        statement="Order does not matter at other lengths: the number of ones explains the answer.",
        metric="least_explained",
        definition="Share of the expected answer's variance between numbers of ones; least of L = 8, 9, 11, 12.",
        source=SOURCE,
        established_if=Range.at_least(0.9),
        refuted_if=Range.below(0.9),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the answers of counters on all strings of 6 to 14 bits with at most ten ones and ten zeros."""
    asked = common.pick(networks, *common.ANSWERING, "own initialisation")
    return other_lengths.measure(common.subjects(asked), most=2**14)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the drift."""
    title = "What does the network answer at other lengths?"
    notes = {"answer": _summary(table), "theorem": THEOREM, "otherwise": _otherwise(table)}
    return common.finding("other_lengths", title, table, studied=networks, rules=RULES, notes=notes)


THEOREM = (
    "Answers to strings of ten bits do not show the drift. Take the ones, and the ones plus something that depends "
    "on the length alone. At any one step the two differ by a constant. So their right answers, probes, class means "
    "and erasure are the same numbers at that step. This is about what a network counts, and not about how it does "
    "so. What the gates do at one step may go with the drift."
)


def _otherwise(table: pd.DataFrame) -> str:
    drifts = table[table["metric"] == "drift"]
    planted = drifts[drifts["network"] == "planted/ones"]["value"].iloc[0]
    fitted = drifts[drifts["role"].isin(FITTED_HEADS)]["value"]
    fair = f" Untrained weights with fitted heads drift by at most {fitted.abs().max():.2f}." if len(fitted) else ""
    return f"A network that counts ones has no drift; that of the planted counter is {abs(planted):.3f}.{fair}"


def _summary(table: pd.DataFrame) -> str:
    own = table[table["role"] == "trained"]
    drifts = own[own["metric"] == "drift"]["value"]
    ones, balance, zeros, none = (own[own["metric"] == f"near_{key}"]["value"].sum() for key in _NEAR)
    law = own[own["metric"] == "law_r_squared"]["value"]
    return (
        f"At other lengths {ones:.0f} of {len(drifts)} networks count ones. Each bit that a string has fewer than "
        f"ten shifts the answer by a number that we call the drift. It runs from {drifts.min():.2f} to "
        f"{drifts.max():.2f}, with a median of {drifts.median():.2f}. Three programs have a drift that we know: a "
        "counter of ones none, a balance of ones against zeros a half, and a counter of zeros, taken off ten, one. "
        f"{balance:.0f} networks lie near the balance, {zeros:.0f} near the counter of zeros, and {none:.0f} near "
        f"none of the three. We fit the drift on strings of eight to ten bits. It explains {law.median():.0%} of the "
        "variance of the answers to twelve bits (median)."
    )


#: Landmarks of the drift as the metrics name them; a network lies near one within 0.1.
_NEAR = ("0", "0.5", "1", "none")
