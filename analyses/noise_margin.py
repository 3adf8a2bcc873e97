"""How much noise in its state do the counter's answers survive?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import Control, DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.states import noise_margin

from . import common

DOSE, BOUND = 0.1, 0.95
VERSION = 1
RULES = (
    Rule(
        key="5b",
        statement="The count is held with a margin.",
        metric="noisy_accuracy",
        definition="Accuracy on all 1,024 strings with independent Gaussian noise of .1 sd of each unit (sd over "
        "strings at that step) added to every number of (c, h) after every step, 32 draws.",
        source="docs/science.md; causal scrubbing (Chan et al. 2022) for the question",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("readout", 0.2),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure accuracy with noise in counters that answer with the count: an untrained head and a template do not."""
    studied = common.pick(networks, *common.ANSWERING)
    return noise_margin.measure(
        studied, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, dose=DOSE, draws=32
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the accuracy with noise and draw it."""
    drawn = common.drawn(table)
    curve = drawn[drawn["metric"] == "accuracy_by_dose"]
    with style():
        figure, axes = new_figure(height=3.6)
        noise_margin.draw(drawn, dose=DOSE, ax=axes[0, 0])
        axes[0, 0].axhline(BOUND, color="black", linewidth=1, zorder=0)
        picture = DataFigure.from_figure(
            figure,
            name="noise_margin",
            title="Accuracy with noise in every number of the state",
            alt=f"Accuracy falling with the dose of noise. At a dose of {DOSE:g}, medians: {_medians(table)}.",
            caption="Gaussian noise is added to every number of the state after every step. Thin lines are networks, "
            f"thick ones medians; the plain lines are the rule's dose of {DOSE:g} and its {BOUND}. A sum in one cell "
            "has no redundancy, as the planted counter shows.",
            data=curve[["subject", "network", "seed", "units", "value"]].rename(columns={"units": "dose"}),
        )
    title = "Is the count held with a margin?"
    notes = {"answer": _answer(table) + common.easily_beaten(networks), "otherwise": _otherwise(table)}
    return common.finding("noise_margin", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _medians(table: pd.DataFrame) -> str:
    rows = table[(table["metric"] == "noisy_accuracy") & (table["subject"] != "planted")]
    return ", ".join(
        f"{role_name(subject)} {value:.2f}" for subject, value in rows.groupby("subject")["value"].median().items()
    )


def _answer(table: pd.DataFrame) -> str:
    rows = table[table["metric"] == "noisy_accuracy"]
    trained, fitted = (rows[rows["subject"] == subject]["value"] for subject in ("trained", "readout"))
    compared = f" Untrained weights with a fitted head answer {fitted.median():.0%} right." if len(fitted) else ""
    return (
        f"With a little noise trained networks answer {trained.median():.0%} of the strings right. We add noise of "
        f"{DOSE:g} standard deviations to every number of the state after every step. The worst network then answers "
        f"{trained.min():.0%} right, and {(trained >= BOUND).sum()} of {len(trained)} answer at least "
        f"{BOUND:.0%}.{compared}"
    )


def _otherwise(table: pd.DataFrame) -> str:
    own = table[(table["network"] == "planted/ones") & (table["metric"] == "noisy_accuracy")]["value"].item()
    return f"A sum in a single cell, with nothing to correct it, would answer as the planted counter does: {own:.0%}."
