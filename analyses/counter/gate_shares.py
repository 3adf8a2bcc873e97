"""Through which gate of the counter does a bit act?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network, only
from probe.plots.style import new_figure
from probe.questions.interventions import gate_shares
from probe.questions.told import medians, ranked

BOUND = 0.5
SETUP = (
    "Bit t changed 0 to 1 and delivered to all subsets of {i, f, g, o}; expected answer, Shapley values summed over "
    "t = 2..10 and all contexts, over the sum of the whole differences"
)
SOURCE = "Shapley 1953; Karpathy et al. 2015 for the gate stories"
VERSION = 1
RULES = (
    Rule(
        key="II.15a",
        statement="A 1 opens the input gate.",
        metric="gate_share",
        signal="input_gate",
        definition=f"{SETUP}. The share of i.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
    Rule(
        key="II.15b",
        statement="A 1 is written by the candidate.",
        metric="gate_share",
        signal="cell_candidate",
        definition=f"{SETUP}. The share of g.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
    Rule(
        key="II.15c",
        statement="Constant gates suffice.",
        metric="constant_gates_accuracy",
        definition="Accuracy on all 1,024 strings with i, f and o frozen at their mean per unit and step.",
        source=SOURCE,
        established_if=Range.at_least(BOUND),
        refuted_if=Range.below(BOUND),
        controls=(Control(common.STRONGEST, 0.05),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the gates' shares in counters that answer with the count: an untrained head does not."""
    studied = common.pick(networks, *common.ANSWERING)
    return gate_shares.measure(common.subjects(studied))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the gates' shares and draw them."""
    drawn = common.drawn(table)
    figures = [_entering(only(drawn, metric="gate_share")), _lasting(drawn)]
    title = "Where does a bit enter?"
    notes = {"answer": _answer(table), "otherwise": _otherwise(table), "lasting": _lasts(drawn)}
    return common.finding("gate_shares", title, table, studied=networks, rules=RULES, figures=figures, notes=notes)


def _entering(shares: pd.DataFrame) -> DataFigure:
    middle = only(shares, role="trained").groupby("signal", sort=False)["value"].median().reset_index()
    return common.picture(
        lambda: gate_shares.draw(
            shares, thresholds={"input_gate": BOUND, "cell_candidate": BOUND}, ax=new_figure(height=3.4)[1][0, 0]
        ),
        name="gate_shares",
        title="Which gate lets a 1 in",
        alt=f"Dots, one a network. Median shares of trained networks: {', '.join(ranked(middle, gate_shares.name))}.",
        caption="At one step we turn a 0 into a 1, and show it to every subset of the gates. A share is what a gate "
        f"contributes to the change of the answer, over all steps but the first. The lines are the rules' {BOUND}.",
        data=shares[["role", "network", "pair", "signal", "value"]],
    )


def _lasting(drawn: pd.DataFrame) -> DataFigure:
    def draw(table: pd.DataFrame, ax: Axes) -> Axes:
        ax = gate_shares.draw_kept(table, ax=ax)
        ax.set_xticks(range(1, 11))
        ax.set_xlabel("bit at which it was written")
        return ax

    return common.picture(
        lambda: draw(drawn, ax=new_figure(height=3.2)[1][0, 0]),
        name="kept",
        title="How long the most lasting cell keeps what was written",
        alt=f"Lines falling towards earlier bits. {_lasts(drawn)}",
        caption="What is left of a bit is the product of all later forget gates. We show its mean over strings, in "
        "the unit of each network that keeps the first bit best. Thin lines are networks, thick ones medians. A cell "
        "that holds a sum of equal bits keeps all bits alike, as that of the planted counter does.",
        data=gate_shares.most_lasting(drawn)[["role", "network", "pair", "units", "step", "value"]],
    )


def _lasts(drawn: pd.DataFrame) -> str:
    lasting = gate_shares.most_lasting(drawn)
    left = medians(lasting[lasting["step"] == 0])
    return (
        "In each network we take the cell that keeps the first bit best. Of what that bit wrote into it, this share "
        f"is left at the end (median): {left}."
    )


def _of(table: pd.DataFrame, **columns: str) -> tuple[pd.Series, pd.Series]:
    """Return the candidate's shares, and the accuracies with constant gates."""
    written = only(table, metric="gate_share", signal="cell_candidate", **columns)["value"]
    return written, only(table, metric="constant_gates_accuracy", **columns)["value"]


def _answer(table: pd.DataFrame) -> str:
    written, constant = _of(table, role="trained")
    return (
        f"{written.median():.0%} of what a 1 changes in the answer enters through the candidate. The candidate is "
        "what a step would write into the cell, and the gates scale it. The share above is the median over "
        f"{len(written)} trained networks; the smallest is {written.min():.0%}. Do the gates matter, then? We freeze "
        f"the three gates at their means: the median network answers {constant.median():.0%} of the strings right, "
        f"and the best one {constant.max():.0%}."
    )


def _otherwise(table: pd.DataFrame) -> str:
    written, constant = _of(table, network="planted/ones")
    return (
        "The gates of the planted counter stand open whatever comes. There the candidate's share is "
        f"{written.item():.2f}, and with frozen gates {constant.item():.0%} of the answers are right."
    )
