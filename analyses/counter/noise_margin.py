"""How much noise in its state do the counter's answers survive?"""

from __future__ import annotations

import pandas as pd

from analyses.counter import common, rules
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.question import Question
from probe.questions.states import noise_margin

DOSE = 0.1


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw the accuracy with noise, by dose."""
    drawn = common.drawn(table)
    curves = only(drawn, metric="accuracy_by_dose")[["role", "network", "pair", "at", "value"]]
    return common.picture(
        lambda: noise_margin.draw(drawn, ax=new_figure(height=3.6)[1][0, 0]),
        name="noise_margin",
        title="Accuracy with noise in every number of the state",
        alt=f"Accuracy falls with the dose of noise. {medians_in_words(only(drawn, metric='noisy_accuracy'))}",
        caption=f"Thin lines are networks, thick ones medians; the vertical line is the rule's dose, {DOSE:g}.",
        data=curves.rename(columns={"at": "dose"}),
    )


QUESTION = Question(
    "noise_margin",
    "Is the count held with a margin?",
    noise_margin.measure,
    roles=common.ANSWERING,
    settings={"dose": DOSE, "draws": 32},
    rules=rules.NOISE_MARGIN,
    draw=figures,
    text="We add a little Gaussian noise to every number of the state after every step.",
)
