"""Through which gate of the counter does a bit act?"""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from probe.evidence import Control, DataFigure
from probe.evidence.claims import STRONGEST
from probe.evidence.measurements import only
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.interventions import gate_shares
from probe.questions.question import Question

BOUND = 0.5
SETUP = (
    "Bit t changed 0 to 1 and delivered to all subsets of {i, f, g, o}; expected answer, Shapley values summed over "
    "t = 2..10 and all contexts, over the sum of the whole differences"
)
SOURCE = "Shapley 1953; Karpathy et al. 2015 for the gate stories"


def figures(table: pd.DataFrame) -> list[DataFigure]:
    """Draw the gates' shares, and how long what was written lasts."""
    drawn = common.drawn(table)
    return [_entering(only(drawn, metric="gate_share")), _lasting(drawn)]


def _entering(shares: pd.DataFrame) -> DataFigure:
    middle = only(shares, role="trained").groupby("signal", sort=False)["value"].median()
    said = [f"{gate_shares.name(str(signal))} {value:.2f}" for signal, value in middle.items()]
    return common.picture(
        lambda: gate_shares.draw(
            shares, thresholds={"input_gate": BOUND, "cell_candidate": BOUND}, ax=new_figure(height=3.4)[1][0, 0]
        ),
        name="gate_shares",
        title="Which way a 1 gets in",
        alt=f"Dots, one a network. Median shares of trained networks: {', '.join(said)}.",
        caption="Each subset of the gates is shown the 1. A share is what each adds to the change in the answer. The "
        f"lines are the rules' {BOUND}.",
        data=shares[["role", "network", "pair", "signal", "value"]],
    )


def _lasting(drawn: pd.DataFrame) -> DataFigure:
    lasting = gate_shares.most_lasting(drawn)

    def draw() -> Axes:
        ax = gate_shares.draw_kept(drawn, ax=new_figure(height=3.2)[1][0, 0])
        ax.set_xticks(range(1, 11))
        ax.set_xlabel("bit at which it was written")
        return ax

    return common.picture(
        draw,
        name="kept",
        title="How long the longest-lasting cell keeps what was written",
        alt="Lines falling towards earlier bits; the numbers are those of the first bit. "
        + medians_in_words(lasting[lasting["step"] == 0]),
        caption="What is left of a bit: the product of all later forget gates, in each network's unit that keeps the "
        "first bit best. Lines are medians, bands 95 % intervals.",
        data=lasting[["role", "network", "pair", "units", "step", "value"]],
    )


rule = partial(common.rule, source=SOURCE, at_least=BOUND, controls=(Control(STRONGEST, 0.05),))
QUESTION = Question(
    "gate_shares",
    "Where does a bit enter?",
    gate_shares.measure,
    roles=common.ANSWERING,
    rules=(
        rule(
            key="II.15a",
            statement="A 1 opens the input gate.",
            sentence="A 1 opens the input gate (share of this gate)",
            metric="gate_share",
            signal="input_gate",
            definition=f"{SETUP}. The share of i.",
        ),
        rule(
            key="II.15b",
            statement="A 1 is written by the candidate.",
            sentence="A 1 enters through the candidate (share of the candidate)",
            metric="gate_share",
            signal="cell_candidate",
            definition=f"{SETUP}. The share of g.",
        ),
        rule(
            key="II.15c",
            statement="Constant gates suffice.",
            sentence="Constant gates suffice (accuracy)",
            metric="constant_gates_accuracy",
            definition="Accuracy on all 1,024 strings with i, f and o frozen at their mean per unit and step.",
        ),
    ),
    draw=figures,
    text="We turn a 0 into a 1, and ask by what route the answer changes. The candidate is what a step "
    "writes into the cell; the gates scale it.",
)
