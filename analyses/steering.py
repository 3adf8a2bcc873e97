"""Does the counter's answer move when its state is pushed by one count?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.methods.causal.support import FAR
from probe.plots.style import new_figure, style
from probe.questions.interventions import steering

from . import common

BOUND = 0.95
STEP = 6  # the state after 7 bits, docs/science.md
#: Whose answers are counts; an untrained network's head is random, and a template network answers something else.
VERSION = 1
RULES = (
    Rule(
        key="13",
        statement="Pushing the state by one count, from class mean to class mean, moves the answer by one.",
        metric="steered_exact",
        definition="Share of answers that are the target where the state after 7 bits is moved by the difference of "
        "the class means of its count and of the next or the previous one; all strings with both counts in range.",
        source="Heimersheim & Nanda 2024",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        signal="class_mean",
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure what pushes along class means and along the encoding slope do to the answer."""
    asked = common.pick(networks, *common.ANSWERING)
    return steering.measure(asked, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, step=STEP)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge what the pushes do and draw it."""
    drawn = table[(table["metric"] == "dose_response") & (table["signal"] == "linear")].reset_index(drop=True)
    with style():
        figure, axes = new_figure()
        steering.draw(table, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="dose_response",
            title="How far the answer follows a push",
            alt=_alt(drawn),
            caption="Mean change of the expected answer where the state after 7 bits is pushed along the encoding "
            "slope, Cov(s, n) / Var(n) for each count, over strings that stay within the counts that occur. Lines "
            "are medians over networks, bands 95 % intervals, each planted network a thin line; dotted: an answer "
            "that goes as far as the state was pushed.",
            data=drawn,
        )
    title = "Does the answer go where the state is pushed?"
    notes = {"answer": _answer(table), "support": _support(table)}
    return common.finding("steering", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _of(table: pd.DataFrame, metric: str, kind: str, subject: str = "trained") -> pd.Series:
    rows = (table["metric"] == metric) & (table["signal"] == kind) & (table["subject"] == subject)
    return table[rows]["value"]


def _alt(drawn: pd.DataFrame) -> str:
    parts = []
    for subject, own in drawn.groupby("subject", sort=False):
        middle = own.groupby(own["units"].astype(float))["value"].median()
        ends = f"{middle.iloc[0]:.2f} at {middle.index[0]:g} and {middle.iloc[-1]:.2f} at {middle.index[-1]:+g}"
        parts.append(f"{role_name(subject)} {ends}")
    return f"Change of the expected answer by push in counts, medians over networks: {'; '.join(parts)}."


def _answer(table: pd.DataFrame) -> str:
    exact, linear = _of(table, "steered_exact", "class_mean"), _of(table, "steered_exact", "linear")
    shift, along = _of(table, "steered_shift", "class_mean"), _of(table, "steered_shift", "linear")
    return (
        f"Pushed by one count, the answer moves by exactly one in {exact.median():.1%} of the strings. We push the "
        f"state from the class mean of one count to that of the next (median network; {(exact >= BOUND).sum()} of "
        f"{len(exact)} networks reach {BOUND:.0%}). The expected answer goes {shift.median():.2f} of the way. Along "
        f"the encoding slope, one line for all counts, the answer is exact in {linear.median():.1%} of the strings "
        f"and goes {along.median():.2f} of the way."
    )


def _support(table: pd.DataFrame) -> str:
    parts = []
    for kind, name in (("class_mean", "between class means"), ("linear", "along the slope")):
        far = _of(table, "steered_off_support", kind)
        parts.append(f"{name} {far.median():.2f} (above {FAR:g} in {(far > FAR).sum()} of {len(far)} networks)")
    return f"Pushed states lie this many count spacings from the nearest state of a clean run: {', '.join(parts)}."
