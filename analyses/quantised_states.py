"""Are 66 states enough, one for each step and count? The counter runs on its class means alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.states import quantised_states

from . import common

BOUND = 0.95
PLANTED = ("planted/ones", "planted/ones-alone")
BY_STEP, OVER_STEPS = "accuracy_kept_by_step", "accuracy_kept_over_steps"
VERSION = 1
RULES = (
    Rule(
        key="18",
        statement="The network runs on 66 states, one for each step and count.",
        metric=BY_STEP,
        definition="Accuracy with every state replaced after each step by the step's nearest class mean (each "
        "number in units of its sd over the step's prefixes), the run going on from there; over own accuracy.",
        source="Omlin & Giles 1996",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure counters that run on their class means."""
    counted = common.pick(networks, *common.ANSWERING, "untrained")
    return quantised_states.measure(counted, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the accuracy that is kept and draw it."""
    drawn = table[table["metric"].isin([BY_STEP, OVER_STEPS, "states"])].reset_index(drop=True)
    own = drawn["subject"].isin(["trained", "readout"]) | drawn["network"].isin(PLANTED)
    shown = drawn[own].reset_index(drop=True)
    with style():
        figure, axes = new_figure(height=3.4)
        quantised_states.draw(shown, threshold=BOUND, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="accuracy-kept",
            title="How much of its accuracy a network keeps on a few states",
            alt=_alt(shown),
            caption="Each dot is a network whose state is replaced after every step by the nearest class mean, each "
            f"bar the 95 % interval of the median, the line the rule's {BOUND}. We leave out own initialisations: "
            "their accuracy is that of random heads, and a share of it says nothing.",
            data=shown,
        )
    title = "Does the network run on one state for each count?"
    notes = {"answer": _answer(table), "otherwise": _otherwise(table)}
    return common.finding(
        "quantised_states", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes
    )


def _alt(shown: pd.DataFrame) -> str:
    parts = [
        f"{role_name(subject)} {rows['value'].min():.2f} to {rows['value'].max():.2f}, median "
        f"{rows['value'].median():.2f}"
        for subject, rows in shown[shown["metric"] == BY_STEP].groupby("subject")
    ]
    over = shown[(shown["metric"] == OVER_STEPS) & (shown["subject"] == "trained")]["value"]
    return (
        f"Share of its accuracy that a network keeps on one state for each step and count: {'; '.join(parts)}. "
        f"On one state for each count at all steps, trained networks: {over.min():.2f} to {over.max():.2f}."
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"]
    kept, few = (own[own["metric"] == metric]["value"] for metric in (BY_STEP, OVER_STEPS))
    sizes = own[own["metric"] == "states"].groupby("signal")["value"].median()
    return (
        f"{(kept >= BOUND).sum()} of {len(kept)} networks run on {sizes['by_step']:.0f} states, one for each step "
        f"and count. That is, they keep at least {BOUND:.0%} of their accuracy; the least that one keeps is "
        f"{kept.min():.1%}. On {sizes['over_steps']:.0f} states, one for each count whatever the step, they keep "
        f"{few.min():.0%} to {few.max():.0%}: the same count is another state at another step."
    )


def _otherwise(table: pd.DataFrame) -> str:
    kept = table[(table["metric"] == BY_STEP) & table["network"].str.startswith("planted/ones")]
    values = kept.set_index("network")["value"]
    return (
        f"A planted counter keeps {values['planted/ones-alone']:.0%} where it is alone and "
        f"{values['planted/ones']:.0%} among idle units. The nearest mean is that over all units alike, and idle "
        "units that remember the order of the bits pull runs to the wrong count. So a high number shows that "
        "nothing else is needed, and a low number does not show that no count is held."
    )
