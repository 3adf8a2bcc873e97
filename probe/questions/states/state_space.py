"""Where do the states lie: the two directions along which they vary most, beside a network with random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ProbeError
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import listed
from ...plots.state_space import principal
from ...subjects.computed.network_states import Place
from ...subjects.computed.sampled import sample_of, states_of
from ...subjects.subject import Subject, as_subjects
from ..question import Answered, Question, Told
from ..telling import dynamics_words, state_space_figures
from . import held_inputs
from .linear_readout_drawn import best_of, places_of
from .one_sequence import ordered, why_not

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "state-space"
#: So many states are drawn of each network.
SHOWN = 160
RANDOM = "random weights"
_AXES = ("first", "second")


def question(subject: Subject) -> Question:
    """Return the question, which describes the states and claims nothing."""
    _ = subject
    title = "Where do the states lie?"
    return Question(QUESTION, title, measure, (why_not,), ("trained", RANDOM), tell=tell, version=3)


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure where states lie along their two principal directions, at the place where the concept is read best.

    Metrics: `variance`, the share of the states' variance along each direction (`kind`: first, second); `coordinate`
    by direction and state (`at` is its number among the sampled states of the concept, `step` its step), of a part of
    the states that the seed draws; `concept`, its value there. Of fixed points under an input that is held fixed,
    where the layer that is read is searched for them: `point` by direction (`units` names the input, `at` is the
    point's number), and `unstable`, in how many directions it is unstable, and `neutral`, 1 if
    it keeps a small push and else 0.

    Args:
        subjects: the network, then its controls with random weights.
    """
    every = as_subjects(subjects)
    first = every[0]
    name = ordered(first)[0]
    at = best_of(places_of(first)[name])
    rows: list[dict[str, Any]] = []
    for subject in every:
        rows += _of_network(subject, name, at, points=subject is first)
    return tabulate(rows)


def _of_network(subject: Subject, name: str, at: Place, *, points: bool) -> Iterator[dict[str, Any]]:
    where: dict[str, Any] = {"layer": at[0], "signal": str(at[1])}
    sample, states = sample_of(subject), states_of(subject).states[at]
    picked = sample.of[name]
    try:
        plane = principal(states[picked], 2)
    except ProbeError:
        return

    def row(metric: str, value: float, **more: Any) -> dict[str, Any]:
        return measurement(QUESTION, metric, subject.network, value, **where, **more)

    for kind, share in zip(_AXES, plane.shares.tolist(), strict=True):
        yield row("variance", share, kind=kind)
    places, steps = plane(states[picked]), sample.step[picked]
    values = subject.concepts[name].values[sample.rows][sample.sequence[picked], steps]
    count = min(SHOWN, len(picked))
    shown = np.sort(np.random.default_rng([subject.seed, 11]).choice(len(picked), count, replace=False))
    for number in shown.tolist():
        step = int(steps[number])
        yield row("concept", float(values[number]), kind=name, at=number, step=step)
        for axis, kind in enumerate(_AXES):
            yield row("coordinate", float(places[number, axis]), kind=kind, at=number, step=step)
    for held, found, unstable, neutral in _points(subject, at) if points else ():
        for number, place in enumerate(plane(found)):
            yield row("unstable", float(unstable[number]), units=held, at=number)
            yield row("neutral", float(neutral[number]), units=held, at=number)
            for axis, kind in enumerate(_AXES):
                yield row("point", float(place[axis]), units=held, at=number, kind=kind)


def _points(subject: Subject, at: Place) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield under each held input where its fixed points lie, how unstable each is, and whether it is neutral."""
    if held_inputs.first_layer(subject) is not None:
        return
    start = held_inputs.usual_start(subject)
    if start.layer.name != at[0] or not start.searches or at[1] not in start.dynamics.signals:
        return
    columns = start.dynamics.columns(at[1])
    for name, (points, _) in held_inputs.usual_points(subject).items():
        fixed = points.fixed
        yield name, points.states[fixed][:, columns], points.unstable_directions[fixed], points.neutral[fixed]


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    table, subject = answered.table, answered.subject
    own = only(table, network=subject.network.name, metric="variance")
    if own.empty:
        return Told({"answer": "The states spread along fewer than two directions."})
    shares = only(table, metric="variance").groupby("network", sort=False)["value"].sum()
    others = [share for network, share in shares.items() if network != subject.network.name]
    beside = f"; with random weights they have {max(others):.0%}" if others else ""
    counted = only(table, metric="neutral").groupby("units", sort=False)["value"].agg(["size", "sum"])
    growing = only(table, metric="unstable").groupby("units", sort=False)["value"].agg(lambda own: (own > 0).sum())
    under = [
        f"{dynamics_words.points(size, size - int(neutral) - int(growing[held]), int(neutral))} under {held}"
        for held, size, neutral in counted.itertuples()
    ]
    found = f" The search finds {listed(under)}." if under else ""
    answer = f"Two directions have {shares[subject.network.name]:.0%} of the states' variance{beside}.{found}"
    setup = (
        f"The directions are the two principal ones of the states, of each network its own. We draw at most {SHOWN} "
        "states. A large share of the variance need not be what the answer uses."
    )
    return Told({"answer": answer, "setup": setup}, lambda: (state_space_figures.draw(answered),))
