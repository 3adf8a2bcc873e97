"""Through which gate of the counter does a bit act?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common, rules
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.interventions import gate_shares
from probe.questions.question import Question


def figures(table: pd.DataFrame) -> list[DataFigure]:
    """Draw the gates' shares, and how long what was written lasts."""
    drawn = common.drawn(table, rules.GATE_SHARES[1])
    return [_entering(only(drawn, metric="gate_share")), _lasting(drawn)]


def _entering(shares: pd.DataFrame) -> DataFigure:
    middle = only(shares, role="trained").groupby("signal", sort=False)["value"].median()
    said = [f"{gate_shares.name(str(signal))} {value:.2f}" for signal, value in middle.items()]
    return common.picture(
        lambda: gate_shares.draw(
            shares,
            thresholds={"input_gate": rules.GATE, "cell_candidate": rules.GATE},
            ax=new_figure(height=3.4)[1][0, 0],
        ),
        name="gate_shares",
        title="Which way a 1 gets in",
        alt=f"Dots, one a network. Median shares of trained networks: {', '.join(said)}.",
        caption="Each subset of the gates is shown the 1. A share is what each adds to the change in the answer. The "
        f"lines are the rules' {rules.GATE}. {common.BEST_HEAD}",
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


QUESTION = Question(
    "gate_shares",
    "Where does a bit enter?",
    gate_shares.measure,
    roles=common.ANSWERING,
    rules=rules.GATE_SHARES,
    draw=figures,
    text="We turn a 0 into a 1, and ask by what route the answer changes. The candidate is what a step "
    "writes into the cell; the gates scale it.",
)
