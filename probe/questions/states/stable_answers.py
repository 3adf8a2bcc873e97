"""Is each combination of answers held by one stable fixed point, and how unstable are the points between them?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods import fixed_points
from ...plots.networks import draw_dots
from ...subjects.computed.ends import runs_of
from ...subjects.computed.stacks import cost, layer_inputs, stack_of
from ...subjects.computed.whole_runs import affordable_runs, part_of, said_of
from ...subjects.subject import Subject, by_network
from ...subjects.symbols import fixed_of
from .. import needs
from ..question import Question
from ..rules import ANSWERING
from ..telling import step_words
from .held_inputs import BUDGET, FEWEST, ROUNDS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "stable_answers"
#: So many combinations of answers at most are told apart.
MOST_COMBINATIONS = 256
#: From so many visited states a study's search begins at most.
STARTS = 400


def question(subject: Subject) -> Question:
    """Return the question, asked where a study chooses it and the readout answers after more than the last step.

    No rule judges it: which answers should rest in a stable state depends on the task.

    Args:
        subject: one of the networks.
    """
    wanted = (needs.runs, needs.exact, needs.few_values, _silence, _search)
    askable = all(need(subject) is None for need in wanted)
    return Question(
        "stable-answers",
        "Is each answer held by one stable fixed point?",
        measure,
        wanted,
        ANSWERING,
        draw=draw,
        settings=_settings(subject) if askable else {},
        version=3,
        usual=False,
        tell=partial(step_words.stable_answers, draw=draw, setup=_setup),
    )


def _settings(subject: Subject) -> dict[str, Any]:
    silent = torch.as_tensor(_silent(subject)).double()
    return {"silent": silent, "starts": _starts(subject), "sequences": affordable_runs(subject)}


def _setup(subject: Subject) -> str:
    """Return how a network of a study was measured."""
    found = _settings(subject)
    numbers = ", ".join(f"{number:g}" for number in found["silent"].tolist())
    return (
        f"We held the input ({numbers}) fixed, and searched from {found['starts']} states at most that occur in "
        f"{said_of(subject, found['sequences'])}. A point is stable if it forgets a small push."
    )


def _silent(subject: Subject) -> np.ndarray:
    """Return the input that a study repeats, (feature,): the first that it names, or zero."""
    if subject.fixed_inputs is None:
        return np.zeros(subject.x.shape[2])
    return np.asarray(fixed_of(subject.fixed_inputs, subject.x.shape[2]))[0]


def _silence(subject: Subject) -> str | None:
    """An input that can be repeated: one that the study names, or zero, and the layers read it as it is."""
    if subject.fixed_inputs is None and not (subject.x.numpy()[subject.data] == 0).all(1).any():
        return "no input is zero, and the study names none to hold fixed (fixed_inputs)"
    if subject.read is None:
        return needs.readout(subject)
    few = np.arange(min(8, len(subject.x)))
    read, there, given = layer_inputs(subject, few, stack_of(subject.read)[0]), subject.data[few], subject.x[few]
    same = read.shape[2] == given.shape[2]
    if same and np.array_equal(read[there[:, : read.shape[1]]], given.double().numpy()[there]):
        return None
    return "its recurrent layers do not read the inputs as they are, and what they read of one cannot be held fixed"


def _search(subject: Subject) -> str | None:
    """Layers so small that their fixed points can be searched."""
    if _starts(subject) >= FEWEST:
        return None
    return "its layers are so large that a search for fixed points takes too long"


def _starts(subject: Subject) -> int:
    """Return from how many states the budget allows a search."""
    if subject.read is None:
        return 0
    stack = stack_of(subject.read)
    size = sum(layer.units * len(layer.states) for layer in stack)
    return int(min(STARTS, BUDGET / ((3.0 * cost(stack) * size + size**3) * ROUNDS)))


def measure(
    subjects: Sequence[Subject],
    *,
    silent: Float[Tensor, " number"],
    starts: int = 400,
    noise: float = 0.0,
    seed: int = 0,
    sequences: int | None = None,
) -> pd.DataFrame:
    """Find the fixed points under one input that is repeated, what is answered there, and how stable they are.

    Subjects of one network are its several answers. The search starts from visited states and, with noise, from as
    many states that noise moved: a network jumps from one stable state to the next, so visited states may lead to no
    saddle. With noise, points may be found that lie far from all visited states.

    Metrics, one value a network: `fixed_points`, `stable_points`, `slow_points`, `starts_reached` as of
    `probe.questions.states.dynamics`; `one_stable_each`, 1 if each combination of answers has exactly one stable
    fixed point and else 0. By combination (`kind`, such as `-1,1,1`): `stable_points_answering`, how many stable
    fixed points answer it. By number of unstable directions (`at`): `points_unstable_in`, how many fixed points that
    are not neutral have so many; 0 is stable, others are saddles or repellers. By point (`at` is its
    number, the slowest first, `kind` what is answered there): `point_q`, `point_unstable`, `point_modulus` (the
    largest) and `point_distance` to the nearest visited start.

    Args:
        subjects: what is measured; a readout's steps say nothing here, as a fixed point is at all steps.
        silent: the input that is repeated, (number,), as the lowest layer reads it.
        starts: how many visited states the search starts from.
        noise: standard deviation of Gaussian noise on each number of a second copy of the starts; 0 for none.
        seed: of their drawing.
        sequences: how many of the subjects' sequences are run at most, drawn by their seed; None for all.

    Raises:
        ProbeError: a network cannot be run from its states, the input does not fit, the noise is negative, or there
            are more than 256 combinations of answers.

    Reference:
        Sussillo & Barak 2013, Opening the black box, section 3.1 (3-bit flip-flop); Golub & Sussillo 2018,
        FixedPointFinder (noise on the starts).
    """
    rows: list[dict[str, Any]] = []
    for group in by_network(subjects):
        network, layer = group[0].network, group[0].layer
        combinations = _combinations(group)
        part = part_of(group[0], sequences)
        points, visited = find(part, silent=silent, starts=starts, noise=noise, seed=seed)
        answered = answers_at(group, points.states)
        rows += [
            measurement(QUESTION, metric, network, value, layer=layer, kind=kind, at=at)
            for metric, value, kind, at in [
                *_counted(points, answered, combinations),
                *_each(points, answered, visited),
            ]
        ]
    return tabulate(rows)


def find(
    subject: Subject, *, silent: Float[Tensor, " number"], starts: int = 400, noise: float = 0.0, seed: int = 0
) -> tuple[fixed_points.Points, Float[Tensor, "start size"]]:
    """Return the points that `measure` counts for a network, and the visited states among its starts.

    Args:
        subject: one of the network's answers.
        silent: the input that is repeated, (number,).
        starts: how many visited states the search starts from.
        noise: standard deviation of Gaussian noise on each number of a second copy of the starts; 0 for none.
        seed: of their drawing.

    Raises:
        ProbeError: the network cannot be run from its states, the input does not fit, or the noise is negative.
    """
    if not noise >= 0:
        raise ProbeError(f"noise={noise} must be a standard deviation, 0 or more.")
    machine = runs_of(subject)
    visited = fixed_points.visited_states(machine.clean, starts, seed=seed)
    begin = visited
    if noise:
        draws = torch.randn(visited.shape, generator=torch.Generator().manual_seed(seed), dtype=visited.dtype)
        begin = torch.cat([visited, visited + noise * draws])
    return fixed_points.find_points(machine.dynamics, silent, begin), visited


#: (metric, value, what is answered, number)
_Found = tuple[str, float, str, float | None]


def _combinations(group: Sequence[Subject]) -> list[str]:
    levels = [[subject.answered.said(level) for level in subject.answered.levels] for subject in group]
    count = int(np.prod([len(each) for each in levels]))
    if count > MOST_COMBINATIONS:
        raise ProbeError(
            f"The network {group[0].network.name!r} has {count} combinations of answers; at most {MOST_COMBINATIONS} "
            "are told apart. Give subjects of fewer concepts, or concepts of fewer values."
        )
    return [",".join(each) for each in itertools.product(*levels)]


def answers_at(group: Sequence[Subject], states: Float[np.ndarray, "state size"]) -> list[str]:
    """Return what a network answers at states, one text each, such as `-1,1,1`.

    Args:
        group: its several answers.
        states: where.
    """
    at = torch.as_tensor(states)
    chosen = [runs_of(subject).readout.answers(at).chosen.tolist() if len(at) else [] for subject in group]
    said = [[subject.answered.said(value) for value in own] for subject, own in zip(group, chosen, strict=True)]
    return [",".join(each) for each in zip(*said, strict=True)]


def _counted(points: fixed_points.Points, answered: list[str], combinations: list[str]) -> list[_Found]:
    stable = points.fixed & points.stable
    held = [answer for answer, one in zip(answered, stable, strict=True) if one]
    each = [held.count(answer) for answer in combinations]
    unstable = np.bincount(points.unstable_directions[points.fixed & ~points.neutral], minlength=1)
    return [
        ("fixed_points", float(points.fixed.sum()), "", None),
        ("stable_points", float(stable.sum()), "", None),
        ("slow_points", float((~points.fixed).sum()), "", None),
        ("starts_reached", points.reached, "", None),
        ("one_stable_each", float(each == [1] * len(each)), "", None),
        *(
            ("stable_points_answering", float(count), kind, None)
            for kind, count in zip(combinations, each, strict=True)
        ),
        *(("points_unstable_in", float(count), "", float(number)) for number, count in enumerate(unstable)),
    ]


def _each(points: fixed_points.Points, answered: list[str], visited: Tensor) -> list[_Found]:
    if not len(points):
        return []
    distance = torch.cdist(torch.as_tensor(points.states), visited).amin(1).numpy()
    modulus = np.abs(points.eigenvalues).max(axis=1, initial=0)
    values = zip(points.q, points.unstable_directions, modulus, distance, strict=True)
    names = ("point_q", "point_unstable", "point_modulus", "point_distance")
    return [
        (name, float(value), kind, float(number))
        for number, (kind, own) in enumerate(zip(answered, values, strict=True))
        for name, value in zip(names, own, strict=True)
    ]


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many fixed points each network has, and how many of them are stable, a dot a network.

    Args:
        frame: what `measure` returned.
        ax: where to draw, or None for new axes.
    """
    metrics = {"fixed_points": "fixed points", "stable_points": "stable ones\namong them"}
    ax = draw_dots(frame, metrics, ax=ax)
    ax.set_ylabel("number")
    return ax
