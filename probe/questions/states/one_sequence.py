"""What happens in one sequence: concepts, what a probe reads, what would be answered, and the units, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...errors import ProbeError, several
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import place
from ...plots.legends import figure_legend
from ...plots.sequences import draw_map, write_steps
from ...plots.spaces import scatter
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import GREY, ROLE_STYLE, new_figure
from ...subjects.answers import answers_if_asked
from ...subjects.concepts import Known
from ...subjects.states import Place, examples_of, recorded_rows
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told
from ..readings import best_place, followed, points_of, readable, states_at, values_at, whole_states

QUESTION = "one-sequence"
#: Of a longer sequence so many steps are shown, and of more units so many: those that follow the concept most.
STEPS, UNITS = 40, 24
#: So many concepts are drawn, and so many values of a categorical one are named.
CONCEPTS, NAMED = 3, 6
#: The measured metric -> what the legend calls it, its colour, and its dots' diameter in points.
DRAWN: dict[str, tuple[str, str, float]] = {
    "concept": ("true value", "black", 0.0),
    "reading": ("a probe reads", GREY, 7.0),
    "answer": ("this network's answer, if asked now", ROLE_STYLE["trained"].color, 4.0),
}


def question(subject: Subject) -> Question:
    """Return the question, which shows examples and claims nothing."""
    title = "What happens in one sequence?"
    return Question(QUESTION, title, measure, (why_not,), ("trained",), tell=tell, version=3)


def why_not(subject: Subject) -> str | None:
    """A concept that a probe can read from the states."""
    return None if readable(subject) else "no concept varies over enough states for a probe"


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure a few sequences step by step; `at` is the sequence's number in the study.

    Metrics at each step: `concept`, its value (`kind` names it); `reading`, what a probe of the concept's best place
    (`layer`, `signal`) says, fitted without all states whose prefix this sequence shares; `answer`, what the network
    would answer if the sequence ended there; `state`, the value of a unit where one follows the first concept
    most, of many units those that do. Values of categories are their places in the concept's order.
    """
    subject = as_subjects(subjects)[0]
    return tabulate(row for example in examples_of(subject) for row in _of_example(subject, example))


def _of_example(subject: Subject, example: int) -> Iterator[dict[str, Any]]:
    row = int(recorded_rows(subject)[example])
    length, network = min(int(subject.lengths[row]), STEPS), subject.network

    def along(metric: str, values: np.ndarray, **more: Any) -> Iterator[dict[str, Any]]:
        for step, value in enumerate(values[:length].tolist()):
            if np.isfinite(value):
                yield measurement(QUESTION, metric, network, value, step=step, at=row, **more)

    for name in readable(subject):
        yield from along("concept", subject.concepts[name].values[row], kind=name)
        at = best_place(subject, name)
        read = _reading(subject, name, example, at)
        yield from along("reading", read, kind=name, layer=at[0], signal=str(at[1]))
    with suppress(ProbeError):
        if subject.readout is not None:
            yield from along("answer", answers_if_asked(subject, np.array([row]))[0], kind=subject.answered.name)
    layer, signal = followed(subject, readable(subject)[0])
    states = whole_states(subject, (layer, signal), example)
    for unit in _shown(subject, (layer, signal)):
        yield from along("state", states[:, unit], layer=layer, signal=str(signal), units=str(unit))


def _shown(subject: Subject, at: Place) -> list[int]:
    """Return the units that are shown: all, or those that follow the first concept most, in their own order."""
    points = points_of(subject, readable(subject)[0], at[0])
    states = states_at(subject, at, points)
    if states.shape[1] <= UNITS:
        return list(range(states.shape[1]))
    return sorted(np.argsort(-points.follows(states), kind="stable")[:UNITS].tolist())


def _reading(subject: Subject, name: str, example: int, at: Place) -> np.ndarray:
    """Return what a probe says after each step, fitted without the states that this sequence shares, (step,)."""
    points, rows = points_of(subject, name, at[0]), recorded_rows(subject)
    states, own = states_at(subject, at, points), whole_states(subject, at, example)
    values, x, length = values_at(subject, name, points), subject.x[rows], int(subject.lengths[rows[example]])
    # How many steps each sequence begins like this one: a state within them is a state of this one.
    same = (x == x[example]).flatten(2).all(2).numpy().cumprod(1).sum(1)
    apart = points.sequence != example
    if subject.groups is not None:
        groups = subject.groups[rows]
        apart = groups[points.sequence] != groups[example]
    kept = np.flatnonzero((same[points.sequence] <= points.step) & apart)
    found = np.full(length, np.nan)
    if len(np.unique(values[kept])) < 2:
        return found
    there = len(kept)
    features = np.concatenate([states[kept], own[:length]])
    goal = np.concatenate([values[kept], np.full(length, values[kept][0])])
    # Two parts of the states to fit on, so that a penalty can be selected, and the sequence as the one that is asked.
    parts = [np.flatnonzero(points.fold[kept] % 2 == number) for number in (0, 1)]
    whole = [part for part in parts if len(part)] + [np.arange(there, there + length)]
    return points.fit.held_out(features, goal[:, None], whole)[there:, 0]


def tell(answered: Answered) -> Told:
    """Return after how many of the steps that are shown a probe and the network are right, with the sequences."""
    table, subject = answered.table, answered.subject
    name, rows = readable(subject)[0], only(table, metric="state")
    sequences = [int(row) for row in dict.fromkeys(table["at"])]
    shown = several(len(sequences), "sequence")
    parts = [f"a probe reads “{shortened(name, 30)}” {_hits(table, subject.concepts[name], 'reading')}"]
    answers = only(table, metric="answer")["kind"].unique().tolist()
    if answers and len(only(table, metric="concept", kind=answers[0])):
        parts.append(f"the network, asked there, would be {_hits(table, subject.answered, 'answer')}")
    setup = (
        f"The {shown} are of about median length, those in which the concept changes most; examples prove nothing. "
        f"The map has {several(rows['units'].nunique(), 'unit')} of "
        f"{place(str(rows['layer'].iloc[0]), str(rows['signal'].iloc[0]))}. Each probe was fitted without the states "
        "that the sequence shares with others."
    )
    answer = f"In the {shown} that we show, {'; '.join(parts)}."
    return Told({"answer": answer, "setup": setup}, lambda: tuple(_figure(answered, row) for row in sequences))


def _hits(table: pd.DataFrame, concept: Known, metric: str) -> str:
    """Return after how many steps values of a metric are near the concept's."""
    values, true = (
        only(table, metric=one, kind=concept.name).set_index(["at", "step"])["value"].astype(float)
        for one in (metric, "concept")
    )
    both = values.index.intersection(true.index)
    close = int(((values[both] - true[both]).abs() <= concept.near).sum())
    how = "right" if concept.is_named else f"within {concept.near:g}"
    return f"{how} after {close} of {several(len(both), 'step')}"


def _figure(answered: Answered, row: int) -> DataFigure:
    table, subject = answered.table[answered.table["at"] == row], answered.subject
    names = list(dict.fromkeys(only(table, metric="concept")["kind"]))[:CONCEPTS]
    concept = subject.concepts[names[0]]
    states = only(table, metric="state").pivot_table(index="units", columns="step", values="value", sort=False)
    symbols = {tuple(value.tolist()): symbol for symbol, value in subject.symbols.items()}
    steps = states.shape[1]
    inputs = [symbols[tuple(step)] for step in subject.x[row, :steps].tolist()] if symbols else []
    heights = [1.25] * len(names) + [0.55 + float(np.clip(0.13 * len(states), 0.7, 2.6))]
    signal, layer = (str(only(table, metric="state")[column].iloc[0]) for column in ("signal", "layer"))
    with drawing():
        figure, axes = new_figure(1, len(heights), height=sum(heights) / len(heights), sharex=True)
        axes[0, 0].get_gridspec().set_height_ratios(heights)
        for ax, name in zip(axes[:, 0], names, strict=False):
            _concept(ax, table, subject.concepts[name])
        norm = draw_map(axes[-1, 0], signal, states.to_numpy(float), list(map(str, states.index)))
        axes[-1, 0].set_title(f"{signal.replace('_', ' ')}, {norm.vmin:.2g} to {norm.vmax:.2g}")
        below = [shortened(one, 10) for one in inputs] or [str(step + 1) for step in range(steps)]
        write_steps(axes[-1, 0], below, "what the network reads" if inputs else "steps read")
        shown = [one for one in DRAWN if one in set(table["metric"])]
        _ = figure_legend(figure, [_mark(*DRAWN[one][1:]) for one in shown], [DRAWN[one][0] for one in shown])
        true = [
            subject.concepts[names[0]].said(value) for value in only(table, metric="concept", kind=names[0])["value"]
        ]
        read = f" ({' '.join(inputs)})" if inputs else ""
        longer = f" Its first {steps} of {subject.lengths[row]} steps." * (steps < int(subject.lengths[row]))
        return drawn(
            figure,
            name=f"{answered.name}-{row}",
            title=f"Sequence {row + 1}",
            alt=f"Sequence {row + 1}{read}, {several(steps, 'step')}: “{concept.name}” goes from {true[0]} to "
            f"{true[-1]}; {len(states)} units lie between {states.min().min():.2f} and {states.max().max():.2f}.",
            caption=f"Above, each concept step by step. Below, the units of {layer}.{longer} This is x[{row}].",
            data=table[["metric", "kind", "units", "step", "value"]].reset_index(drop=True),
        )


def _mark(color: str, size: float) -> Line2D:
    return Line2D([], [], color=color, **({"marker": "o", "linestyle": "none", "markersize": size} if size else {}))


def _concept(ax: Axes, table: pd.DataFrame, concept: Known) -> None:
    for metric, (_, color, size) in DRAWN.items():
        rows = only(table, metric=metric, kind=concept.name)
        # The middles of the map's cells.
        steps, values = rows["step"].to_numpy(float) + 0.5, rows["value"].to_numpy(float)
        if size:
            scatter(ax, steps, values, color=color, size=size)
        else:
            ax.plot(steps, values, drawstyle="steps-mid", color=color, linewidth=1.4)
    ax.tick_params(axis="x", bottom=False)
    ax.set_ylabel(shortened(concept.name, 12))
    ax.margins(y=0.15)
    ax.yaxis.set_major_locator(MaxNLocator(3, integer=bool((concept.levels == concept.levels.round()).all())))
    if concept.is_categorical:
        levels = concept.levels if len(concept.levels) <= NAMED else concept.levels[:0]
        ax.set_yticks(levels, [shortened(concept.said(level), 10) for level in levels])
