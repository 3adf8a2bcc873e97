"""Where does the counter keep its sum between steps: in the cell, or in what the gates read of the hidden state?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.counter import answer, expected_answer
from probe import DataFigure, Finding, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.style import new_figure, style
from probe.questions.interventions import routes

from . import common

BOUND = 0.5
VERSION = 1
RULES = (
    Rule(
        key="7a",
        statement="The cell carries most of it.",
        metric="route_share",
        signal="cell_state",
        definition="After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 32 subsets of the "
        "routes (c through f*c; h into i, g, f and o) delivered for one step, then the run goes on; expected answer "
        "over all suffixes, sum of the Shapley values over the sum of the whole differences. The share of f*c.",
        source="Shapley 1953; Geiger et al. 2021 and 2023; Sutter et al. 2025",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the routes' shares in counters that answer with the count: an untrained head and a template do not."""
    studied = common.pick(networks, *common.ANSWERING)
    return routes.measure(
        studied, common.STRINGS, common.COUNTS, answer=answer, expected=expected_answer, step=6, changed=4
    )


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the routes' shares and draw them."""
    drawn = common.drawn(table)
    with style():
        figure, axes = new_figure(height=3.6)
        routes.draw(drawn, thresholds={"cell_state": BOUND}, ax=axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name="routes",
            title="By which route one count reaches the next state",
            alt=f"Dots, one a network, in five columns. Median shares of trained networks: {_shares(drawn)}.",
            caption="A difference of one count after seven bits is let through every subset of the five routes for "
            "one step; the shares are exact and sum to 1. Bars are 95 % intervals of the median, the line is the "
            f"rule's {BOUND}. In the planted counter all of it stays in the cell.",
            data=drawn[drawn["metric"] == "route_share"][["subject", "network", "seed", "signal", "value"]],
        )
    title = "Where does the sum live from step to step?"
    notes = {"answer": _answer(table), "otherwise": _otherwise(table)}
    return common.finding("routes", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _of(table: pd.DataFrame, subject: str) -> pd.DataFrame:
    return table[(table["metric"] == "route_share") & (table["subject"] == subject)]


def _shares(table: pd.DataFrame) -> str:
    middle = _of(table, "trained").groupby("signal", sort=False)["value"].median()
    names = {str(signal): routes.LABELS[str(signal)].replace("\n", " ") for signal in middle.index}
    shares = {names[str(signal)]: share for signal, share in middle.items()}
    return ", ".join(f"{name} {share:.2f}".replace("-0.00", "0.00") for name, share in shares.items())


def _answer(table: pd.DataFrame) -> str:
    own = _of(table, "trained")
    cell = own[own["signal"] == "cell_state"]["value"]
    gates = own[own["signal"] != "cell_state"].groupby("network")["value"].sum()
    fitted = _of(table, "readout")
    fitted = fitted[fitted["signal"] == "cell_state"]["value"]
    compared = f" With a fitted head on untrained weights it is {fitted.median():.0%}." if len(fitted) else ""
    return (
        f"{cell.median():.0%} of the sum goes from step to step through the cell. That is the median share of a "
        f"difference of one count; it is {cell.min():.0%} to {cell.max():.0%}, and at least half in "
        f"{(cell >= BOUND).sum()} of {len(cell)} trained networks.{compared} Gates that read the hidden state write "
        f"the rest again ({gates.median():.0%}; the figure shows which)."
    )


def _otherwise(table: pd.DataFrame) -> str:
    own = table[(table["network"] == "planted/ones") & (table["signal"] == "cell_state")]
    return f"A sum that stays in its cell gives the share of the planted counter: {own['value'].item():.2f}."
