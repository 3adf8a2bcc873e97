"""What the page of one network says of its answers after several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...evidence.measurements import only
from ..question import Answered, Told
from ..told import figure_of, of_network

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ...subjects.subject import Subject

#: From a question's table to its picture, and from a network to the words on how it was measured.
Draw = Callable[["pd.DataFrame"], "Axes"]
Setup = Callable[["Subject"], str]
_CAPTION = "Each mark is a network, the one under study or a control."


def single_answers(answered: Answered, *, draw: Draw, setup: Setup) -> Told:
    """Say how many later answers follow the direction, beside the whole state and nothing.

    Args:
        answered: what was measured.
        draw: the question's picture.
        setup: how it was measured, in words.
    """
    metrics = ("followed", "followed_whole", "followed_unpatched")
    along, whole, nothing = (float(of_network(answered, metric)["value"].iloc[0]) for metric in metrics)
    first = (
        "If we patch another sequence's state along the direction in which states move with "
        f"“{answered.subject.answered.name}”, {along:.0%} of the later answers follow. With the whole state "
        f"{whole:.0%} follow, and without a patch {nothing:.0%}. We tried no other direction."
    )
    title = "Later answers that follow the direction, and the whole state"
    figure = figure_of(answered, draw, "worst_followed", title=title, alt=first, caption=_CAPTION)
    notes = {"answer": f"{first}{_beside(answered, 'worst_followed')}", "setup": setup(answered.subject)}
    return Told(notes, figure)


def _beside(answered: Answered, metric: str) -> str:
    """Return the sentence on the fitted head; empty where there is none."""
    rows = only(answered.table, metric=metric, role="fitted head")["value"]
    if rows.empty:
        return ""
    return f" In a network with random weights and a fitted head it is {float(rows.median()):.1%}."
