"""The picture of the states along their principal directions, of a network beside one with random weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import only
from ...plots.dots import scatter
from ...plots.legends import figure_legend
from ...plots.lines import scale
from ...plots.spaces import draw_fixed_points
from ...plots.study_figures import drawing, drawn, labels, shortened
from ...plots.style import VALUES, colours, new_figure
from ...subjects.concepts import Known, group_edges
from ..question import Answered

#: Each of so many values has a colour of its own; more are drawn in so many groups of about equal size.
MOST_VALUES, GROUPS = 20, 8
#: Inches of the picture, and of it for each name beside the scale of colours.
HEIGHT, LINE = 2.9, 0.2
_AXES = ["first", "second"]
#: What is measured of each fixed point besides its place.
_KINDS = ("unstable", "neutral")


def draw(answered: Answered) -> DataFigure:
    """Return the picture of the network and its first control, every dot a state coloured by the concept."""
    table, subject = answered.table, answered.subject
    networks = list(dict.fromkeys(only(table, metric="variance")["network"]))[:2]
    name = str(only(table, metric="concept")["kind"].iloc[0])
    concept = subject.concepts[name]
    values = only(table, metric="concept")["value"].to_numpy(float)
    edges, names = _groups(concept, values)
    inks = colours(len(names), VALUES)
    points, groups = _points(table), list[pd.DataFrame]()
    with drawing():
        figure, axes = new_figure(len(networks), height=max(HEIGHT, LINE * len(names) + 0.8))
        for ax, network in zip(axes[0], networks, strict=True):
            own = only(table, network=network)
            wide = _wide(own)
            of_dots = np.searchsorted(edges, wide["concept"].to_numpy(float), side="right")
            for place, ink in enumerate(inks):
                rows = wide[of_dots == place]
                scatter(ax, rows["first"].to_numpy(float), rows["second"].to_numpy(float), color=ink)
            if network == subject.network.name and len(points):
                draw_fixed_points(points, _AXES, ax=ax)
            groups.append(wide.groupby(of_dots)[_AXES].median())
            _label(ax, own, "this network" if network == subject.network.name else "random weights")
        scale(list(axes[0]), names, inks, title=shortened(name, 24))
        if len(points):
            _ = figure_legend(figure, *axes[0, 0].get_legend_handles_labels())
        if 2 < len(concept.levels) <= MOST_VALUES:
            # Panels have their size now.
            figure.draw_without_rendering()
            for ax, middles in zip(axes[0], groups, strict=True):
                _name_groups(ax, middles, names)
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


def _groups(concept: Known, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return where each group of values but the first begins, and the groups' names, from low to high."""
    levels = concept.levels
    if len(levels) <= MOST_VALUES:
        return (levels[1:] + levels[:-1]) / 2, labels([concept.said(level) for level in levels], 10)
    edges, levels = group_edges(values, GROUPS), np.unique(values)
    ends = [own[[0, -1]].tolist() for own in np.split(levels, np.searchsorted(levels, edges))]
    digits = 6
    if (levels != levels.round()).any():
        # As few as tell the groups apart.
        digits = next(few for few in range(2, 18) if len({f"{low:.{few}g}" for low, _ in ends}) == len(ends))
    said = partial(_said, concept, digits)
    return edges, labels([" to ".join(dict.fromkeys(map(said, own))) for own in ends], 20)


def _said(concept: Known, digits: int, value: float) -> str:
    """Return one end of a group as it is written: a category by its short name."""
    return shortened(concept.said(value), 7) if concept.is_categorical else f"{value:.{digits}g}"


def _wide(own: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each state that is drawn: its two coordinates and the concept's value."""
    rows = only(own, metric="coordinate").pivot_table(index="at", columns="kind", values="value")
    return rows.assign(concept=only(own, metric="concept").set_index("at")["value"])


def _name_groups(ax: Axes, middles: pd.DataFrame, names: list[str]) -> None:
    """Write the value of each group amid its states, since neighbouring colours are alike; never two at one place."""
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontweight": "bold", "zorder": 4}
    boxes: list[Bbox] = []
    for place, first, second in middles.itertuples():
        text = ax.annotate(shortened(names[place], 8), (first, second), xytext=(0, 6), **look)
        boxes.append(text.get_window_extent())
        if boxes[-1].count_overlaps(boxes[:-1]):
            text.remove()
            _ = boxes.pop()


def _points(table: pd.DataFrame) -> pd.DataFrame:
    rows = only(table, metric="point")
    if rows.empty:
        return rows
    wide = rows.pivot_table(index=["units", "at"], columns="kind", values="value")
    kinds = {metric: only(table, metric=metric).set_index(["units", "at"])["value"] for metric in _KINDS}
    return wide.assign(**{metric: values.astype(int) for metric, values in kinds.items()}).reset_index()


def _label(ax: Axes, own: pd.DataFrame, title: str) -> None:
    shares = only(own, metric="variance").set_index("kind")["value"]
    ax.set_title(title)
    # On two lines, since a scale with long names leaves little room.
    ax.set_xlabel(f"first direction\n({shares['first']:.0%})")
    ax.set_ylabel(f"second direction ({shares['second']:.0%})")
    ax.set_xticks([])
    ax.set_yticks([])
