"""The pictures of one network's probes: scores beside controls, the best units, one sequence over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import only
from ...evidence.words import said
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, new_figure
from ...subjects.computed.network_states import Place
from ...subjects.computed.sampled import examples_of, sample_of, states_of
from ...subjects.subject import Subject
from ..question import Answered
from ..states.targets import Target

RANDOM, NULL = "random weights", "null"
#: How many units are drawn over the values, in how many bins of a number, and how many units over time.
UNITS, BINS, OVER_TIME = 6, 8, 3
#: The most places that are drawn; with more values than these there are no marks, and no names.
PLACES, MARKED, NAMED = 8, 12, 6
#: Scores below this are not drawn; a probe that is worse than the mean has read nothing.
LOWEST = -0.2
#: A unit follows the concept if it does so by more than this above shuffled values.
FOLLOWS = 0.05
_LINES = (BLUE, ORANGE, GREEN)


def draw(answered: Answered, target: Target, best: Place) -> tuple[DataFigure, ...]:
    """Return the figures of a concept.

    Args:
        answered: what was measured.
        target: the concept at its states.
        best: the place with the best score.
    """
    subject, table, name = answered.subject, answered.table, answered.name
    where = {"layer": best[0], "signal": str(best[1])}
    rows = only(table, metric="follows", **where).sort_values("value", ascending=False, kind="stable")
    how = {int(unit): value for unit, value in zip(rows["units"][:UNITS], rows["value"][:UNITS], strict=True)}
    figures = [scores(name, subject.network.name, target, table)]
    if unit_follows(table) and unit_follows(only(table, **where)):
        figures.append(moves(name, target, states_of(subject).states[best][target.picked], how, best))
    return (*figures, over_time(name, subject, target, list(how)[:OVER_TIME], best))


def unit_follows(table: pd.DataFrame) -> bool:
    """Return whether the best unit follows the concept more closely than the best one follows shuffled values.

    Args:
        table: what was measured at all places, or at one.
    """
    rows = only(table, metric="best_unit")
    best = rows[~rows["role"].isin([RANDOM, NULL])]["value"].max()
    return bool(best - max(only(rows, role=NULL)["value"].max(), 0.0) > FOLLOWS)


def measure_of(target: Target) -> str:
    """Return what the score of a concept is called."""
    return "balanced accuracy" if target.concept.is_named else "R²"


def scores(question: str, network: str, target: Target, table: pd.DataFrame) -> DataFigure:
    """Return the figure of the scores of every place, with the controls in the same axes.

    Args:
        question: the name of the finding.
        network: that of the network.
        target: the concept at its states.
        table: what was measured.
    """
    rows = only(table, metric="score")
    of_network = only(rows, network=network).sort_values("value", ascending=False, kind="stable")
    every = len(of_network)
    shown = of_network.head(PLACES).sort_index()
    measure = measure_of(target)
    with drawing():
        figure, axes = new_figure(height=3.6)
        ax = axes[0, 0]
        _places(ax, shown, rows)
        nulls = only(rows, role=NULL, layer="")
        for look, (name, value) in zip(
            ((0, (4, 2)), (0, (1, 1.5)), "-."), zip(nulls["network"], nulls["value"], strict=True), strict=False
        ):
            ax.axhline(value, color=GREY, linestyle=look, linewidth=1.6, label=name)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_ylim(min(-0.05, max(LOWEST, ax.get_ylim()[0])), 1.04)
        ax.set_ylabel(f"held-out {measure}")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)
        best, controls = of_network.iloc[0], only(rows, role=RANDOM)["value"]
        beside = f", the best network with random weights {said(float(controls.max()))}" if len(controls) else ""
        alt = (
            f"Held-out {measure} of “{target.concept.name}” at {several(every, 'place')}: best "
            f"{said(float(best['value']))} at {best['layer']}, {best['signal'].replace('_', ' ')}{beside}."
        )
        caption = (
            "We fitted a linear probe on three quarters of the sequences and scored it on the rest, each quarter in "
            "turn. Bars are 95 % intervals over sequences. Lines and small marks are controls."
        )
        if every > len(shown):
            caption += f" Of {every} places the {len(shown)} best are drawn."
        columns = ["role", "network", "layer", "signal", "kind", "value", "low", "high"]
        data = rows[columns].reset_index(drop=True)
        title = "Where it can be read"
        return drawn(figure, name=f"{question}-scores", title=title, alt=alt, caption=caption, data=data)


def _places(ax: Axes, shown: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Draw each place's score with its interval, the controls with random weights, and the shuffled concept."""
    for at, (_, own) in enumerate(shown.iterrows()):
        here = only(rows, layer=own["layer"], signal=own["signal"])
        label = (lambda name: name) if at == 0 else (lambda _: None)
        ax.plot([at, at], [own["low"], own["high"]], color=BLUE, linewidth=5, alpha=0.3, solid_capstyle="butt")
        ax.plot(at, own["value"], "o", color=BLUE, label=label("this network"))
        controls = only(here, role=RANDOM)["value"].to_numpy(float)
        spread = at + 0.18 + np.linspace(-0.06, 0.06, max(len(controls), 1))[: len(controls)]
        ax.plot(spread, controls, "s", color=ORANGE, markersize=4, label=label("random weights"))
        mixed = only(here, role=NULL)["value"].to_numpy(float)
        if len(mixed):
            ax.plot(np.full(len(mixed), at - 0.18), mixed, "X", color=PURPLE, markersize=5, label="shuffled concept")
    names = [
        f"{shortened(layer, 20)}\n{signal.replace('_', ' ')}"
        for layer, signal in zip(shown["layer"], shown["signal"], strict=True)
    ]
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(names) > 4 else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_xlim(-0.5, len(names) - 0.5)


def groups(target: Target) -> tuple[np.ndarray, list[float], list[str]]:
    """Return the group of values of each state, where each group is drawn, and the names of the groups."""
    levels = np.unique(target.values)
    if target.concept.is_categorical or len(levels) <= 12:
        group = np.searchsorted(levels, target.values)
        places: list[float] = (
            np.arange(float(len(levels))).tolist() if target.concept.is_categorical else levels.tolist()
        )
        return group, places, [target.concept.said(level) for level in levels]
    ends = np.unique(np.quantile(target.values, np.linspace(0, 1, BINS + 1)[1:-1]))
    group = np.searchsorted(ends, target.values, side="right")
    places = [float(target.values[group == number].mean()) for number in np.unique(group)]
    return np.unique(group, return_inverse=True)[1], places, [f"{place:.3g}" for place in places]


def moves(question: str, target: Target, states: np.ndarray, how: dict[int, float], best: Place) -> DataFigure:
    """Return the figure of the units that follow the concept most: their mean at each of its values."""
    group, places, names = groups(target)
    data = []
    with drawing():
        columns = min(3, len(how))
        figure, axes = new_figure(columns, -(-len(how) // columns), height=1.9, sharex=True)
        panels = axes.ravel()
        for panel, (unit, value) in zip(panels, how.items(), strict=False):
            for number in range(len(places)):
                members = states[group == number, unit]
                data.append((unit, names[number], members.mean(), members.std(), len(members)))
            of_unit = [line for line in data if line[0] == unit]
            mean, sd = (np.array([line[column] for line in of_unit]) for column in (2, 3))
            panel.fill_between(places, mean - sd, mean + sd, color=BLUE, alpha=0.2, linewidth=0)
            panel.plot(places, mean, "o-" if len(places) <= MARKED else "-", color=BLUE, markersize=4)
            panel.set_title(f"unit {unit}: {said(value)}", fontweight="normal")
            if target.concept.is_categorical:
                shown = len(places) <= NAMED
                panel.set_xticks(places if shown else [], [shortened(name, 8) for name in names] if shown else [])
            panel.locator_params(axis="y", nbins=4)
        for panel in panels[len(how) :]:
            panel.set_axis_off()
        unnamed = target.concept.is_categorical and len(places) > NAMED
        axis = shortened(target.concept.name, 40) + f", {len(places)} values" * unnamed
        figure.supxlabel(axis, fontsize="medium")
        figure.supylabel(f"mean {best[1].replace('_', ' ')}", fontsize="medium")
        first = next(iter(how))
        measure = "correlation ratio" if target.concept.is_named else "|r|"
        alt = (
            f"{several(len(how), 'unit')} of {best[0]} over the values of “{target.concept.name}”; unit {first} "
            f"follows it most, with {measure} {said(how[first])} within steps."
        )
        caption = (
            f"Mean and one standard deviation over states. Each title has {measure} on all states, after removing "
            "what the step explains. It is too high for these units, because they were selected by it."
        )
        if unnamed:
            ends = shortened(names[0], 20), shortened(names[-1], 20)
            caption += f" The {len(places)} values are in the order of the table, from “{ends[0]}” to “{ends[1]}”."
        table = pd.DataFrame(data, columns=["unit", "value", "mean", "sd", "states"])
        return drawn(
            figure,
            name=f"{question}-units",
            title="The units that follow it most",
            alt=alt,
            caption=caption,
            data=table,
        )


def over_time(question: str, subject: Subject, target: Target, units: list[int], best: Place) -> DataFigure:
    """Return the figure of the concept and the units that follow it most, along one sequence."""
    series = states_of(subject).examples[best][0][:, units]
    sample = sample_of(subject)
    row = int(sample.rows[examples_of(subject)[0]])
    length = int(subject.lengths[row])
    concept = target.concept.values[row, :length]
    table = pd.DataFrame({"step": np.arange(length), "concept": concept})
    with drawing():
        figure: Figure
        figure, axes = new_figure(1, 2, height=1.75, sharex=True)
        axes[0, 0].plot(np.arange(length), concept, color=BROWN, drawstyle="steps-mid", linewidth=1.6)
        axes[0, 0].set_ylabel(shortened(target.concept.name, 16))
        if target.concept.is_categorical:
            levels = target.concept.levels
            shown = levels if len(levels) <= NAMED else levels[:0]
            axes[0, 0].set_yticks(shown, [shortened(target.concept.said(level), 10) for level in shown])
        for number, unit in enumerate(units):
            values = series[:length, number]
            table[f"unit {unit}"] = values
            line = ("-", "--", ":")[number]
            axes[1, 0].plot(
                np.arange(length), values, line, color=_LINES[number], linewidth=1.6, label=f"unit {unit}"
            )
        axes[1, 0].set_ylabel(best[1].replace("_", " "))
        axes[1, 0].set_xlabel("step")
        axes[1, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=OVER_TIME, borderaxespad=0.1)
        alt = (
            f"Sequence {row}, {several(length, 'step')}: “{target.concept.name}” above, and below it "
            f"{several(len(units), 'unit')} of "
            f"{best[0]}; unit {units[0]} lies between {said(float(series[:length, 0].min()))} and "
            f"{said(float(series[:length, 0].max()))}."
        )
        caption = f"Sequence {row} of the inputs, of median length. One sequence is an example and proves nothing."
        return drawn(
            figure, name=f"{question}-time", title="One sequence over time", alt=alt, caption=caption, data=table
        )
