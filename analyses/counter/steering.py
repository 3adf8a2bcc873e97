"""Does the counter's answer move when its state is pushed by one count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, only
from probe.methods.causal.support import FAR
from probe.plots.study_figures import medians_in_words
from probe.questions.interventions import steering

BOUND = 0.95
STEP = 6  # the state after 7 bits, docs/science.md
VERSION = 1
RULES = (
    Rule(
        key="II.13",
        statement="Pushing the state by one count, from class mean to class mean, moves the answer by one.",
        metric="steered_exact",
        definition="Share of answers that are the target where the state after 7 bits is moved by the difference of "
        "the class means of its count and of the next or the previous one; all strings with both counts in range.",
        source="Heimersheim & Nanda 2024",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        signal="class_mean",
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure what pushes along class means and along the encoding slope do to the answer."""
    asked = common.pick(networks, *common.ANSWERING)
    return steering.measure(common.subjects(asked), step=STEP)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what the pushes do and draw it."""
    drawn = only(table, metric="dose_response", kind="linear").reset_index(drop=True)
    ends = drawn[drawn["at"].isin([drawn["at"].min(), drawn["at"].max()])]
    picture = common.picture(
        lambda: steering.draw(table),
        name="dose_response",
        title="How far the answer follows a push",
        alt=medians_in_words(ends),
        caption="We push the state after seven bits along the encoding slope, by Cov(s, n) / Var(n) for each count. "
        "We take strings that stay within the counts that occur, and show the mean change of the expected answer. "
        "Lines are medians over networks, bands 95 % intervals, each planted network a thin line. Dotted: an answer "
        "that goes as far as the state was pushed.",
        data=drawn,
    )
    title = "Does the answer go where the state is pushed?"
    notes = {"answer": _answer(table), "support": _support(table)}
    return common.finding("steering", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _answer(table: pd.DataFrame) -> str:
    exact, linear, shift, along = (
        common.values(table, metric, kind=kind)
        for metric in ("steered_exact", "steered_shift")
        for kind in ("class_mean", "linear")
    )
    return (
        f"Pushed by one count, the answer moves by exactly one in {exact.median():.1%} of the strings. A class mean "
        "is the mean state of all strings with one count. We push the state from the class mean of one count to that "
        f"of the next. The share above is that of the median network; {(exact >= BOUND).sum()} of {len(exact)} "
        f"networks reach {BOUND:.0%}. The expected answer goes {shift.median():.2f} of the way. We also pushed along "
        f"one line for all counts, the encoding slope. Then the answer is exact in {linear.median():.1%} of the "
        f"strings, and goes {along.median():.2f} of the way."
    )


def _support(table: pd.DataFrame) -> str:
    distances = {kind: common.values(table, "steered_off_support", kind=kind) for kind in ("class_mean", "linear")}
    means, slope = (int((distance > FAR).sum()) for distance in distances.values())
    return (
        "A push can lead to a state that the network never visits. We measure how far a pushed state lies from the "
        f"nearest state of a clean run. If that is more than {FAR:g} of the distance between neighbouring counts, we "
        f"call it far. Between class means it is far in {means} of {len(distances['linear'])} networks, and along "
        f"the slope in {slope}."
    )
