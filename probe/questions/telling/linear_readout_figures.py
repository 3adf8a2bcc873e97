"""The pictures of one network's probes: scores beside controls, and the units that follow a concept most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import only
from ...evidence.words import said, said_score
from ...plots.dots import scatter
from ...plots.legends import figure_legend
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import ROLE_STYLE, SMALL, new_figure
from ...recurrent.signals import Signal
from ...subjects.states import states_of
from ..question import Answered
from ..states.targets import Target
from .unit_words import NULL, RANDOM, Followed

#: How many units are drawn over the values, and how many states of each.
UNITS, DOTS = 3, 120
#: The most places that are drawn; with more values than these dots are not moved sideways, and values have no names.
PLACES, MARKED, NAMED = 8, 12, 6
#: Scores below this are not drawn; a probe that is worse than the mean has read nothing.
LOWEST = -0.2


def draw(answered: Answered, target: Target) -> tuple[DataFigure, ...]:
    """Return the figures of a concept.

    Args:
        answered: what was measured.
        target: the concept at its states.
    """
    subject, table, name = answered.subject, answered.table, answered.name
    found = Followed.of_table(table)
    layer, signal = found.place
    rows = only(table, metric="follows", layer=layer, signal=signal)
    rows = rows.sort_values("value", ascending=False, kind="stable")
    how = {int(unit): value for unit, value in zip(rows["units"][:UNITS], rows["value"][:UNITS], strict=True)}
    figures = [scores(name, subject.network.name, target, table)]
    if found.above_chance:
        own = UnitStates(layer, signal, states_of(subject).states[layer, Signal(signal)][target.picked])
        figures.append(moves(name, target, own, how, _best_of_random(answered, target)))
    return tuple(figures)


@dataclass(frozen=True, eq=False)
class UnitStates:
    """The states of one place.

    Attributes:
        layer: the layer.
        signal: the signal.
        states: the states, (state, unit).
        unit: which unit is drawn, where it is one.
        value: how closely it follows the concept.
    """

    layer: str
    signal: str
    states: np.ndarray
    unit: int = 0
    value: float = 0.0


def _best_of_random(answered: Answered, target: Target) -> UnitStates | None:
    """Return the unit that follows the concept most in any network with random weights."""
    found = None
    for control in (one for one in answered.subjects if one.network.role == RANDOM):
        for (layer, signal), states in states_of(control).states.items():
            how = target.follows(states[target.picked])
            unit = int(np.argmax(how))
            if found is None or how[unit] > found.value:
                found = UnitStates(layer, str(signal), states[target.picked], unit, float(how[unit]))
    return found


def measure_of(target: Target) -> str:
    """Return what the score of a concept is called."""
    return "balanced accuracy" if target.concept.is_named else "R²"


def scores(question: str, network: str, target: Target, table: pd.DataFrame) -> DataFigure:
    """Return the figure of the scores of every place, a row each, with the controls in the same axes.

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
    nulls = only(rows, role=NULL, layer="")
    with drawing():
        figure, axes = new_figure(height=1.1 + 0.36 * len(shown) + 0.24 * len(nulls))
        ax = axes[0, 0]
        _places(ax, shown, rows)
        low = min(0.0, *(max(LOWEST, value) for value in rows["value"]))
        ax.set_xlim(low - 0.03, 1.03)
        _ticks(ax, nulls)
        ax.set_xlabel(f"held-out {measure}")
        handles, names = ax.get_legend_handles_labels()
        _ = figure_legend(figure, handles, names)
        best, controls = of_network.iloc[0], only(rows, role=RANDOM)["value"]
        beside = f", the best network with random weights {said(float(controls.max()))}" if len(controls) else ""
        alt = (
            f"Held-out {measure} of “{target.concept.name}” at {several(every, 'place')}: best "
            f"{said_score(float(best['value']))} at {best['layer']}, {best['signal'].replace('_', ' ')}{beside}."
        )
        caption = (
            "A row for each layer and signal. The band goes from the worst to the best network with random weights. "
            "Vertical lines are scores without the states. The 95 % interval over sequences is a line, "
            "which a dot may hide."
        )
        if every > len(shown):
            caption += f" Of {every} places the {len(shown)} best are drawn."
        columns = ["role", "network", "layer", "signal", "kind", "value", "low", "high"]
        data = rows[columns].reset_index(drop=True)
        title = "Where it can be read"
        return drawn(figure, name=f"{question}-scores", title=title, alt=alt, caption=caption, data=data)


def _places(ax: Axes, shown: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Draw a row for each place: the controls with random weights as a band, the shuffled concept, the network."""
    network = ROLE_STYLE["trained"]
    for at, (_, own) in enumerate(shown.iterrows()):
        here = only(rows, layer=own["layer"], signal=own["signal"])
        label = (lambda name: name) if at == 0 else (lambda _: None)
        controls = np.clip(only(here, role=RANDOM)["value"].to_numpy(float), LOWEST, None)
        if len(controls):
            ends = [controls.min(), controls.max()]
            look = {"color": ROLE_STYLE[RANDOM].color, "linewidth": 9, "alpha": 0.5, "zorder": 1}
            ax.plot(ends, [at, at], label=label(RANDOM), **look)
        mixed = np.clip(only(here, role=NULL)["value"].to_numpy(float), LOWEST, None)
        if len(mixed):
            look = {"color": "black", "markersize": 8, "linestyle": "none", "zorder": 2}
            ax.plot(mixed, np.full(len(mixed), at), marker="|", label="shuffled values", **look)
        ax.plot([own["low"], own["high"]], [at, at], color=network.color, linewidth=3, zorder=3)
        ax.plot(own["value"], at, network.marker, color=network.color, label=label("this network"), zorder=4)
    names = [
        f"{shortened(layer, 18)}\n{signal.replace('_', ' ')}"
        for layer, signal in zip(shown["layer"], shown["signal"], strict=True)
    ]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)


def _ticks(ax: Axes, nulls: pd.DataFrame) -> None:
    """Draw each score that needs no state as a vertical line, its name above the rows."""
    low, high = ax.get_xlim()
    for number, (name, value) in enumerate(zip(nulls["network"], nulls["value"], strict=True)):
        at = max(float(value), low)
        ax.axvline(at, color="black", linewidth=1.0, linestyle=":", zorder=1)
        right = (at - low) / (high - low) > 0.5
        place = (at, 1.0)
        ax.annotate(
            str(name),
            place,
            xycoords=("data", "axes fraction"),
            xytext=(-3 if right else 3, 4 + 15 * number),
            textcoords="offset points",
            ha="right" if right else "left",
            va="bottom",
            fontsize=SMALL,
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.8,
                "linestyle": ":",
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (right, 0),
            },
        )


def moves(
    question: str, target: Target, own: UnitStates, how: dict[int, float], beside: UnitStates | None
) -> DataFigure:
    """Return the figure of the units that follow the concept most, every state a dot, beside the controls' best unit.

    Args:
        question: the name of the finding.
        target: the concept at its states.
        own: the states of the network's best place.
        how: how closely units follow the concept, by unit; the best first.
        beside: the best unit of the networks with random weights, or None.
    """
    units = _shown_units(own, how, beside)
    values, jitter = target.values, np.random.default_rng(0).uniform(-0.18, 0.18, len(target.values))
    levels = np.unique(values)
    apart = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    shown = _drawn_states(len(values))
    data = []
    with drawing():
        figure, axes = new_figure(2, -(-len(units) // 2), height=2.0, sharex=True)
        panels = axes.ravel()
        for panel, (name, states, value) in zip(panels, units, strict=False):
            role = "trained" if name.startswith("unit") else RANDOM
            spread = values + (jitter * apart if len(levels) <= MARKED else 0)
            scatter(panel, spread[shown], states[shown], color=ROLE_STYLE[role].color, size=3.2)
            panel.set_title(f"{name}: {said(value)}", fontweight="normal")
            panel.locator_params(axis="y", nbins=4)
            data += [(name.replace("\n", " "), values[one], states[one]) for one in shown]
        _without_spare(panels, len(units))
        _name_values(panels[0], target, levels)
        unnamed = target.concept.is_categorical and len(levels) > NAMED
        axis = shortened(target.concept.name, 40) + f", {len(levels)} values" * unnamed
        figure.supxlabel(axis, fontsize="medium")
        figure.supylabel(own.signal.replace("_", " "), fontsize="medium")
        measure = "correlation ratio" if target.concept.is_named else "|r|"
        first, (best, value) = units[0][0], next(iter(how.items()))
        control = f"; with random weights the best has {said(beside.value)}" if beside is not None else ""
        alt = (
            f"{several(len(shown), 'state')}: {several(min(len(how), UNITS), 'unit')} of {own.layer} over the values "
            f"of “{target.concept.name}”; the largest {measure} within steps is that of {first}, {said(how[best])}"
            f"{control}."
        )
        caption = (
            f"Each dot is a state{', moved a little sideways' * (len(levels) <= MARKED)}. Each title has {measure} "
            "on all states, after removing what the step explains. It is too high: the units were selected by it."
        )
        if unnamed:
            ends = [shortened(target.concept.said(levels[place]), 20) for place in (0, -1)]
            caption += f" The {len(levels)} values are in their order, from “{ends[0]}” to “{ends[1]}”."
        return drawn(
            figure,
            name=f"{question}-units",
            title=f"Units by {measure}, the largest first{', beside the best one of random weights' * bool(beside)}",
            alt=alt,
            caption=caption,
            data=pd.DataFrame(data, columns=["unit", "value", "state"]),
        )


def _without_spare(panels: np.ndarray, used: int) -> None:
    """Take out the panels of two columns that nothing is drawn in; the one above each is the lowest of its column."""
    for place in range(used, len(panels)):
        panels[place].remove()
        panels[max(place - 2, 0)].tick_params(labelbottom=True)


def _shown_units(
    own: UnitStates, how: dict[int, float], beside: UnitStates | None
) -> list[tuple[str, np.ndarray, float]]:
    """Return name, states and correlation of each unit that is drawn, that of the controls last."""
    units = [(f"unit {unit}", own.states[:, unit], value) for unit, value in list(how.items())[:UNITS]]
    if beside is not None:
        units.append((f"random weights,\nunit {beside.unit}", beside.states[:, beside.unit], beside.value))
    return units


def _drawn_states(count: int) -> np.ndarray:
    """Return which states are drawn: all, or an even part of many."""
    return np.unique(np.linspace(0, count - 1, min(count, DOTS)).round().astype(int))


def _name_values(ax: Axes, target: Target, levels: np.ndarray) -> None:
    """Name the values of a concept below the panels, which share the axis; of many categories none."""
    if target.concept.is_categorical:
        shown = levels if len(levels) <= NAMED else levels[:0]
        ax.set_xticks(shown, [shortened(target.concept.said(level), 8) for level in shown])
    elif len(levels) <= NAMED:
        ax.set_xticks(levels, [target.concept.said(level) for level in levels])
