"""How much noise in its state do the counter's answers survive?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, one, only
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.states import noise_margin

DOSE, BOUND = 0.1, 0.95
VERSION = 1
RULES = (
    Rule(
        key="II.5b",
        statement="The count is held with a margin.",
        metric="noisy_accuracy",
        definition="Accuracy on all 1,024 strings with independent Gaussian noise of .1 sd of each unit (sd over "
        "strings at that step) added to every number of (c, h) after every step, 32 draws.",
        source="docs/science.md; causal scrubbing (Chan et al. 2022) for the question",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure accuracy with noise in counters that answer with the count: an untrained head does not."""
    studied = common.pick(networks, *common.ANSWERING)
    return noise_margin.measure(common.subjects(studied), dose=DOSE, draws=32)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the accuracy with noise and draw it."""
    drawn = common.drawn(table)
    curves = only(drawn, metric="accuracy_by_dose")[["role", "network", "pair", "at", "value"]]
    picture = common.picture(
        lambda: noise_margin.draw(drawn, dose=DOSE, threshold=BOUND, ax=new_figure(height=3.6)[1][0, 0]),
        name="noise_margin",
        title="Accuracy with noise in every number of the state",
        alt=f"Accuracy falls with the dose of noise. {medians_in_words(only(drawn, metric='noisy_accuracy'))}",
        caption="We add Gaussian noise to every number of the state after every step. Thin lines are networks, thick "
        f"ones medians. The straight lines are the rule's dose of {DOSE:g} and its bound of {BOUND}.",
        data=curves.rename(columns={"at": "dose"}),
    )
    title = "Is the count held with a margin?"
    planted = one(table, network="planted/ones", metric="noisy_accuracy")
    notes = {
        "answer": _answer(only(table, metric="noisy_accuracy")),
        "otherwise": "A sum in a single cell, with nothing to correct it, would answer as the planted counter does: "
        f"{planted:.0%} right.",
    }
    return common.finding("noise_margin", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _answer(rows: pd.DataFrame) -> str:
    trained, fitted = only(rows, role="trained")["value"], common.strongest(rows, RULES[0])
    compared = f" The best of three fitted heads on untrained weights answers {fitted.median():.0%} right."
    compared = compared if len(fitted) else ""
    return (
        f"With a little noise trained networks answer {trained.median():.0%} of the strings right. We add noise of "
        f"{DOSE:g} standard deviations to every number of the state after every step. The worst trained network then "
        f"answers {trained.min():.0%} right.{compared}"
    )
