"""What does an input do to the answer, and where are the fixed points while one input is repeated?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError, several
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, one, only, tabulate
from ...methods import fixed_points
from ...methods.machines import Machine
from ...plots.networks import draw_dots
from ...plots.study_figures import shortened
from ...subjects.ends import ends_of, machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..answers.bit_effects import later_steps
from ..question import Answered, Question, Told
from ..told import figure_of, of_network
from . import held_inputs
from .stable_answers import by_point, counts

QUESTION = "dynamics"
#: What the picture shows.
CAPTION = "A mark for each network and input."
#: A mode with at least this modulus keeps most of itself from step to step.
SLOW_MODE = 0.9
#: What is counted -> its label in a picture.
COUNTS = {
    "fixed_points": "fixed points",
    "stable_points": "stable ones\namong them",
    "slow_points": "slow points",
    "slow_modes": f"modes of\nmodulus ≥ {SLOW_MODE:g}",
}
#: Draws how many points each network has, a mark for each input.
draw = partial(draw_dots, metrics=COUNTS)
_Row = partial[dict[str, Any]]
#: A fitted head reads the states of another network of the study.
ASKED = tuple(role for role in ROLES if role not in (*FITTED_HEADS, "null"))


def question(subject: Subject) -> Question:
    """Return the question where the fixed points are under each input that a study holds fixed."""
    title, wanted = "Where are its fixed points?", (held_inputs.first_layer,)
    return Question("fixed-points", title, measure, wanted, ASKED, draw=draw, tell=tell, version=6, caption=CAPTION)


@torch.no_grad()
def measure(
    subjects: Sequence[Subject],
    *,
    silent: Float[Tensor, " number"] | None = None,
    driving: Float[Tensor, "symbol number"] | None = None,
    steps: Iterable[int] | None = None,
) -> pd.DataFrame:
    """Measure the fixed and slow points while an input is held fixed, and how far one input moves the answer.

    The layer that reads the inputs is run from states that the inputs lead to, which the subject's seed draws.

    Metrics of each input that is held fixed (`kind` names it; empty for the silent one): `fixed_points`,
    `stable_points` (fixed ones that forget a small push; see `Points.stable`), `slow_points`; `starts_reached`, the
    share of starts that end at one of them; `index_sum` and `incomplete`, 1 where it shows that some are missing (see
    `Points`); `slow_modes`, the median over the starts of how many eigenvalues of dF/ds have a modulus of at least
    0.9. By point (`at` is its number, the slowest first): `point_q`, `point_modulus`
    (the largest), `point_distance` to the nearest start and, where the readout reads this layer alone, `point_answer`
    (the expected answer y read there). Of named inputs also `neutral_points` (fixed ones that keep a small push); of
    these, points at which no state can be are left out.

    With a silent input also `silent_speed`, `driven_speed`, `silent_state_speed` and `driven_state_speed`. The speed
    of the answer at a step is the mean |change of y| when one more input is read, over the distinct prefixes that end
    before it; that of the state is the mean of |F(s) - s| / |s|. Both are means over `steps`, each of the same
    weight, and over the driving inputs. By input (`kind`) and step: `speed`, `change` (the same with its sign),
    `state_speed`.

    Args:
        silent: an input that should change nothing, (number,), as the layer reads it. Its points are searched
            without bounds but those of the equations, and no other input is held fixed.
        driving: the other inputs, (symbol, number).
        steps: at which steps the input is read, from 1; None for all but the first.

    Raises:
        ProbeError: a step does not exist or is the first one, an input does not fit, silent is given without driving
            inputs, the layer cannot be searched, or a model with a silent input is no `Machine`.

    Reference:
        Sussillo & Barak 2013, Opening the black box; Maheswaranathan et al. 2019, Reverse engineering (lines of
        rest).
    """
    if (silent is None) != (driving is None):
        raise ProbeError("Give silent and driving inputs together, or none of them.")
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        row = partial(measurement, QUESTION, network=subject.network, layer=subject.layer)
        if silent is not None and driving is not None:
            machine, inputs = machine_of(subject), torch.cat([silent.unsqueeze(0), driving]).double()
            length = machine.clean.inputs.shape[1]
            rows += _speeds(row, machine, inputs, later_steps(steps, range(1, length), length))
        rows += _at_rest(row, subject, silent)
    return tabulate(rows)


def _speeds(row: _Row, machine: Machine, inputs: Tensor, steps: Sequence[int]) -> Iterator[dict[str, Any]]:
    means: dict[str, list[tuple[float, float]]] = {"silent": [], "driven": []}
    for step in steps:
        before = machine.clean.states[machine.clean.prefixes[step - 1].rows, step - 1]
        was = machine.answers(before).expected
        for number, fixed_input in enumerate(inputs):
            after = fixed_points.step(machine.dynamics, before, fixed_input)
            change = machine.answers(after).expected - was
            length = before.norm(dim=1)
            moved = ((after - before).norm(dim=1) / length)[length > 0]
            speed, of_state = float(change.abs().mean()), float(moved.mean()) if len(moved) else 0.0
            means["driven" if number else "silent"].append((speed, of_state))
            values = {"speed": speed, "change": float(change.mean()), "state_speed": of_state}
            name = ",".join(f"{value:g}" for value in fixed_input.tolist())
            yield from (row(metric, value=value, kind=name, step=step) for metric, value in values.items())
    for name, each in means.items():
        speed, of_state = np.mean(each, axis=0).tolist()
        yield row(f"{name}_speed", value=speed)
        yield row(f"{name}_state_speed", value=of_state)


def _at_rest(row: _Row, subject: Subject, silent: Tensor | None) -> Iterator[dict[str, Any]]:
    """Yield what is measured while each input is held fixed, within bounds, or one without them."""
    start = held_inputs.start_of(subject)
    bound = start.bound if silent is None else None
    alone = needs.machine(subject) is None and [layer.name for layer in ends_of(subject).stack] == [start.layer.name]
    for name, held in (held_inputs.inputs_of(subject)[0] if silent is None else {"": silent.double()}).items():
        points = fixed_points.find_points(start.dynamics, held, start.states, bound=bound, between=len(start.states))
        around = fixed_points.eigenvalues(fixed_points.jacobians(start.dynamics, start.states, held))
        values = {**counts(points), "slow_modes": float(np.median((np.abs(around) >= SLOW_MODE).sum(1)))}
        if silent is None:
            values["neutral_points"] = float((points.fixed & points.neutral).sum())
        yield from (row(metric, value=value, kind=name, n=len(start.states)) for metric, value in values.items())
        columns = by_point(points, start.states)
        if alone and len(points):
            columns["point_answer"] = machine_of(subject).answers(torch.as_tensor(points.states)).expected.numpy()
        for metric, column in columns.items():
            yield from (row(metric, value=value, kind=name, at=at) for at, value in enumerate(column.tolist()))


def tell(answered: Answered) -> Told:
    """Return how many fixed points a network and its controls have under the input under which it has most."""
    subject, counts = answered.subject, of_network(answered, "fixed_points").set_index("kind")["value"]
    slow = of_network(answered, "slow_points").set_index("kind")["value"]
    kind = max(counts.index, key=lambda name: (counts[name], slow[name]))
    own = only(answered.table, kind=kind)
    mine, controls = only(own, network=subject.network.name), own[own["network"] != subject.network.name]
    beside = only(controls, metric="fixed_points").nlargest(1, "value")
    most = [
        f"; {role} (one network): {_counted(only(own, network=name))}"
        for role, name in beside[["role", "network"]].to_numpy()
    ]
    first = f"Under {shortened(kind, 40)} the search finds {_counted(mine)}{''.join(most)}."
    others = counts.drop(kind)
    fewer = f" Under {several(len(others), 'other input')} at most {others.max():.0f}." if len(others) else ""
    reached = f" {one(mine, metric='starts_reached'):.0%} of the starts led to a fixed or slow point."
    start = held_inputs.start_of(subject)
    setup = (
        f"We held fixed {held_inputs.inputs_of(subject)[1]}. The search began at {len(start.states)} states of "
        f"{start.layer.name} that the inputs lead to, went on between the points that it found, and minimised "
        "q = |F(s) \N{MINUS SIGN} s|²/2 (fixed below 1e-24, slow below 1e-6; Sussillo and Barak 2013). It may miss "
        "points, and leaves out those beyond what a state can be. A stable point forgets a small push, a neutral one "
        "keeps it. Slow points of modulus 1 keep it too: they are taken from a line on which a state hardly moves."
    )
    title = "How many points the search finds"
    figure = figure_of(answered, draw, "fixed_points", title=title, alt=first, caption=CAPTION)
    return Told({"answer": f"{first}{fewer}{reached}", "setup": setup}, figure)


def _counted(rows: pd.DataFrame) -> str:
    """Return how many fixed points a network has under one input, and of which kind they are."""
    fixed, stable, neutral = (round(one(rows, metric=f"{kind}_points")) for kind in ("fixed", "stable", "neutral"))
    kinds = {"stable": stable, "neutral": neutral, "unstable": fixed - stable - neutral}
    each = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    missing = ", and misses some" if one(rows, metric="incomplete") else ""
    found = f"{several(fixed, 'fixed point')} ({each}){missing}" if fixed else "no fixed point"
    line = _on_a_line(rows)
    return f"{found}{' and' if fixed else ', but'} a line of slow points ({line} of modulus 1)" if line > 1 else found


def _on_a_line(rows: pd.DataFrame) -> int:
    """Return how many slow points keep a small push as it is: they stand for a line on which a state hardly moves."""
    q, modulus = (only(rows, metric=f"point_{name}").sort_values("at")["value"] for name in ("q", "modulus"))
    slow = q.to_numpy() >= fixed_points.FIXED
    return int((slow & (np.abs(modulus.to_numpy() - 1) <= fixed_points.NEAR)).sum())
