"""How few numbers predict the counter's answers at lengths that the fit has not seen?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.legends import figure_legend
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.answers import programs
from probe.questions.states import reduced_models

BOUND, REFERENCE = 0.9, 10
PLANTED = ("planted/ones", "planted/ones-alone", "planted/zeros")
VERSION = 1
RULES = (
    Rule(
        key="II.20",
        statement="One number predicts the answers at another length.",
        metric="law_r_squared",
        definition="R² of the expected answer at 12 bits by ones + d (10 - L), d fitted on 8 to 10 bits; the null is "
        "the best of d = 0, 0.5 and 1 (counting ones, balance, counting zeros).",
        source="Suzgun et al. 2019; El-Naggar et al. 2022",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the drift's law and an affine recurrence against counters' answers at other lengths."""
    asked = common.pick(networks, *common.ANSWERING, "own initialisation")
    return reduced_models.measure(common.subjects(asked), most=2**14)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the law and draw how often it gives the answer."""
    with style():
        figures = [_agreement(table)]
    notes = {"answer": _answer(table), "recurrence": _recurrence(table), "otherwise": _otherwise(table)}
    title = "How few numbers say what the network answers?"
    return common.finding("reduced_models", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _agreement(table: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=3.4)
    ax = programs.draw(table, reference=REFERENCE, ax=axes[0, 0])
    ax.set_xlabel("bits")
    handles, _ = ax.get_legend_handles_labels()
    figure_legend(figure, handles, ["one number: the drift", "affine recurrence"])
    rows = table[(table["metric"] == "agreement") & (table["role"] == "trained")]
    medians = common.medians(rows, ["kind", "at"]).rename(columns={"kind": "model", "at": "length"})
    return DataFigure.from_figure(
        figure,
        name="agreement-by-length",
        title="How often a reduced model gives the answer of a trained network",
        alt=medians_in_words(rows[rows["at"].isin([8, REFERENCE, 12, 14])]),
        caption="Lines are medians over trained networks, bands 95 % intervals. We fit the drift on eight to ten "
        "bits, and the recurrence on all prefixes of ten bits. Neither has seen longer strings.",
        data=medians,
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[table["role"] == "trained"].groupby("metric")["value"]
    law, margin, fixed = (own.get_group(name) for name in ("law_r_squared", "law_margin", "fixed_r_squared"))
    return (
        f"One number, the drift, explains {law.median():.0%} of the answers to longer strings. The drift says how "
        "much the answer exceeds the ones for each bit that a string has fewer than ten. We fit it on strings of "
        "eight to ten bits, and ask how much of the variance of the answers to twelve bits it explains. The share "
        f"above is the median over networks; the lowest is {law.min():.0%}. The best of three programs without a "
        f"free number (ones, balance and zeros) explains {fixed.median():.0%}, and less than the drift in "
        f"{(margin > 0).sum()} of {len(margin)} networks."
    )


def _recurrence(table: pd.DataFrame) -> str:
    own = table[table["role"] == "trained"]
    affine = own[(own["metric"] == "agreement") & (own["kind"] == "affine")]
    trained = affine[affine["at"] == REFERENCE]["value"]
    unseen = own[own["metric"] == "affine_unseen_agreement"]["value"]
    law = own[own["metric"] == "law_unseen_agreement"]["value"]
    return (
        "A second reduced model is an affine recurrence: a state of two numbers, and one affine map of it for each "
        f"bit. We fit it on the prefixes of ten bits. It gives {trained.median():.0%} of the network's answers to "
        f"strings of ten bits, and {unseen.median():.0%} to longer ones. The drift gives {law.median():.0%} of the "
        "latter. All three are medians."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = table[table["network"] == "planted/ones"].set_index("metric")["value"]
    fitted = table[(table["role"] == "fitted head") & (table["metric"] == "law_r_squared")]["value"]
    fair = (
        f" With a fitted head on untrained weights the drift explains {fitted.median():.0%} (median)."
        if len(fitted)
        else ""
    )
    return (
        f"In the planted counter of ones the drift explains {planted['law_r_squared']:.0%}. The recurrence gives "
        f"{planted['affine_unseen_agreement']:.0%} of its answers to longer strings.{fair}"
    )
