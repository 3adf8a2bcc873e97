"""What the words of several questions share: the controls beside a network, and a picture with its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..evidence.findings import DataFigure
from ..evidence.measurements import only
from ..evidence.words import listed, said
from ..plots.study_figures import drawing, drawn
from ..subjects.alphabet import affordable, around, at_lengths
from ..subjects.answers import head_of
from ..subjects.ends import ends_of, step_of
from ..subjects.subject import Subject
from .question import Answered

if TYPE_CHECKING:
    import pandas as pd


def ran(subject: Subject) -> str:
    """Return which sequences a question ran, all or those that were drawn, and which of their steps."""
    return f"We ran {ends_of(subject).said}."


def at_pairs(subject: Subject) -> str:
    """Return the same of a question that patches one sequence's state into another's run at a step."""
    return f"{ran(subject)} States are changed {ends_of(subject).after(step_of(subject, None))}."


def asked_at(subject: Subject, lengths: Sequence[int]) -> str:
    """Return which sequences were asked at some lengths: all that there are, or as many as were drawn.

    Args:
        subject: one of the networks.
        lengths: which.
    """
    asked = at_lengths(subject, lengths, most=affordable(subject, around(subject)))
    drawn = [length for length, found in asked.items() if not found.exhaustive]
    which = "all that can occur and have a right answer"
    if drawn:
        most = max(len(asked[length].x) for length in drawn)
        which += f" where these are few, and {most:,} drawn of each of {_in_words(drawn)} steps"
    which = f"We asked sequences of {_in_words(list(asked))} steps over the inputs of the study, {which}."
    head, right = head_of(subject), np.concatenate([found.right for found in asked.values()])
    lost = 0 if head is None else int((~head.gives(torch.as_tensor(right))).sum())
    return f"{which} To {lost:,} of them the readout cannot give the right answer." if lost else which


def asked_around(subject: Subject) -> str:
    """Return which sequences were asked at the lengths around the study's own."""
    return asked_at(subject, around(subject))


def _in_words(lengths: Sequence[int]) -> str:
    return listed([str(length) for length in sorted(lengths)])


def of_network(answered: Answered, metric: str, **columns: str) -> pd.DataFrame:
    """Return the rows of a metric of the network under study, without those of its controls."""
    return only(answered.table, metric=metric, network=answered.subject.network.name, **columns)


def beside(answered: Answered, metric: str, what: str = "Controls", **columns: str) -> str:
    """Return the sentence on a metric of the controls, the median of each role; empty where there is none.

    Args:
        answered: what was measured.
        metric: which.
        what: the beginning of the sentence, before a colon.
        **columns: which rows of the metric.
    """
    rows = only(answered.table, metric=metric, **columns)
    rows = rows[rows["network"] != answered.subject.network.name]
    return f" {what}: {medians(rows)}." if len(rows) else ""


def controls_of(answered: Answered, metric: str, **columns: str) -> str:
    """Return the largest value of a metric in the controls, in brackets: the median of each role; empty without any.

    Args:
        answered: what was measured.
        metric: which.
        **columns: which rows of the metric.
    """
    rows = only(answered.table, metric=metric, **columns)
    rows = rows[rows["network"] != answered.subject.network.name]
    values = rows.groupby(["role", "network"], sort=False)["value"].max().groupby("role", sort=False).median()
    return f" ({listed([f'{role} {said(float(value))}' for role, value in values.items()])})" if len(values) else ""


def medians(rows: pd.DataFrame) -> str:
    """Return the median of each role in words."""
    values = rows.groupby("role", sort=False)["value"].median()
    return listed([f"{role} {said(float(value))}" for role, value in values.items()])


def figure_of(
    answered: Answered, draw: Callable[[pd.DataFrame], Any], metric: str, *, title: str, alt: str, caption: str
) -> Callable[[], tuple[DataFigure]]:
    """Return what draws the picture of a network with its controls, with the rows of a metric as its data.

    Args:
        answered: what was measured.
        draw: the question's picture.
        metric: which rows it shows.
        title: a short name.
        alt: what it shows, with a number.
        caption: the line below it.
    """

    def picture() -> tuple[DataFigure]:
        rows: Any = only(answered.table, metric=metric)
        with drawing():
            figure: Any = draw(answered.table).figure
            data = rows.loc[:, (rows != "").any() & rows.notna().any()].reset_index(drop=True)
            return (drawn(figure, name=answered.name, title=title, alt=alt, caption=caption, data=data),)

    return picture
