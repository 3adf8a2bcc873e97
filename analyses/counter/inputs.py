"""What does each bit contribute to the counter's answer?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.networks import draw_role_lines
from probe.plots.style import new_figure
from probe.questions.answers import inputs
from probe.questions.question import Question


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how far each bit moves the answer."""
    drawn = common.drawn(table)
    effects = only(drawn, metric="effect_at_step").assign(bit=lambda rows: rows["step"] + 1)

    def drawing() -> Axes:
        ax = draw_role_lines(effects, ax=new_figure(height=3.6)[1][0, 0], at="bit")
        ax.set(xlabel="bit that is flipped", ylabel="change of the answer", ylim=(0, None))
        ax.axhline(1, color="black", linewidth=0.6, zorder=0)
        return ax

    trained = only(effects, role="trained").groupby("bit")["value"].median()
    return common.picture(
        drawing,
        name="inputs",
        title="What each bit contributes to the answer",
        alt=f"Flipping a bit moves the answer of a trained network by {trained.min():.2f} to {trained.max():.2f}.",
        caption="A counter moves by one, wherever the bit stands. Medians over networks with their interval.",
        data=effects[["role", "network", "pair", "bit", "value"]],
    )


QUESTION = Question(
    "inputs",
    "What does each bit contribute?",
    inputs.measure,
    roles=common.ANSWERING,
    draw=figures,
    text="We flip one bit, run the rest, and compare the last answers. A network that is always right moves by one.",
)
