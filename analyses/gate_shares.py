"""Through which gate of the counter does a bit act?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network, role_name
from probe.plots.style import new_figure, style
from probe.questions.interventions import gate_shares

from . import common

BOUND = 0.5
SETUP = (
    "Bit t changed 0 to 1 and delivered to all subsets of {i, f, g, o}; expected answer, Shapley values summed over "
    "t = 2..10 and all contexts, over the sum of the whole differences"
)
SOURCE = "Shapley 1953; Karpathy et al. 2015 for the gate stories"
VERSION = 1
RULES = (
    Rule(
        key="15a",
        statement="A 1 opens the input gate.",
        metric="gate_share",
        signal="input_gate",
        definition=f"{SETUP}. The share of i.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
    Rule(
        key="15b",
        statement="A 1 is written by the candidate.",
        metric="gate_share",
        signal="cell_candidate",
        definition=f"{SETUP}. The share of g.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
    Rule(
        key="15c",
        statement="Constant gates suffice.",
        metric="constant_gates_accuracy",
        definition="Accuracy on all 1,024 strings with i, f and o frozen at their mean per unit and step.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the gates' shares in counters that answer with the count: an untrained head and a template do not."""
    studied = common.pick(networks, *common.ANSWERING)
    return gate_shares.measure(studied, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the gates' shares and draw them."""
    drawn = common.drawn(table)
    with style():
        figures = [_entering(drawn), _lasting(drawn)]
    title = "Where does a bit enter?"
    notes = {"answer": _answer(table), "otherwise": _otherwise(table), "lasting": _lasts(drawn)}
    return common.finding("gate_shares", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _entering(drawn: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=3.4)
    bounds = {"input_gate": BOUND, "cell_candidate": BOUND}
    gate_shares.draw(drawn, thresholds=bounds, ax=axes[0, 0])
    return DataFigure.from_figure(
        figure,
        name="gate_shares",
        title="Which gate lets a 1 in",
        alt=f"Dots, one a network, in four columns. Median shares of trained networks: {_shares(drawn)}.",
        caption="A 0 becomes a 1 at one step, and every subset of the four gates sees it. What each contributes to "
        "the change of the answer, in exact shares that sum to 1, over steps 2 to 10 and all contexts; the lines are "
        f"the rules' {BOUND}.",
        data=drawn[drawn["metric"] == "gate_share"][["subject", "network", "seed", "signal", "value"]],
    )


def _lasting(drawn: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=3.2)
    ax = gate_shares.draw_kept(drawn, ax=axes[0, 0])
    lasting = gate_shares.most_lasting(drawn)
    ax.set_xticks(range(10), [str(bit) for bit in range(1, 11)])
    ax.set_xlabel("bit at which it was written")
    return DataFigure.from_figure(
        figure,
        name="kept",
        title="How long the most lasting cell keeps what was written",
        alt=f"Lines falling towards earlier bits. {_lasts(drawn)}",
        caption="The product of all later forget gates, mean over strings, in the unit of each network where most "
        "of the first bit is left. Thin lines are networks, thick ones medians. A cell that is to hold a sum of "
        "equal bits must keep them all alike, as the planted counter does.",
        data=lasting[["subject", "network", "seed", "units", "step", "value"]],
    )


def _lasts(drawn: pd.DataFrame) -> str:
    first = gate_shares.most_lasting(drawn)
    first = first[first["step"] == 0].groupby("subject", sort=False)["value"].median()
    parts = ", ".join(f"{role_name(subject)} {left:.2f}" for subject, left in first.items())
    return f"Of what the first bit wrote into the most lasting cell, this share is left at the end (median): {parts}."


def _of(table: pd.DataFrame, subject: str) -> pd.DataFrame:
    return table[(table["metric"] == "gate_share") & (table["subject"] == subject)]


def _shares(table: pd.DataFrame) -> str:
    middle = _of(table, "trained").groupby("signal", sort=False)["value"].median()
    shares = {str(signal).replace("_", " "): share for signal, share in middle.items()}
    return ", ".join(f"{name} {share:.2f}".replace("-0.00", "0.00") for name, share in shares.items())


def _answer(table: pd.DataFrame) -> str:
    own = _of(table, "trained")
    written = own[own["signal"] == "cell_candidate"]["value"]
    constant = table[(table["metric"] == "constant_gates_accuracy") & (table["subject"] == "trained")]["value"]
    return (
        f"{written.median():.0%} of what a 1 changes in the answer enters through the candidate. That is the median "
        f"over {len(written)} trained networks; the share runs from {written.min():.0%} to {written.max():.0%}. With "
        "the three gates frozen at their means, a network answers "
        f"{constant.min():.0%} to {constant.max():.0%} of the strings right (median {constant.median():.0%})."
    )


def _otherwise(table: pd.DataFrame) -> str:
    own = table[table["network"] == "planted/ones"]
    written = own[(own["metric"] == "gate_share") & (own["signal"] == "cell_candidate")]["value"].item()
    constant = own[own["metric"] == "constant_gates_accuracy"]["value"].item()
    return (
        "In the planted counter, whose gates stand open whatever comes, the candidate's share is "
        f"{written:.2f} and frozen gates answer {constant:.0%} right."
    )
