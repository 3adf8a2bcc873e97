"""Where does the counter keep its sum between steps: in the cell, or in what the gates read of the hidden state?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, Range, Rule
from probe.evidence.measurements import Network, only
from probe.questions.interventions import routes

BOUND = 0.5
VERSION = 1
RULES = (
    Rule(
        key="II.7a",
        statement="The cell carries most of it.",
        metric="route_share",
        signal="cell_state",
        definition="After 7 bits, between a string and the same with bit 5 flipped 0 to 1: all 32 subsets of the "
        "routes (c through f*c; h into i, g, f and o) delivered for one step, then the run goes on; expected answer "
        "over all suffixes, sum of the Shapley values over the sum of the whole differences. The share of f*c.",
        source="Shapley 1953; Geiger et al. 2021 and 2023; Sutter et al. 2025",
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the routes' shares in counters that answer with the count: an untrained head does not."""
    studied = common.pick(networks, *common.ANSWERING)
    return routes.measure(common.subjects(studied), step=6, changed=4)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the routes' shares."""
    title = "Where does the sum live from step to step?"
    planted = only(table, network="planted/ones", signal="cell_state")["value"].item()
    notes = {
        "answer": _answer(only(table, metric="route_share")),
        "otherwise": f"If the sum stays in its cell, the share is that of the planted counter: {planted:.2f}.",
    }
    return common.finding("routes", title, table, studied=networks, rules=RULES, notes=notes)


def _answer(shares: pd.DataFrame) -> str:
    own = only(shares, role="trained")
    cell, gates = only(own, signal="cell_state")["value"], own[own["signal"] != "cell_state"]
    written_again = gates.groupby("network")["value"].sum().median()
    fitted = common.strongest(shares, RULES[0])
    compared = f" With the best of three fitted heads on untrained weights it is {fitted.median():.0%}."
    compared = compared if len(fitted) else ""
    return (
        f"{cell.median():.0%} of the sum goes from step to step through the cell. We take two strings whose counts "
        "differ by one, and ask by which routes this difference reaches the next state. The share of the cell is the "
        f"median over {len(cell)} trained networks, and at least half in {(cell >= BOUND).sum()} of them.{compared} "
        f"The rest ({written_again:.0%}) is written again by gates that read the hidden state."
    )
