"""What the words of several questions share: the controls beside a network, and a picture with its words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..evidence.claims import called
from ..evidence.findings import DataFigure
from ..evidence.measurements import CONTROLS, only
from ..evidence.words import listed, said
from ..plots.study_figures import drawing, drawn
from ..subjects.alphabet import affordable, around, at_lengths
from ..subjects.answers import head_of
from ..subjects.ends import ends_of, step_of
from ..subjects.states import rows_within_budget, studied_layer
from ..subjects.subject import Subject
from . import needs
from .question import Answered


def measured_on(subject: Subject, asked: Collection[object]) -> str:
    """Return on which sequences and states a question measures a network, as its needs say."""
    said = [f"We ran {ends_of(subject).said}."] if needs.rest_on(asked, needs.machine) else []
    if needs.rest_on(asked, needs.used_state):
        said.append(f"States are changed {ends_of(subject).after(step_of(subject, None))}.")
    said += [asked_around(subject)] if needs.rest_on(asked, needs.other_lengths) else []
    if needs.rest_on(asked, needs.states):
        layer = studied_layer(subject)
        count = len(rows_within_budget(subject, layer.units * len(layer.states)))
        said.append(f"We read {layer.name} after each distinct prefix of {count:,} of {len(subject.x):,} sequences.")
    return " ".join(said)


def asked_around(subject: Subject) -> str:
    """Return which sequences were asked at the lengths around the study's own, all that there are or some."""
    asked = at_lengths(subject, around(subject), most=affordable(subject, around(subject)))
    lengths = listed([str(length) for length in sorted(asked)])
    count, head = sum(len(found.x) for found in asked.values()), head_of(subject)
    every = (
        "all" if all(found.exhaustive for found in asked.values()) else "of long ones as many as the budget allows"
    )
    right = np.concatenate([found.right for found in asked.values()])
    lost = 0 if head is None else int((~head.gives(torch.as_tensor(right))).sum())
    said = f"We asked {count:,} sequences of {lengths} steps that can occur and have a right answer, {every}."
    return f"{said} To {lost:,} of them the readout cannot give the right answer." if lost else said


def of_network(answered: Answered, metric: str, **columns: str) -> pd.DataFrame:
    """Return the rows of a metric of the network under study, without those of its controls."""
    return only(answered.table, metric=metric, network=answered.subject.network.name, **columns)


def values_of_controls(answered: Answered, metric: str) -> dict[str, float]:
    """Return the largest value of a metric in each control, the median of those of a role, by what words call them.

    Of several that the study makes it is that of the best.
    """
    rows = only(answered.table, metric=metric)
    rows = rows[rows["network"] != answered.subject.network.name]
    values = rows.groupby(["role", "network"], sort=False)["value"].max().groupby("role", sort=False)
    best = values.median().to_dict() | {role: most for role, most in values.max().items() if role in CONTROLS}
    return {called(rows, str(role)): float(value) for role, value in best.items()}


def in_brackets(controls: Mapping[str, float], written: Callable[[float], str] = said) -> str:
    """Return the numbers of controls in brackets, or nothing."""
    return f" ({listed([f'{name} {written(value)}' for name, value in controls.items()])})" if controls else ""


def controls_of(answered: Answered, metric: str, written: Callable[[float], str] = said) -> str:
    """Return what `values_of_controls` returns in brackets, or nothing."""
    return in_brackets(values_of_controls(answered, metric), written)


def figure_of(
    answered: Answered, draw: Callable[[pd.DataFrame], Any], rows: Any, *, title: str, alt: str, caption: str
) -> Callable[[], tuple[DataFigure]]:
    """Return what draws the picture of a network with its controls; its data are these rows, or those of a metric."""

    def picture() -> tuple[DataFigure]:
        given: Any = only(answered.table, metric=rows) if isinstance(rows, str) else rows
        with drawing():
            figure: Any = draw(answered.table).figure
            data = given.loc[:, (given != "").any() & given.notna().any()].reset_index(drop=True)
            return (drawn(figure, name=answered.name, title=title, alt=alt, caption=caption, data=data),)

    return picture
