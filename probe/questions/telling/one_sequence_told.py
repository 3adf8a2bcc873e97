"""What a page says and shows of a few sequences, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import only
from ...evidence.words import listed, place
from ...plots.dots import scatter
from ...plots.legends import figure_legend
from ...plots.lines import numbered
from ...plots.sequences import scale_of
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import GREY, ROLE_STYLE, new_figure
from ...subjects.computed.answers import takes_levels
from ...subjects.concepts import Known
from ...subjects.subject import Subject
from ..question import Answered, Told

#: So many concepts are drawn, and so many values of a categorical one are named.
CONCEPTS, NAMED = 3, 6
#: So many letters fit below each other's columns.
LETTERS = 46
#: The measured metric -> what the legend calls it.
DRAWN = {"concept": "true value", "reading": "a probe reads", "answer": "this network's answer, if asked now"}


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    table, subject = answered.table, answered.subject
    rows = only(table, metric="state")
    at = place(str(rows["layer"].iloc[0]), str(rows["signal"].iloc[0]))
    sequences = [int(one) for one in dict.fromkeys(table["at"])]
    notes = {
        "answer": " ".join([_readings(table, subject), _answers(table, subject)]).strip(),
        "setup": (
            f"We show {several(len(sequences), 'sequence')} of about median length, in which the concept changes "
            "most; examples prove nothing. The map "
            f"has {several(rows['units'].nunique(), 'unit')} of {at}. Each probe was fitted without the states that "
            "the sequence shares with others. An answer “if asked now” is the network's answer to the sequence as if "
            "it ended there."
        ),
    }
    return Told(notes, lambda: tuple(_figure(answered, one) for one in sequences))


def _paired(table: pd.DataFrame, metric: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return values of a metric and those of the concept at the same steps of the same sequences."""
    keys = ["at", "step"]
    found = only(table, metric=metric, kind=kind).set_index(keys)["value"].astype(float)
    true = only(table, metric="concept", kind=kind).set_index(keys)["value"].astype(float)
    both = found.index.intersection(true.index)
    return found[both].to_numpy(), true[both].to_numpy()


def _readings(table: pd.DataFrame, subject: Subject) -> str:
    parts = []
    for name in dict.fromkeys(only(table, metric="reading")["kind"]):
        read, true = _paired(table, "reading", name)
        near = subject.concepts[name].near
        how = "exactly" if subject.concepts[name].is_named else f"to within {near:g}"
        parts.append(f"“{name}” {how} after {_hits(read, true, near)} of {several(len(true), 'step')}")
    return f"In the sequences that we show, a probe reads {listed(parts)}."


def _hits(values: np.ndarray, true: np.ndarray, near: float) -> int:
    return int((np.abs(values - true) <= near).sum())


def _answers(table: pd.DataFrame, subject: Subject) -> str:
    if only(table, metric="answer").empty:
        return ""
    given, true = _paired(table, "answer", subject.answered.name)
    if not len(true):
        return ""
    near = subject.answered.near
    hits = f"after {_hits(given, true, near)} of {len(true)}."
    if takes_levels(subject):
        return f"Asked after each step, the network would be right {hits}"
    return f"Asked after each step, its answer would be within {near:g} of “{subject.answered.name}” {hits}"


def _figure(answered: Answered, row: int) -> DataFigure:
    table, subject = answered.table[answered.table["at"] == row], answered.subject
    names = list(dict.fromkeys(only(table, metric="concept")["kind"]))[:CONCEPTS]
    states = only(table, metric="state").pivot_table(index="units", columns="step", values="value", sort=False)
    inputs = _inputs(subject, row, states.shape[1])
    heights = [1.15] * len(names) + [0.55 + float(np.clip(0.13 * len(states), 0.7, 2.6))]
    with drawing():
        figure: Figure
        figure, axes = new_figure(1, len(heights), height=sum(heights) / len(heights), sharex=True)
        axes[0, 0].get_gridspec().set_height_ratios(heights)
        for ax, name in zip(axes[:, 0], names, strict=False):
            _concept(ax, table, subject.concepts[name])
        _map(axes[-1, 0], states, str(only(table, metric="state")["signal"].iloc[0]))
        _steps(axes[-1, 0], inputs, states.shape[1])
        shown = [one for one in DRAWN if one in set(table["metric"])]
        _ = figure_legend(figure, [_mark(one) for one in shown], [DRAWN[one] for one in shown])
        true = only(table, metric="concept", kind=names[0])["value"]
        read = (" " * (max(map(len, inputs), default=1) > 1)).join(inputs)
        alt = (
            f"Sequence {row + 1}{f' ({read})' if read else ''}, {several(states.shape[1], 'step')}: "
            f"“{names[0]}” goes from {subject.concepts[names[0]].said(true.iloc[0])} to "
            f"{subject.concepts[names[0]].said(true.iloc[-1])}; below it {several(len(states), 'unit')} from "
            f"{states.min().min():.2f} to {states.max().max():.2f}."
        )
        where = str(only(table, metric="state")["layer"].iloc[0])
        longer = f" Its first {states.shape[1]} of {subject.lengths[row]} steps." * (
            states.shape[1] < int(subject.lengths[row])
        )
        return drawn(
            figure,
            name=f"{answered.name}-{row}",
            title=f"Sequence {row + 1}",
            alt=alt,
            caption=f"Above, each concept step by step. Below, the units of {where}.{longer} This is x[{row}].",
            data=_wide(table, states, inputs),
        )


def _inputs(subject: Subject, row: int, steps: int) -> list[str]:
    """Return the beginning of a sequence in the author's symbols, or nothing where there are none."""
    names = {tuple(value.tolist()): symbol for symbol, value in subject.symbols.items()}
    return [names[tuple(step)] for step in subject.x[row, :steps].tolist()] if names else []


def _mark(metric: str) -> Line2D:
    return Line2D([], [], label=DRAWN[metric], **LOOKS[metric])


LOOKS: Mapping[str, dict[str, Any]] = {
    "concept": {"color": "black", "linewidth": 1.4},
    "reading": {"color": GREY, "marker": "o", "markersize": 7, "linestyle": "none"},
    "answer": {"color": ROLE_STYLE["trained"].color, "marker": "o", "markersize": 4, "linestyle": "none"},
}
#: How large the dots of a metric are, in points: where both are right, one lies within the other.
SIZES = {"reading": 7.0, "answer": 4.0}


def _concept(ax: Axes, table: pd.DataFrame, concept: Known) -> None:
    for metric, look in LOOKS.items():
        rows = only(table, metric=metric, kind=concept.name)
        if rows.empty:
            continue
        steps = rows["step"].to_numpy(int) + 1
        values = rows["value"].to_numpy(float)
        if metric == "concept":
            ax.plot(steps, values, drawstyle="steps-mid", **look)
        else:
            scatter(ax, steps.astype(float), values, color=look["color"], size=SIZES[metric])
    ax.tick_params(axis="x", bottom=False)
    ax.set_ylabel(shortened(concept.name, 16))
    ax.margins(y=0.15)
    whole = bool((concept.levels == concept.levels.round()).all())
    ax.yaxis.set_major_locator(MaxNLocator(3, integer=whole))
    if concept.is_categorical:
        levels = concept.levels if len(concept.levels) <= NAMED else concept.levels[:0]
        ax.set_yticks(levels, [shortened(concept.said(level), 10) for level in levels])


def _map(ax: Axes, states: pd.DataFrame, signal: str) -> None:
    values = states.to_numpy(float)
    colours, norm = scale_of(signal, values)
    ends = (0.5, values.shape[1] + 0.5, len(values) - 0.5, -0.5)
    _ = ax.imshow(values, aspect="auto", interpolation="none", cmap=colours, norm=norm, extent=ends)
    places = range(0, len(values), -(-len(values) // NAMED))
    ax.set_yticks(places, [str(states.index[one]) for one in places])
    ax.set_ylabel("unit")
    ax.set_title(
        f"{signal.replace('_', ' ')}, teal {norm.vmin:.2g} to gold {norm.vmax:.2g}".replace("-", "\N{MINUS SIGN}"),
        fontweight="normal",
    )


def _steps(ax: Axes, inputs: Sequence[str], steps: int) -> None:
    """Write below the columns what was read, or the numbers of the steps where the inputs have no symbols."""
    if inputs and steps <= LETTERS:
        words = max(map(len, inputs)) > 1
        ax.set_xticks(range(1, steps + 1), [shortened(one, 10) for one in inputs], rotation=90 if words else 0)
        ax.tick_params(axis="x", bottom=False)
        ax.set_xlabel("what the network reads")
        return
    numbered(ax, np.arange(1, steps + 1))
    ax.set_xlabel("steps read")


def _wide(table: pd.DataFrame, states: pd.DataFrame, inputs: Sequence[str]) -> pd.DataFrame:
    """Return what was drawn, a row a step, counted from 1."""
    wide = pd.DataFrame({"step": states.columns.to_numpy(int) + 1})
    if inputs:
        wide["input"] = list(inputs)
    for metric, said in DRAWN.items():
        for name, rows in only(table, metric=metric).groupby("kind", sort=False):
            values = rows.set_index("step")["value"].reindex(states.columns)
            wide[f"{said}: {name}"] = values.to_numpy(float)
    for unit, values in states.iterrows():
        wide[f"unit {unit}"] = values.to_numpy(float)
    return wide
