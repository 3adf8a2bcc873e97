"""The picture of the states along their principal directions, of a network beside one with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import only
from ...plots.dots import scatter
from ...plots.legends import figure_legend
from ...plots.lines import NAMED, scale
from ...plots.spaces import draw_fixed_points
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import VALUES, colours, new_figure
from ...subjects.concepts import Known
from ..question import Answered

#: So many colours at most; a number of more values is drawn in so many bins.
COLOURS = 8
_AXES = ["first", "second"]


def draw(answered: Answered) -> DataFigure:
    """Return the picture of the network and its first control, every dot a state coloured by the concept."""
    table, subject = answered.table, answered.subject
    networks = list(dict.fromkeys(only(table, metric="variance")["network"]))[:2]
    name = str(only(table, metric="concept")["kind"].iloc[0])
    concept = subject.concepts[name]
    values = only(table, metric="concept")["value"].to_numpy(float)
    group, labels = _groups(concept, values)
    inks = colours(len(labels), VALUES)
    points = _points(table)
    with drawing():
        figure, axes = new_figure(len(networks), height=2.9)
        for ax, network in zip(axes[0], networks, strict=True):
            own = only(table, network=network)
            wide = _wide(own)
            of_dots = group(wide["concept"].to_numpy(float))
            for place, ink in enumerate(inks):
                rows = wide[of_dots == place]
                scatter(ax, rows["first"].to_numpy(float), rows["second"].to_numpy(float), color=ink)
            if network == subject.network.name and len(points):
                draw_fixed_points(points, _AXES, ax=ax)
            if len(labels) > 2:
                _name_groups(ax, wide, of_dots, labels)
            _label(ax, own, "this network" if network == subject.network.name else "random weights")
        shown = [shortened(one, 10) for one in labels]
        scale(list(axes[0]), shown, inks, title=shortened(name, 24))
        if len(points):
            _ = figure_legend(figure, *axes[0, 0].get_legend_handles_labels())
        share = only(table, network=subject.network.name, metric="variance")["value"]
        beside = " and of a network with random weights" if len(networks) > 1 else ""
        alt = (
            f"{several(len(_wide(only(table, network=networks[0]))), 'state')} of the network{beside}, coloured by "
            f"“{name}”; the two directions have {share.sum():.0%} of the variance."
        )
        caption = (
            "Each dot is a state, coloured by the concept's value. Large marks are fixed points of this network, "
            "under each input that is held fixed."
            if len(points)
            else "Each dot is a state, coloured by the concept's value."
        )
        data = only(table, metric="coordinate")[["network", "kind", "at", "step", "value"]].reset_index(drop=True)
        title = "The states along the two directions in which they vary most"
        return drawn(figure, name=answered.name, title=title, alt=alt, caption=caption, data=data)


def _groups(concept: Known, values: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], list[str]]:
    """Return what gives each value its group, and the names of the groups from low to high."""
    levels = np.unique(values)
    if len(levels) <= max(COLOURS, NAMED if concept.is_categorical else COLOURS):
        return (lambda found: np.searchsorted(levels, found)), [concept.said(level) for level in levels]
    ends = np.unique(np.quantile(values, np.linspace(0, 1, COLOURS + 1)[1:-1]))
    place = np.searchsorted(ends, values, side="right")
    names = [concept.said(float(np.round(np.median(values[place == one]), 2))) for one in range(len(ends) + 1)]
    return (lambda found: np.searchsorted(ends, found, side="right")), names


def _wide(own: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each state that is drawn: its two coordinates and the concept's value."""
    rows = only(own, metric="coordinate").pivot_table(index="at", columns="kind", values="value")
    return rows.assign(concept=only(own, metric="concept").set_index("at")["value"])


def _name_groups(ax: Axes, wide: pd.DataFrame, of_dots: np.ndarray, labels: list[str]) -> None:
    """Write the value of each group amid its states, since neighbouring colours are alike."""
    for place, label in enumerate(labels):
        rows = wide[of_dots == place]
        if len(rows):
            middle = rows[_AXES].median()
            place_of = float(middle["first"]), float(middle["second"])
            look: dict[str, Any] = {"ha": "center", "fontweight": "bold", "zorder": 4}
            _ = ax.annotate(shortened(label, 8), place_of, xytext=(0, 6), textcoords="offset points", **look)


def _points(table: pd.DataFrame) -> pd.DataFrame:
    rows = only(table, metric="point")
    if rows.empty:
        return rows
    wide = rows.pivot_table(index=["units", "at"], columns="kind", values="value")
    unstable = only(table, metric="unstable").set_index(["units", "at"])["value"]
    return wide.assign(unstable=unstable.astype(int)).reset_index()


def _label(ax: Axes, own: pd.DataFrame, title: str) -> None:
    shares = only(own, metric="variance").set_index("kind")["value"]
    ax.set_title(title)
    ax.set_xlabel(f"first direction ({shares['first']:.0%})")
    ax.set_ylabel(f"second direction ({shares['second']:.0%})")
    ax.set_xticks([])
    ax.set_yticks([])
