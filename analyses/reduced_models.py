"""How few numbers predict the counter's answers at lengths that the fit has not seen?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from models.tasks import bit_strings, running_count
from probe import Control, DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.answers import programs
from probe.questions.states import reduced_models

from . import common
from .programs import askable

BOUND, REFERENCE, FITTED_ON, LENGTHS = 0.9, 10, range(1, 11), range(8, 15)
PLANTED = ("planted/ones", "planted/ones-alone", "planted/zeros")
VERSION = 1
RULES = (
    Rule(
        key="20",
        statement="One number predicts the answers at another length.",
        metric="law_r_squared",
        definition="R² of the expected answer at 12 bits by ones + d (10 - L), d fitted on 8 to 10 bits; the null is "
        "the best of d = 0, 0.5 and 1 (counting ones, balance, counting zeros).",
        source="Suzgun et al. 2019; El-Naggar et al. 2022",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control("null", 0.0),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the drift's law and an affine recurrence against counters' answers at other lengths."""
    strings = {length: bit_strings(length) for length in LENGTHS}
    strings = {length: x[askable(x)] for length, x in strings.items()}
    counts = {length: running_count(x)[:, -1] for length, x in strings.items()}
    return reduced_models.measure(
        common.pick(networks, *common.ANSWERING, "untrained"),
        strings,
        counts,
        answer=answer,
        expected=expected_answer,
        reference=REFERENCE,
        fitted_on=FITTED_ON,
        tested_at=LENGTHS,
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the law and draw how much it explains."""
    with style():
        figures = [_explained(table), _agreement(table)]
    notes = {"answer": _answer(table), "recurrence": _recurrence(table), "otherwise": _otherwise(table)}
    title = "How few numbers say what the network answers?"
    return common.finding("reduced_models", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _explained(table: pd.DataFrame) -> DataFigure:
    metrics = ["fixed_r_squared", "law_r_squared", "affine_r_squared"]
    own = table["subject"].isin(["trained", "readout"]) | table["network"].isin(PLANTED)
    drawn = table[own & table["metric"].isin(metrics)].reset_index(drop=True)
    figure, axes = new_figure(height=3.4)
    ax = reduced_models.draw(drawn, threshold=BOUND, ax=axes[0, 0])
    ax.set_ylabel("R² at 12 bits")
    medians = drawn.groupby(["subject", "metric"])["value"].median().unstack()
    parts = [
        f"{role_name(subject)} {row['fixed_r_squared']:.2f}, {row['law_r_squared']:.2f}, "
        f"{row['affine_r_squared']:.2f}"
        for subject, row in medians.iterrows()
    ]
    return DataFigure.from_figure(
        figure,
        name="explained-at-twelve",
        title="How well a reduced model predicts the answers on 12 bits",
        alt="R² of the best named program, of one fitted number and of the affine recurrence, medians over networks: "
        f"{'; '.join(parts)}.",
        caption="Each dot is one network, each bar the 95 % interval of the median, the line the rule's "
        f"{BOUND}. Nothing was fitted on 12 bits. We leave out own initialisations: their answers hardly vary.",
        data=drawn,
    )


def _agreement(table: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=3.4)
    ax = programs.draw(table, reference=REFERENCE, ax=axes[0, 0])
    ax.set_xlabel("bits")
    handles, _ = ax.get_legend_handles_labels()
    figure.legend(handles, ["one number: the drift", "affine recurrence"], loc="outside upper center", ncols=2)
    rows = table[(table["metric"] == "agreement") & (table["subject"] == "trained")]
    medians = common.medians(rows, ["signal", "units"]).rename(columns={"signal": "model", "units": "length"})
    by_model = medians.set_index(["model", "length"])["median"]
    parts = [
        f"{length} bits {by_model['law', length]:.2f} and {by_model['affine', length]:.2f}"
        for length in ("8", "10", "12", "14")
    ]
    return DataFigure.from_figure(
        figure,
        name="agreement-by-length",
        title="How often a reduced model gives the answer of a trained network",
        alt=f"Share of equal answers of the drift's law and the affine recurrence, medians: {'; '.join(parts)}.",
        caption="Lines are medians over trained networks, bands 95 % intervals. The drift is fitted on 8 to 10 "
        "bits, the "
        "recurrence on all prefixes of ten bits; longer strings are unseen by both.",
        data=medians,
    )


def _answer(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"].groupby("metric")["value"]
    law, margin, fixed = (own.get_group(name) for name in ("law_r_squared", "law_margin", "fixed_r_squared"))
    return (
        f"One number, the drift, explains {law.median():.0%} of the answers to longer strings. We fit the d of ones "
        "+ d (10 - L) on 8 to 10 bits, and ask how much of the variance it explains on 12 bits (median; "
        f"{law.min():.0%} to {law.max():.0%}). The best of ones, balance and zeros explains {fixed.median():.0%}, "
        f"and less than the drift in {(margin > 0).sum()} of {len(margin)} networks."
    )


def _recurrence(table: pd.DataFrame) -> str:
    own = table[table["subject"] == "trained"]
    affine = own[(own["metric"] == "agreement") & (own["signal"] == "affine")]
    trained = affine[affine["units"] == str(REFERENCE)]["value"]
    unseen = own[own["metric"] == "affine_unseen_agreement"]["value"]
    law = own[own["metric"] == "law_unseen_agreement"]["value"]
    return (
        "An affine recurrence has two dimensions and one map for each bit, fitted on the prefixes of ten bits. On "
        f"the ten-bit strings it gives {trained.median():.0%} of the network's answers (median; the worst: "
        f"{trained.min():.0%}), and on longer ones {unseen.median():.0%}. The drift gives {law.median():.0%} of "
        "those."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = table[table["network"] == "planted/ones"].set_index("metric")["value"]
    fitted = table[(table["subject"] == "readout") & (table["metric"] == "law_r_squared")]["value"]
    fair = (
        f" It explains {fitted.median():.0%} with a fitted head on untrained weights (median)." if len(fitted) else ""
    )
    return (
        f"In the planted counter of ones the drift explains {planted['law_r_squared']:.0%}, and the recurrence gives "
        f"{planted['affine_unseen_agreement']:.0%} of the answers to longer strings.{fair}"
    )
