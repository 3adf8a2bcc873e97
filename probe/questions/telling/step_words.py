"""What the page of one network says of its answers after a direction of its state was patched."""

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


def single_answers(
    answered: Answered, *, draw: Callable[[pd.DataFrame], Axes], setup: Callable[[Subject], str]
) -> Told:
    """Say how many later answers follow the direction, beside the whole state, nothing and a fitted head.

    Args:
        answered: what was measured.
        draw: the question's picture.
        setup: how it was measured, in words.
    """
    metrics = ("followed", "followed_whole", "followed_unpatched")
    along, whole, nothing = (float(of_network(answered, metric)["value"].iloc[0]) for metric in metrics)
    fitted = only(answered.table, metric="worst_followed", role="fitted head")["value"]
    text = (
        "If we patch another sequence's state along the direction in which states move with "
        f"“{answered.subject.answered.name}”, {along:.0%} of the later answers follow. With the whole state "
        f"{whole:.0%} follow, and without a patch {nothing:.0%}."
        f"{f' With a fitted head {fitted.median():.1%} follow.' if len(fitted) else ''}"
    )
    title, caption = "Later answers that follow the direction, and the whole state", "Each mark is a network."
    figure = figure_of(answered, draw, "worst_followed", title=title, alt=text, caption=caption)
    return Told({"answer": text, "setup": setup(answered.subject)}, figure)
