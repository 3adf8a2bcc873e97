"""What does a reset after some bits do to the counter's answers?"""

from __future__ import annotations

import pandas as pd

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.answers import memory
from probe.questions.question import Question


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw what is left of the change that a reset makes."""
    drawn = common.drawn(table)
    kept = medians_in_words(only(drawn, metric="kept_at_end"))
    return common.picture(
        lambda: memory.draw(drawn, ax=new_figure(height=3.6)[1][0, 0]),
        name="memory",
        title="What is left of the change that a reset makes",
        alt=f"The change of the answer by the number of bits read since the reset. At the end: {kept}",
        caption="One is the change at once. Medians over networks with their interval.",
        data=only(drawn, metric="kept_at_lag")[["role", "network", "pair", "at", "value"]].rename(
            columns={"at": "lag"}
        ),
    )


QUESTION = Question(
    "memory",
    "How long does the count last?",
    memory.measure,
    roles=common.ANSWERING,
    draw=figures,
    text="We set the whole state back to the initial one after a bit, let the network read the rest, and compare its "
    "answers with those of the undisturbed run.",
)
