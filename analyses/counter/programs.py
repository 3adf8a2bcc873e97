"""Which program does the counter run? Four rivals that agree at ten bits are compared at other lengths."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analyses.counter import common
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.methods.abstraction.programs import Drifting
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure
from probe.questions.answers import programs
from probe.questions.question import Question

LENGTHS, REFERENCE, FITTED_ON = range(6, 17), 10, (8, 9, 10)
Bits = tuple[int, ...]


def ones(bits: Bits) -> int:
    """Count the ones."""
    return sum(bits)


def zeros_backwards(bits: Bits) -> int:
    """Start at ten and take one off for each zero: a clock that expects ten bits."""
    return REFERENCE - (len(bits) - sum(bits))


def balance(bits: Bits) -> float:
    """Weigh the ones against the zeros: half of ten, and half of what the ones have more."""
    return (REFERENCE + sum(bits) - (len(bits) - sum(bits))) / 2


PROGRAMS = {
    "ones": ones,
    "zeros backwards": zeros_backwards,
    "balance": balance,
    "ones with a drift": Drifting(ones, REFERENCE, FITTED_ON),
}


def figures(table: pd.DataFrame) -> DataFigure:
    """Draw how often the answers are those of four programs."""
    rows = only(table, metric="agreement", role="trained")
    medians = common.medians(rows, ["kind", "at"]).rename(columns={"kind": "program", "at": "length"})
    return common.picture(
        lambda: _draw(table),
        name="agreement-trained",
        title="How often trained networks give a program's answer",
        alt=medians_in_words(rows[rows["at"].isin([8, REFERENCE, 12])]),
        caption="On ten bits all four agree. Where a program gives a half, the counts on either side are accepted.",
        data=medians,
    )


def _draw(table: pd.DataFrame) -> Figure:
    figure, axes = new_figure(height=3.8)
    programs.draw(table, reference=REFERENCE, ax=axes[0, 0]).set_xlabel("bits")
    return figure


QUESTION = Question(
    "programs",
    "Which program does the network run?",
    programs.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"programs": PROGRAMS, "lengths": LENGTHS},
    draw=figures,
    text="Three fixed programs count the ones, take the zeros off ten, or weigh ones against zeros. A fourth adds a "
    "drift for each missing bit, fitted to each network on eight to ten bits.",
)
