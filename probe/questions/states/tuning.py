"""Every unit of a signal against a concept: the first picture of which unit follows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.words import place as place_of
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import new_figure
from ...plots.tuning import clustered, draw_tuning, map_size, spread_out, tuned
from ...subjects.subject import Subject
from ..readings import Place, points_of, states_at, values_at
from .state_space import value_groups


def figure(subject: Subject, name: str, question: str, at: Place, best: Sequence[int]) -> DataFigure:
    """Return the mean of every unit at every value of a concept, with an arrow at the units that follow it best.

    Args:
        subject: the network.
        name: the concept.
        question: names the figure.
        at: the layer and the signal.
        best: the units that were selected.
    """
    points = points_of(subject, name, at[0])
    values = values_at(subject, name, points)
    edges, labels = value_groups(subject.concepts[name], values)
    table = tuned(states_at(subject, at, points), np.searchsorted(edges, values, side="right"), len(labels))
    units = list(range(int(table["unit"].max()) + 1))
    shown = spread_out(table, "z", units)
    shown = shown.iloc[clustered(shown)]
    arrow = "; the arrow is at what was selected" if best else ""
    where, (width, height) = place_of(at[0], str(at[1])), map_size(len(units), labels)
    with drawing():
        made, axes = new_figure(width=width, height=height)
        ax = axes[0, 0]
        draw_tuning(ax, shown, labels, signal=str(at[1]))
        _ = ax.set_xlabel(shortened(name, 40))
        for row in (list(shown.index).index(unit) + 0.5 for unit in best):
            _ = ax.text(
                1, row, "\N{BLACK LEFT-POINTING SMALL TRIANGLE}", transform=ax.get_yaxis_transform(), va="center"
            )
        return drawn(
            made,
            name=f"{question}-tuning",
            title=f"What each unit of {where} does at each value of “{name}”",
            alt=f"A map of {several(len(units), 'unit')} by {several(len(labels), 'value')}. "
            f"{_said(table, labels, best)}",
            caption=f"How far a unit's mean at each value of “{shortened(name, 40)}” lies from its mean over "
            f"all states, in its standard deviations. Units that go alike stand side by side{arrow}.",
            data=table.assign(concept=[labels[place] for place in table["place"]])[
                ["unit", "concept", "mean", "z", "n", "share"]
            ],
        )


def _said(table: pd.DataFrame, labels: Sequence[str], best: Sequence[int]) -> str:
    """Return in words where the units that were selected are lowest and highest, or the one that differs most."""
    most = int(table.nlargest(1, "share")["unit"].iloc[0])
    parts = []
    for unit in best or [most]:
        z = table[table["unit"] == unit].set_index("place")["z"].dropna().sort_values()
        low, high = (f"{labels[int(z.index[end])]} ({z.iloc[end]:.1f})" for end in (0, -1))
        parts.append(f"Unit {unit} is lowest at {low} and highest at {high}.")
    return " ".join(parts)
