"""What does an input do to the answer, and where are the fixed points while one input is repeated?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.findings import DataFigure
from ...evidence.measurements import FITTED_HEADS, ROLES, measurement, tabulate
from ...methods import fixed_points
from ...methods.fixed_points import Points
from ...methods.machines import Machine
from ...plots.networks import draw_dots
from ...plots.study_figures import drawing, drawn, medians_in_words, shortened, spread
from ...plots.style import new_figure
from ...recurrent.signals import as_indices, within
from ...subjects.computed.ends import ends_of, machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..telling import dynamics_words
from . import held_inputs
from .held_inputs import Held, Start

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

QUESTION = "dynamics"
#: A mode with at least this modulus keeps most of itself from step to step.
SLOW_MODE = 0.9
#: What is counted -> its label in a picture.
COUNTS = {
    "fixed_points": "fixed points",
    "stable_points": "stable ones\namong them",
    "slow_points": "slow points",
    "slow_modes": f"modes of\nmodulus ≥ {SLOW_MODE:g}",
}
#: A fitted head reads the states of another network of the study.
ASKED = tuple(role for role in ROLES if role not in (*FITTED_HEADS, "null"))


def question(subject: Subject) -> Question:
    """Return the question where the fixed points are under each input that a study holds fixed."""
    _ = subject
    title, wanted = "Where are its fixed points?", (held_inputs.first_layer,)
    return Question("fixed-points", title, measure, wanted, ASKED, draw=draw_points, tell=tell, version=3)


def measure(
    subjects: Sequence[Subject],
    *,
    silent: Float[Tensor, " number"] | None = None,
    driving: Float[Tensor, "symbol number"] | None = None,
    steps: Iterable[int] | None = None,
    starts: int = held_inputs.STARTS,
) -> pd.DataFrame:
    """Measure the fixed and slow points while an input is held fixed, and how far one input moves the answer.

    The layer that reads the inputs is run from states that the inputs lead to, which the subject's seed draws. Where
    a search would take more than a budget of operations, these states are followed instead.

    Metrics of each input that is held fixed (`kind` names it; empty for the silent one): `fixed_points`,
    `stable_points` (fixed ones that forget a small push; see `Points.stable`), `slow_points`; `starts_reached`, the
    share of starts that end at one of them; `slow_modes`, the median over the starts of how many eigenvalues of
    dF/ds have a modulus of at least 0.9. By point (`at` is its number, the slowest first): `point_q`, `point_modulus`
    (the largest), `point_distance` to the nearest start and, where the readout reads this layer alone, `point_answer`
    (the expected answer y read there). Of named inputs also `neutral_points` (fixed ones that keep a small push),
    `largest_modulus` and `points_left_out`, those at which no state can be. Without a search: `still_share`, the
    share of states that came to rest after so many steps (`at`), and `still_points`.

    With a silent input also `silent_speed`, `driven_speed`, `silent_state_speed` and `driven_state_speed`. The speed
    of the answer at a step is the mean |change of y| when one more input is read, over the distinct prefixes that end
    before it; that of the state is the mean of |F(s) - s| / |s|. Both are means over `steps`, each of the same
    weight, and over the driving inputs. By input (`kind`) and step: `speed`, `change` (the same with its sign),
    `state_speed`.

    Args:
        subjects: what is measured.
        silent: an input that should change nothing, (number,), as the layer reads it. Its points are searched
            without bounds, and no other input is held fixed.
        driving: the other inputs, (symbol, number).
        steps: at which steps the input is read, from 1; None for all but the first.
        starts: how many visited states the search for points starts from, at most.

    Raises:
        ProbeError: a step does not exist or is the first one, an input does not fit, silent is given without driving
            inputs, the layer cannot be run from its states, or a model with a silent input is no `Machine`.

    Reference:
        Sussillo & Barak 2013, Opening the black box; Maheswaranathan et al. 2019, Reverse engineering (lines of
        rest).
    """
    if (silent is None) != (driving is None):
        raise ProbeError("Give silent and driving inputs together, or none of them.")
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        speeds: list[_Found] = []
        if silent is not None and driving is not None:
            machine, inputs = machine_of(subject), torch.cat([silent.unsqueeze(0), driving]).double()
            speeds = _speeds(machine, inputs, _chosen(machine, steps))
        where: dict[str, Any] = {"question": QUESTION, "network": subject.network, "layer": subject.layer}
        rows += [
            measurement(metric=metric, value=value, kind=kind, at=point, step=step, n=count, **where)
            for metric, value, kind, point, step, count in (*speeds, *_of_inputs(subject, silent, starts))
        ]
    return tabulate(rows)


#: (metric, value, input, point, step, of how many starts)
_Found = tuple[str, float, str, float | None, int | None, int | None]


def _chosen(machine: Machine, steps: Iterable[int] | None) -> Sequence[int]:
    length = machine.clean.inputs.shape[1]
    wanted = as_indices("steps", range(1, length) if steps is None else steps) or ()
    chosen = within("steps", wanted, length, "the input's time axis")
    if min(chosen) < 1:
        raise ProbeError(f"steps={chosen}: none of them may be the first, 0, before which nothing was read.")
    return chosen


@torch.no_grad()
def _speeds(machine: Machine, inputs: Tensor, steps: Sequence[int]) -> list[_Found]:
    found: list[_Found] = []
    means = np.zeros((len(inputs), 2, len(steps)))
    for place, step in enumerate(steps):
        before = machine.clean.states[machine.clean.prefixes[step - 1].rows, step - 1]
        was = machine.answers(before).expected
        for number, one in enumerate(inputs):
            after = fixed_points.step(machine.dynamics, before, one)
            change = machine.answers(after).expected - was
            length = before.norm(dim=1)
            moved = ((after - before).norm(dim=1) / length)[length > 0]
            means[number, :, place] = float(change.abs().mean()), float(moved.mean()) if len(moved) else 0.0
            name = ",".join(f"{value:g}" for value in one.tolist())
            found.append(("speed", means[number, 0, place], name, None, step, None))
            found.append(("change", float(change.mean()), name, None, step, None))
            found.append(("state_speed", means[number, 1, place], name, None, step, None))
    for name, chosen in (("silent", means[:1]), ("driven", means[1:])):
        speed, moved = chosen.mean(axis=(0, 2))
        found += [(f"{name}_speed", float(speed), "", None, None, None)]
        found.append((f"{name}_state_speed", float(moved), "", None, None, None))
    return found


def _of_inputs(subject: Subject, silent: Tensor | None, starts: int) -> Iterator[_Found]:
    held = held_inputs.inputs_of(subject)[0] if silent is None else [Held("", silent.double())]
    usual = silent is None and starts == held_inputs.STARTS
    start = held_inputs.usual_start(subject) if usual else held_inputs.start_of(subject, starts, len(held))
    for one in held:
        yield from _of_input(subject, start, one, silent is None, usual=usual)


def _of_input(subject: Subject, start: Start, held: Held, bounded: bool, *, usual: bool) -> Iterator[_Found]:
    """Yield what is measured while one input is held fixed, within the bounds of the state or without bounds."""
    count = len(start.states)
    if not start.searches:
        share, places = held_inputs.followed(start, held.value)
        yield "still_share", share, held.name, float(held_inputs.FOLLOWED), None, count
        yield "still_points", float(places), held.name, None, None, count
        return
    if usual:
        points, left_out = held_inputs.usual_points(subject)[held.name]
    else:
        points, left_out = held_inputs.searched(start, held.value, start.bound if bounded else None)
    around = fixed_points.eigenvalues(fixed_points.jacobians(start.dynamics, start.states, held.value))
    modulus = np.abs(points.eigenvalues).max(axis=1, initial=0)
    values = {
        "fixed_points": points.fixed.sum(),
        "stable_points": (points.fixed & points.stable).sum(),
        "slow_points": (~points.fixed).sum(),
        "starts_reached": points.reached,
        "slow_modes": np.median((np.abs(around) >= SLOW_MODE).sum(1)),
    }
    if bounded:
        values |= {"points_left_out": left_out, "neutral_points": (points.fixed & points.neutral).sum()}
        values |= {"largest_modulus": modulus.max()} if len(points) else {}
    for metric, value in values.items():
        yield metric, float(value), held.name, None, None, count
    for metric, column in _at_points(subject, start, points, modulus).items():
        for number, value in enumerate(column.tolist()):
            yield metric, value, held.name, float(number), None, None


def _at_points(subject: Subject, start: Start, points: Points, modulus: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is measured at each point, (point,) each."""
    if not len(points):
        return {}
    states = torch.as_tensor(points.states)
    distance = torch.cdist(states, start.states).amin(1).numpy()
    found = {"point_q": points.q, "point_modulus": modulus, "point_distance": distance}
    if needs.machine(subject) is None and [one.name for one in ends_of(subject).stack] == [start.layer.name]:
        found["point_answer"] = machine_of(subject).answers(states).expected.numpy()
    return found


def draw_points(frame: pd.DataFrame) -> Figure:
    """Draw how many fixed points each network has under each input, and how many eigenvalues remember.

    Args:
        frame: what `measure` returned, where there was a search.
    """
    counts = frame[frame["metric"].isin(list(COUNTS))]
    kinds = list(dict.fromkeys(counts["kind"])) or [""]
    shown = [kinds[place] for place in spread(len(kinds), held_inputs.MOST_INPUTS)]
    figure, axes = new_figure(1, len(shown), height=3.4 if len(shown) == 1 else 2.2, sharex=True)
    for ax, kind in zip(axes[:, 0], shown, strict=True):
        _ = draw_dots(counts[counts["kind"] == kind], COUNTS, ax=ax)
        ax.set_ylabel("number" if not kind else f"number under\n{shortened(kind, 24)}")
        if ax is not axes[0, 0]:
            ax.get_legend().remove()
    return figure


def tell(answered: Answered) -> Told:
    """Return where a network's fixed points are, beside its controls; a picture where there was a search."""
    notes, table = dynamics_words.notes(answered), answered.table
    counts = table[table["metric"].isin(list(COUNTS))]
    if counts.empty:
        return Told(notes)
    return Told(notes, partial(_figures, answered.name, counts))


def _figures(name: str, counts: pd.DataFrame) -> tuple[DataFigure]:
    with drawing():
        figure = drawn(
            draw_points(counts),
            name=name,
            title="How many points the search finds",
            alt=medians_in_words(counts),
            caption="One mark a network. A mode with a modulus of 1 keeps all of itself from step to step. The "
            "number of slow modes is the median over the starts.",
            data=counts[["role", "network", "kind", "metric", "value"]],
        )
    return (figure,)
