"""Can a linear probe read the count, and better than from any network of this size?"""

from __future__ import annotations

import pandas as pd

from analyses.counter import common, rules
from probe import Signal
from probe.evidence import DataFigure
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.question import Question
from probe.questions.states import linear_readout


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how well the count is read by step, beside the controls."""
    drawn = common.drawn(table, rules.LINEAR_READOUT[0])
    drawn = drawn[(drawn["metric"] == "r_squared") & (drawn["signal"] == Signal.CELL_STATE)].reset_index(drop=True)
    last = medians_in_words(drawn[drawn["step"] == drawn["step"].max()])
    return common.picture(
        lambda: linear_readout.draw(drawn, ax=new_figure(height=3.2)[1][0, 0]),
        name="readout_by_step",
        title="How well a probe reads the count, by step",
        alt=f"Lines of held-out R² by step; the numbers are those after the last. {last}",
        caption="Medians of the probe's R² on the cell state, with their 95 % intervals, from the first step with "
        "enough prefixes to hold some out.",
        data=drawn,
    )


QUESTION = Question(
    "linear_readout",
    "Can the count be read out of the state?",
    linear_readout.measure,
    rules=rules.LINEAR_READOUT,
    draw=figures,
    text="If training created what a probe finds, the probe should read trained states better than untrained ones.",
)
