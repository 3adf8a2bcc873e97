"""Pictures that several questions share: a dot for each network, or a line over steps, each beside its controls.

seaborn draws them. It is imported where it draws, because that takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..intervals import median_interval
from ..recurrent.random_weights import FRESH, SHUFFLED, kind_of
from .legends import entries, figure_legend, legend_above, numbered
from .panels import drawn, panels
from .style import (
    COLUMN_WIDTH,
    FRONT_WIDTH,
    GREY,
    INK,
    PLOT_WIDTH,
    ROLE_STYLE,
    ROW_HEIGHT,
    SMALL,
    RoleStyle,
    new_figure,
    ours,
)

#: How controls that are no network are drawn; what reads inputs, or has a name of its own, as `OTHERS`.
LOOKS = {
    "step alone": RoleStyle(GREY, ":", "D"),
    "one answer for all": RoleStyle(GREY, ":", "P"),
    "shuffled concept": RoleStyle(GREY, ":", "^"),
}
OTHERS = RoleStyle(GREY, ":", "v")

if TYPE_CHECKING:
    from ..probes.reading import Reading

#: Inches that new axes are wide, a letter is wide, and a row is high.
NEW_AXES, LETTER, ROW = 0.775 * COLUMN_WIDTH, 0.0705, 0.4
#: How many letters of a name beside its row are on a line.
BESIDE = 34
#: And of an answer beside its row.
BESIDE_ROW = 20
#: The part of the picture's width that is left free beside them.
MARGIN = 0.03


def _ends(values: Any) -> tuple[float, float]:
    """Return the ends of the median's 95 % interval, or no numbers where so few networks have none."""
    return median_interval(np.asarray(values)) or (np.nan, np.nan)


#: The median and its interval as a bar, without a mark of the median.
_BAR: dict[str, Any] = {"estimator": "median", "errorbar": _ends, "native_scale": True, "marker": ""}
_BAR["err_kws"] = {"linewidth": 7, "alpha": 0.3, "solid_capstyle": "butt"}


def draw_dots(
    frame: pd.DataFrame,
    metrics: Mapping[str, str],
    *,
    value: str = "",
    zero: bool = False,
    thresholds: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw metrics side by side, a dot a network, the median and its 95 % interval as a bar behind the dots.

    Metrics are rows where a word of a name is wider than a column, so that no name stands on end.

    Args:
        frame: measurements with one value a network for each metric.
        metrics: metric -> its label on the axis.
        value: what the values are.
        zero: whether to draw a line at 0.
        thresholds: metric -> the bound that a rule sets, drawn as a line across its column.
        ax: where to draw, or None for new axes.
    """
    import seaborn

    count, inches = len(metrics), NEW_AXES if ax is None else ax.bbox.width / ax.figure.dpi
    room = int(inches / max(count, 1) / LETTER)
    rows = any(len(word) > room for name in metrics.values() for word in name.split())
    panel: Axes = new_figure(height=1.2 + ROW * count if rows else ROW_HEIGHT)[1][0, 0] if ax is None else ax
    names, values = ("y", "x") if rows else ("x", "y")
    looks = {role: look for role, look in ROLE_STYLE.items() if (frame["role"] == role).any()}
    width = 0.8 / max(len(looks), 1)
    for (place, role), (column, metric) in product(enumerate(looks), enumerate(metrics)):
        own = frame[(frame["metric"] == metric) & (frame["role"] == role)].sort_values("network")["value"]
        beside = np.linspace(-width / 4, width / 4, len(own)) if len(own) > 1 else np.zeros(len(own))
        centre = np.full(len(own), column + (place - (len(looks) - 1) / 2) * width)
        data: dict[str, Any] = {values: own.to_numpy(float), "ax": panel}
        if np.isfinite(_ends(own)).all() and own.notna().all():
            seaborn.pointplot(**data, **{names: centre}, orient=names, color=looks[role].color, **_BAR)
        marks = {values: own.to_numpy(float), names: centre + beside}
        _marks(panel, looks[role], 4.5, **marks, alpha=0.9, label=role)
    for column, metric in enumerate(metrics):
        if thresholds and metric in thresholds:
            across = panel.vlines if rows else panel.hlines
            across(thresholds[metric], column - 0.45, column + 0.45, color="black", linewidth=1)
    if zero:
        (panel.axvline if rows else panel.axhline)(0, color="black", linewidth=0.6, zorder=0)
    ends = (-0.5, count - 0.5)
    panel.set(**{f"{names}ticks": range(count), f"{names}lim": ends[::-1] if rows else ends, f"{values}label": value})
    panel.set(**{f"{names}ticklabels": [_on_lines(name, BESIDE if rows else room) for name in metrics.values()]})
    legend_above(panel)
    return panel


def _marks(ax: Axes, look: RoleStyle, size: float, x: np.ndarray, y: np.ndarray, **more: Any) -> None:
    """Draw marks as large and as high as those of a line; one at 0 or 1 is on the edge of the axes, and is whole."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.any():
        own = {"color": look.color, "marker": look.marker, "linewidth": 1, "clip_on": False, "zorder": 2, **more}
        _ = ax.scatter(x[known], y[known], s=size**2, **own)


def _on_lines(name: str, room: int) -> str:
    """Return a name on as many lines as it takes, or as it is where its own lines have room."""
    return name if all(len(line) <= room for line in name.split("\n")) else fill(name, room)


def draw_median_line(
    frame: pd.DataFrame, *, ax: Axes, color: str, at: str = "step", each: bool = False, **look: Any
) -> None:
    """Draw the median over networks of one metric along a column, with its 95 % interval where there are enough.

    A table counts steps from 0. They are drawn where so many were read: the first one at 1. With `each`, every
    network has a line of its own in place of the median.
    """
    import seaborn

    for own in [own for _, own in frame.groupby("network")] if each else [frame]:
        table = own.pivot(index="network", columns=at, values="value")
        known = table.notna().any()
        if not known.any():
            continue
        # A band over some of the steps only would look like certainty at the others.
        banded = all(median_interval(column) for column in table.to_numpy(float).T)
        seaborn.lineplot(
            x=own[at].to_numpy(float) + (at == "step"),
            y=own["value"].to_numpy(float),
            estimator="median",
            errorbar=_ends if banded else None,
            err_kws={"alpha": 0.15, "linewidth": 0},
            legend=False,
            ax=ax,
            # Marks at 0 or 1 stand on the edge of the axes, and are whole.
            **{"color": color, "markeredgecolor": color, "markeredgewidth": 1, "clip_on": False, **look},
        )
        _break(ax.get_lines()[-1], known.index[~known].to_numpy(float) + (at == "step"))


def _break(line: Line2D, gaps: np.ndarray) -> None:
    """Break a line where nothing was measured, which seaborn would bridge."""
    if len(gaps):
        points = np.concatenate([np.array(line.get_data()).T, np.column_stack([gaps, np.full(len(gaps), np.nan)])])
        line.set_data(*points[np.argsort(points[:, 0])].T)


def draw_role_lines(frame: pd.DataFrame, *, ax: Axes, at: str) -> Axes:
    """Draw one metric along a column: medians over networks with their interval, planted networks one by one.

    Planted networks are not draws of one recipe, so that a median over them would mean nothing.
    """
    for role, look in ROLE_STYLE.items():
        each = role == "planted"
        size: dict[str, Any] = {"linewidth": 1.0 if each else 2.0, "markersize": 3.5 if each else 4.5}
        if len(own := frame[frame["role"] == role]):
            draw_median_line(own, ax=ax, at=at, each=each, label=role, **size, **look.line())
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
    table: pd.DataFrame,
    kinds: Mapping[str, str],
    *,
    score: str = "score",
    lower: float = 0.0,
    ax: Axes | None = None,
) -> Axes | Figure:
    """Draw a row a signal: a dot for the network with its interval, a mark for each control.

    Args:
        table: of a `probe.probes.reading.Reading`; its first network is the one that was read.
        kinds: network -> what it is called and drawn as, such as a role.
        score: what the scores are.
        lower: how far below the network the controls stand, in rows.
        ax: where to draw, or None for a new figure.
    """
    scores = table[table["score"].notna() & table["step"].isna()]
    names, own_kind = _names(scores), kinds[table["network"].iloc[0]]
    places = {name: -place for place, name in enumerate(dict.fromkeys(names))}
    with panels(1, ax=ax, width=PLOT_WIDTH, height=1.2 + 0.32 * len(places)) as (panel,):
        for kind, own in scores.assign(row=names.map(places)).groupby(scores["network"].map(kinds), sort=False):
            look, size, more = _look(str(kind), own_kind), 5.0, {"alpha": 0.8}
            row = own["row"].to_numpy() - lower * (kind != own_kind)
            if kind == own_kind:
                panel.hlines(own["row"], own["low"], own["high"], color=look.color, zorder=3)
                size, more = 7.0, {"zorder": 3}
            _marks(panel, look, size, own["score"].to_numpy(float), row, label=kind, **more)
        panel.set_yticks(list(places.values()), list(places), parse_math=False)
        panel.set(ylim=(0.5 - len(places), 0.5), xlabel=f"held-out {score}")
        legend_above(panel)
    return drawn([panel], scores)


def draw_answered(
    table: pd.DataFrame, kinds: Mapping[str, str], words: Mapping[str, tuple[str, str]], *, bound: float
) -> Axes:
    """Draw a row for each thing that was asked of scores: the dots of `draw_scores`, the bound, and the answer.

    Args:
        table: as of `draw_scores`; what was asked stands in place of the signal. Scores below 0 stand at 0.
        kinds: network -> what it is called and drawn as.
        words: what was asked -> the answer, and a line of numbers below it.
        bound: the score that is asked for.
    """
    made, axes = new_figure(width=FRONT_WIDTH, height=0.85 * len(words) + 1.0)
    panel: Axes = axes[0, 0]
    shown = table.copy()
    shown[["score", "low", "high"]] = table[["score", "low", "high"]].clip(lower=0)
    _ = draw_scores(shown, kinds, lower=0.2, ax=panel)
    panel.set_yticks(panel.get_yticks(), [])
    # A browser's bold letters are wider than those that are laid out here.
    engine: Any = made.get_layout_engine()
    engine.set(rect=(MARGIN, 0, 1 - MARGIN, 1))
    # Question and answer stand at the left, which is what a phone shows of a wide picture.
    for row, (asked, (answer, numbers)) in enumerate(words.items()):
        panel.vlines(bound, -row - 0.35, 0.2 - row, color=INK, linestyle="--", linewidth=1.2, label="asked for")
        look: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "parse_math": False}
        _ = panel.text(-0.05, -row, asked, va="bottom", ha="right", fontsize=SMALL, **look)
        _ = panel.text(-0.05, -row - 0.05, fill(answer, BESIDE_ROW), va="top", ha="right", weight="bold", **look)
        _ = panel.text(1.05, -row - 0.1, numbers, va="center", fontsize=SMALL, **look)
    panel.set(xlim=(0, 1), xlabel="")
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    if (above := panel.get_legend()) is not None:
        above.remove()
    _ = figure_legend(made, *entries(panel))
    return panel


def draw_scores_over_steps(
    table: pd.DataFrame, kinds: Mapping[str, str], *, score: str = "score", ax: Axes | None = None
) -> Axes | Figure:
    """Draw a panel a signal: the score of a map for each step; its arguments are those of `draw_scores`."""
    scores = table[table["step"].notna()]
    names, own_kind = _names(scores), kinds[table["network"].iloc[0]]
    signals = list(dict.fromkeys(names))
    across = min(len(signals), 2)
    shared: dict[str, Any] = {"columns": across, "height": 2.6, "sharex": True, "sharey": True}
    with panels(len(signals), ax=ax, width=PLOT_WIDTH + across, **shared) as axes:
        for panel, name in zip(axes, signals, strict=True):
            here = scores[names == name]
            for kind, own in here.groupby(here["network"].map(kinds), sort=False):
                look = {"linewidth": 2.4 if kind == own_kind else 1.0, **_look(str(kind), own_kind).line()}
                draw_median_line(own.assign(value=own["score"]), ax=panel, each=True, label=kind, **look)
            numbered(panel, np.unique(here["step"].to_numpy(int) + 1))
            panel.set_title(name if len(signals) > 1 else "", parse_math=False)
            panel.set_xlabel("after step")
        axes[0].set_ylabel(f"held-out {score}")
        figure = axes[0].get_figure(root=True)
        # Above one of several panels it would stand over the panel's title.
        above = figure if len(axes) > 1 and ours(axes[0]) else None
        _ = legend_above(axes[0]) if above is None else figure_legend(above, *entries(axes[0]))
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
