"""Pictures that several questions share: a dot for each network, or a line over steps, each beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..intervals import median_interval
from ..recurrent.random_weights import FRESH, SHUFFLED, kind_of
from .legends import legend_above, numbered
from .panels import drawn, panels
from .style import COLUMN_WIDTH, GREY, PLOT_WIDTH, ROLE_STYLE, RoleStyle, axes_or_new

#: How controls that are no network are drawn; what reads inputs, or has a name of its own, as `OTHERS`.
LOOKS = {
    "step alone": RoleStyle(GREY, ":", "D"),
    "one answer for all": RoleStyle(GREY, ":", "P"),
    "shuffled concept": RoleStyle(GREY, ":", "^"),
}
OTHERS = RoleStyle(GREY, ":", "v")

if TYPE_CHECKING:
    from ..probes.reading import Reading

#: Inches that the y axis takes with its numbers and its name, and that a letter is wide.
AXIS, LETTER = 0.7, 0.082
#: How many letters of a name that stands upright are on a line.
UPRIGHT = 18


def draw_dots(
    frame: pd.DataFrame,
    metrics: Mapping[str, str],
    *,
    thresholds: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw metrics side by side, a dot a network, the median and its 95 % interval as a bar behind the dots.

    Args:
        frame: measurements with one value a network for each metric.
        metrics: metric -> its label on the axis.
        thresholds: metric -> the bound that a rule sets, drawn as a line across its column.
        ax: where to draw, or None for new axes.
    """
    ax = axes_or_new(ax)
    roles = [role for role in ROLE_STYLE if (frame["role"] == role).any()]
    width = 0.8 / max(len(roles), 1)
    for place, role in enumerate(roles):
        look = ROLE_STYLE[role]
        for column, metric in enumerate(metrics):
            rows = frame[(frame["metric"] == metric) & (frame["role"] == role)]
            values = rows.sort_values("network")["value"].to_numpy(float)
            centre = column + (place - (len(roles) - 1) / 2) * width
            interval = median_interval(values)
            if interval is not None:
                ax.plot([centre] * 2, interval, color=look.color, linewidth=7, alpha=0.3, solid_capstyle="butt")
            spread = np.linspace(-width / 4, width / 4, len(values)) if len(values) > 1 else np.zeros(1)
            ax.plot(
                centre + spread[: len(values)],
                values,
                look.marker,
                color=look.color,
                markersize=4.5,
                alpha=0.9,
                label=role if column == 0 else None,
                # A dot at 0 or 1 stands on the edge of the axes, and is whole.
                clip_on=False,
            )
    for column, metric in enumerate(metrics):
        if thresholds and metric in thresholds:
            ax.plot([column - 0.45, column + 0.45], [thresholds[metric]] * 2, color="black", linewidth=1)
    name_columns(ax, list(metrics.values()))
    ax.set_xlim(-0.5, len(metrics) - 0.5)
    legend_above(ax)
    return ax


def name_columns(ax: Axes, names: Sequence[str]) -> None:
    """Name the columns 0, 1, ... of axes on as many lines as it takes, upright where a word is too wide."""
    figure, place = ax.get_figure(), ax.get_subplotspec()
    inches = COLUMN_WIDTH if figure is None else figure.bbox.width / figure.dpi
    inches = inches / (1 if place is None else place.get_gridspec().ncols) - AXIS
    room = int(inches / max(len(names), 1) / LETTER)
    widest = max((len(word) for name in names for word in name.split()), default=0)
    if widest > room:
        ax.set_xticks(range(len(names)), [fill(name, UPRIGHT) for name in names], rotation=90)
        return
    fits = [all(len(line) <= room for line in name.split("\n")) for name in names]
    lines = [name if as_is else fill(name, room) for name, as_is in zip(names, fits, strict=True)]
    ax.set_xticks(range(len(names)), lines)


def draw_median_line(frame: pd.DataFrame, *, ax: Axes, color: str, at: str = "step", **look: Any) -> None:
    """Draw the median over networks of one metric along a column, with its 95 % interval where there are enough.

    A table counts steps from 0. They are drawn where so many were read: the first one at 1.
    """
    table = frame.pivot(index="network", columns=at, values="value").sort_index(axis=1)
    steps = (table.columns.astype(float) + (at == "step")).tolist()
    # Marks at 0 or 1 stand on the edge of the axes, and are whole.
    ax.plot(steps, table.median().to_numpy(float), color=color, clip_on=False, **look)
    bounds = [median_interval(column) for column in table.to_numpy(float).T.tolist()]
    known = [bound for bound in bounds if bound is not None]
    # A band over some of the steps only would look like certainty at the others.
    if known and len(known) == len(steps):
        ax.fill_between(
            steps, [low for low, _ in known], [high for _, high in known], color=color, alpha=0.15, linewidth=0
        )


def draw_role_lines(frame: pd.DataFrame, *, ax: Axes, at: str) -> Axes:
    """Draw one metric along a column: medians over networks with their interval, planted networks one by one.

    Planted networks are not draws of one recipe, so that a median over them would mean nothing.
    """
    for role, look in ROLE_STYLE.items():
        rows = frame[frame["role"] == role]
        groups = [rows] if role != "planted" else [own for _, own in rows.groupby("network", sort=True)]
        for number, own in enumerate(groups):
            if not own.empty:
                label = role if number == 0 else "_"
                width, size = (1.0, 3.5) if role == "planted" else (2.0, 4.5)
                draw_median_line(own, ax=ax, at=at, label=label, linewidth=width, markersize=size, **look.line())
    legend_above(ax, most=4)
    return ax


def draw_reading(reading: Reading, *, ax: Axes | None = None) -> Axes | Figure:
    """Draw the scores of a reading, `Reading.plot`: over steps where it has a map for each."""
    draw = draw_scores_over_steps if reading.table["step"].notna().any() else draw_scores
    return draw(reading.table, kinds_of(reading.table), score=reading.score_name, ax=ax)


def kinds_of(table: pd.DataFrame) -> dict[str, str]:
    """Return what each network of a reading's table is called and drawn as: those with random weights as one kind."""
    random = dict.fromkeys((FRESH, SHUFFLED), "random weights")
    return {name: random.get(kind_of(name), name) for name in map(str, table["network"].unique())}


def draw_scores(
    table: pd.DataFrame, kinds: Mapping[str, str], *, score: str = "score", ax: Axes | None = None
) -> Axes | Figure:
    """Draw a row a signal: a dot for the network with its interval, a mark for each control.

    Args:
        table: of a `probe.probes.reading.Reading`; its first network is the one that was read.
        kinds: network -> what it is called and drawn as, such as a role.
        score: what the scores are.
        ax: where to draw, or None for a new figure.
    """
    scores = table[table["score"].notna() & table["step"].isna()]
    names, own_kind = _names(scores), kinds[table["network"].iloc[0]]
    places = {name: -place for place, name in enumerate(dict.fromkeys(names))}
    with panels(1, ax=ax, width=PLOT_WIDTH, height=1.2 + 0.32 * len(places)) as axes:
        (panel,) = axes
        for kind, own in scores.groupby(scores["network"].map(kinds), sort=False):
            look, up = _look(str(kind), own_kind), [places[names[row]] for row in own.index]
            if kind == own_kind:
                value, ends = own["score"].to_numpy(float), own[["low", "high"]].to_numpy(float)
                spread = np.abs(ends.T - value)
                panel.errorbar(
                    value, up, xerr=spread, fmt="o", markersize=7, zorder=3, color=look.color, label=own_kind
                )
            else:
                line: dict[str, Any] = {"color": look.color, "marker": look.marker, "linestyle": "none"}
                panel.plot(own["score"].to_numpy(float), up, markersize=5, alpha=0.8, label=str(kind), **line)
        panel.set_yticks(list(places.values()), list(places), parse_math=False)
        panel.set_xlabel(f"held-out {score}")
        legend_above(panel)
    return drawn(axes, scores)


def draw_scores_over_steps(
    table: pd.DataFrame, kinds: Mapping[str, str], *, score: str = "score", ax: Axes | None = None
) -> Axes | Figure:
    """Draw a panel a signal: the score of a map for each step; its arguments are those of `draw_scores`."""
    scores = table[table["step"].notna()]
    names, own_kind = _names(scores), kinds[table["network"].iloc[0]]
    signals = list(dict.fromkeys(names))
    across = min(len(signals), 2)
    with panels(len(signals), ax=ax, columns=across, width=PLOT_WIDTH + across, height=2.6, sharey=True) as axes:
        for panel, name in zip(axes, signals, strict=True):
            here = scores[names == name]
            seen = set[str]()
            for network, own in here.groupby("network", sort=False):
                kind = kinds[str(network)]
                look, steps = _look(kind, own_kind), own["step"].to_numpy(int) + 1
                width = 2.4 if kind == own_kind else 1.0
                label = None if kind in seen else kind
                panel.plot(steps, own["score"].to_numpy(float), linewidth=width, label=label, **look.line())
                numbered(panel, steps)
                seen.add(kind)
            panel.set_title(name if len(signals) > 1 else "", parse_math=False)
            panel.set_xlabel("after step")
        axes[0].set_ylabel(f"held-out {score}")
        legend_above(axes[0])
    return drawn(axes, scores)


def _names(scores: pd.DataFrame) -> pd.Series:
    names = scores["signal"] if scores["layer"].nunique() == 1 else scores["layer"] + " " + scores["signal"]
    return names.where(scores["how"] == "", names + ", " + scores["how"])


def _look(kind: str, own: str) -> RoleStyle:
    if kind == own:
        return ROLE_STYLE["trained"]
    if kind in ("own initialisation", "random weights"):
        return ROLE_STYLE[kind]
    return LOOKS.get(kind, OTHERS)
