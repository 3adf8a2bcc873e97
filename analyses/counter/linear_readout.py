"""Can a linear probe read the count, and better than from any network of this size?"""

from __future__ import annotations

import pandas as pd

from analyses.counter import common
from probe import Signal
from probe.evidence import DataFigure
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.question import Question
from probe.questions.states import linear_readout


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how well the count is read by step, beside the controls."""
    drawn = table[(table["metric"] == "r_squared") & (table["signal"] == Signal.CELL_STATE)].reset_index(drop=True)
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
    rules=(
        common.rule(
            key="II.2",
            statement="A linear probe reads the count out of the last state.",
            sentence="A linear probe reads the count off the last state (R²)",
            metric="last_step_r_squared",
            definition="Held-out R² of a linear probe at the last step (halves, both ways), the smaller of c's and "
            "h's.",
            source="Hupkes et al. 2018",
            at_least=0.95,
            controls=common.beside_untrained(0.02),
        ),
        common.rule(
            key="II.3",
            statement="The last state holds the count better than other memories of its input.",
            sentence="The last state holds the count better than other sums of the bits (R² more)",
            metric="selectivity",
            signal=Signal.HIDDEN_STATE,
            definition="Held-out R² of the count minus the mean of that of 200 sums of the bits with signs that "
            "nearly cancel; h after the last step.",
            source="Hewitt & Liang 2019; Voita & Titov 2020",
            at_least=0.5,
            controls=common.beside_untrained(0.1),
        ),
        common.rule(
            key="II.4",
            statement="The last state is mostly about the count.",
            sentence="Most of what varies in the last state is the count (share)",
            metric="between_concept_share",
            signal=Signal.HIDDEN_STATE,
            definition="Share of the variance of h after the last step that lies between counts, all units together.",
            source="Pearson 1905 (correlation ratio, eta squared)",
            at_least=0.8,
            controls=common.beside_untrained(0.1),
        ),
    ),
    draw=figures,
    text="If training created what a probe finds, the probe should read trained states better than untrained ones.",
)
