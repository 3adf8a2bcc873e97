"""Where do the states lie: the two directions along which they vary most, beside a network with random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError
from ...evidence.claims import RANDOM
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, only, tabulate
from ...plots.legends import Key, name_beside, scale
from ...plots.spaces import scatter
from ...plots.state_space import principal
from ...plots.study_figures import drawing, drawn, labels, shortened
from ...plots.style import VALUES, colours, name_colours, new_figure
from ...probes.points import Points
from ...subjects.concepts import Known, group_edges
from ...subjects.states import Place
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told
from ..readings import best_place, points_of, readable, states_at, values_at
from .one_sequence import why_not

QUESTION = "state-space"
#: So many states are drawn of each network.
SHOWN = 160
#: Each of so many values has a colour of its own; more are drawn in so many groups of about equal size.
MOST_VALUES, GROUPS = 20, 8
_AXES = ["first", "second"]
#: States of which two directions have so much of the variance lie near a plane.
NEAR_PLANE = 0.9


def question(subject: Subject) -> Question:
    """Return the question, which describes the states and claims nothing."""
    title = "Where do the states lie?"
    asked = (why_not,), ("trained", RANDOM)
    return Question(QUESTION, title, measure, *asked, tell=tell, version=4, heading=heading)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure where states lie along their two principal directions, at the place where the concept is read best.

    Metrics: `variance`, the share of the states' variance along each direction (`kind`: first, second); `coordinate`
    by direction and state (`at` is its number among those that probes of the concept read, `step` its step), of a
    part that the seed draws; `concept`, its value there.

    Args:
        subjects: the network, then its controls with random weights.
    """
    every = as_subjects(subjects)
    first = every[0]
    name = readable(first)[0]
    at = best_place(first, name)
    points = points_of(first, name, at[0])
    return tabulate(row for subject in every for row in _of_network(subject, name, at, points))


def _of_network(subject: Subject, name: str, at: Place, points: Points) -> Iterator[dict[str, Any]]:
    where: dict[str, Any] = {"layer": at[0], "signal": str(at[1])}
    states, values = states_at(subject, at, points), values_at(subject, name, points)
    try:
        plane = principal(states, 2)
    except ProbeError:
        return

    def row(metric: str, value: float, **more: Any) -> dict[str, Any]:
        return measurement(QUESTION, metric, subject.network, value, **where, **more)

    for kind, share in zip(_AXES, plane.shares.tolist(), strict=True):
        yield row("variance", share, kind=kind)
    places, count = plane(states), min(SHOWN, len(states))
    shown = np.sort(np.random.default_rng([subject.seed, 11]).choice(len(states), count, replace=False))
    for number in shown.tolist():
        step = int(points.step[number])
        yield row("concept", float(values[number]), kind=name, at=number, step=step)
        for axis, kind in enumerate(_AXES):
            yield row("coordinate", float(places[number, axis]), kind=kind, at=number, step=step)


def _shares(answered: Answered) -> pd.Series:
    """Return how much of the states' variance two directions have, of each network."""
    return only(answered.table, metric="variance").groupby("network", sort=False)["value"].sum()


def heading(answered: Answered) -> str:
    """Return whether the states of one network lie near a plane, and whether those of its controls do."""
    shares, name = _shares(answered), answered.subject.network.name
    if name not in shares:
        return ""
    near = shares >= NEAR_PLANE
    own, others = ("lie near a plane" if near[name] else "spread beyond a plane"), near.drop(name)
    beside = f"; with random weights they {'do too' if (others == near[name]).all() else 'do not'}"
    return f"The states {own}{beside if len(others) else ''}"


def tell(answered: Answered) -> Told:
    """Return how much of the variance two directions have, of a network and of its controls, with the picture."""
    shares, name = _shares(answered), answered.subject.network.name
    if name not in shares:
        return Told({"answer": "The states spread along fewer than two directions."})
    others = shares.drop(name)
    beside = f"; in one network with random weights they have {others.max():.0%}" if len(others) else ""
    setup = (
        "The directions are the two principal ones of the states, of each network its own; a large share of the "
        "variance need not be what the answer uses."
    )
    answer = f"Two directions have {shares[name]:.0%} of the states' variance{beside}."
    return Told({"answer": answer, "setup": setup}, lambda: (_figure(answered, answer),))


def _figure(answered: Answered, alt: str) -> DataFigure:
    """Draw the network and its first control, every dot a state coloured by the concept."""
    table, subject = answered.table, answered.subject
    networks = list(dict.fromkeys(only(table, metric="variance")["network"]))[:2]
    concepts = only(table, metric="concept")
    concept = subject.concepts[str(concepts["kind"].iloc[0])]
    edges, names = value_groups(concept, concepts["value"].to_numpy(float))
    of_names = concept.is_categorical
    inks = name_colours(len(names)) if of_names else colours(len(names), VALUES)
    with drawing():
        figure, axes = new_figure(len(networks), height=max(2.9, 0.2 * len(names) + 0.8))
        for ax, network in zip(axes[0], networks, strict=True):
            own = only(table, network=network)
            _states(ax, own, edges, inks)
            shares = only(own, metric="variance").set_index("kind")["value"]
            ax.set_title("this network" if network == subject.network.name else RANDOM)
            ax.set_xlabel(f"first direction\n({shares['first']:.0%})")
            ax.set_ylabel(f"second direction ({shares['second']:.0%})")
            ax.set(xticks=[], yticks=[])
        key = Key(names, inks, shortened(concept.name, 24), names=of_names, alike=True)
        _ = name_beside(list(axes[0]), key) if of_names else scale(list(axes[0]), key)
        return drawn(
            figure,
            name=answered.name,
            title="The states along the two directions in which they vary most",
            alt=alt,
            caption=f"Each dot is a state, of at most {SHOWN}, coloured by the concept's value.",
            data=only(table, metric="coordinate")[["network", "kind", "at", "step", "value"]].reset_index(drop=True),
        )


def _states(ax: Axes, own: pd.DataFrame, edges: np.ndarray, inks: list[str]) -> None:
    places = only(own, metric="coordinate").pivot_table(index="at", columns="kind", values="value")
    values = only(own, metric="concept").set_index("at")["value"].reindex(places.index)
    group = np.searchsorted(edges, values.to_numpy(float), side="right")
    for number, ink in enumerate(inks):
        scatter(ax, *places.loc[group == number, _AXES].to_numpy(float).T, color=ink)


def value_groups(concept: Known, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return where each group of values but the first begins, and the groups' names, from low to high."""
    levels = concept.levels
    if len(levels) <= MOST_VALUES:
        return (levels[1:] + levels[:-1]) / 2, labels([concept.said(level) for level in levels], 10)
    levels, edges = np.unique(values), group_edges(values, GROUPS)
    ends = [group[[0, -1]] for group in np.split(levels, np.searchsorted(levels, edges))]
    names = [" to ".join(dict.fromkeys(shortened(concept.said(level), 9) for level in pair)) for pair in ends]
    return edges, labels(names, 20)
