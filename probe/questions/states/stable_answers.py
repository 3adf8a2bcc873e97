"""Is each combination of answers held by one stable fixed point, and how unstable are the points between them?"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods import fixed_points
from ...subjects.ends import runs_of
from ...subjects.subject import Subject, by_network

QUESTION = "stable_answers"
#: So many combinations of answers at most are told apart.
MOST_COMBINATIONS = 256


def measure(
    subjects: Sequence[Subject],
    *,
    silent: Float[Tensor, " number"],
    starts: int = 400,
    noise: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Find the fixed points under one input that is repeated, what is answered there, and how stable they are.

    Subjects of one network are its several answers. With noise the search starts from as many more states, since a
    network that jumps from one stable state to the next visits none that leads to a saddle.

    Metrics, one value a network: `fixed_points`, `stable_points`, `slow_points`, `starts_reached` as of
    `probe.questions.states.dynamics`; `one_stable_each`, 1 if each combination of answers has exactly one stable
    fixed point and else 0. By combination (`kind`, such as `-1,1,1`): `stable_points_answering`. By number of
    unstable directions (`at`): `points_unstable_in`, how many fixed points that are not neutral have so many. By
    point (`at` is its number, the slowest first, `kind` what is answered there): `point_q`, `point_unstable`,
    `point_modulus` (the largest) and `point_distance` to the nearest visited start.

    Args:
        subjects: what is measured; a readout's steps say nothing here, as a fixed point is at all steps.
        silent: the input that is repeated, (number,), as the lowest layer reads it.
        starts: how many visited states the search starts from.
        noise: standard deviation of Gaussian noise on each number of a second copy of the starts; 0 for none.

    Raises:
        ProbeError: a network cannot be run from its states, the input does not fit, the noise is negative, or there
            are more than 256 combinations of answers.

    Reference:
        Sussillo & Barak 2013, Opening the black box, section 3.1 (3-bit flip-flop); Golub & Sussillo 2018,
        FixedPointFinder (noise on the starts).
    """
    rows: list[dict[str, Any]] = []
    for group in by_network(subjects):
        combinations = _combinations(group)
        points, visited = find(group[0], silent=silent, starts=starts, noise=noise, seed=seed)
        values = _of_points(points, answers_at(group, points.states), combinations, visited)
        rows += [
            measurement(QUESTION, metric, group[0].network, float(value), layer=group[0].layer, kind=kind, at=at)
            for metric, value, kind, at in values
        ]
    return tabulate(rows)


def find(
    subject: Subject, *, silent: Float[Tensor, " number"], starts: int = 400, noise: float = 0.0, seed: int = 0
) -> tuple[fixed_points.Points, Float[Tensor, "start size"]]:
    """Return the points that `measure` counts, and the visited states among its starts; its arguments and errors."""
    if not noise >= 0:
        raise ProbeError(f"noise={noise} must be a standard deviation, 0 or more.")
    machine = runs_of(subject)
    visited = fixed_points.visited_states(machine.clean, starts, seed=seed)
    begin = visited
    if noise:
        draws = torch.randn(visited.shape, generator=torch.Generator().manual_seed(seed), dtype=visited.dtype)
        begin = torch.cat([visited, visited + noise * draws])
    return fixed_points.find_points(machine.dynamics, silent, begin), visited


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
    """Return what a network answers at states, one text each, such as `-1,1,1`."""
    at = torch.as_tensor(states)
    chosen = [runs_of(subject).readout.answers(at).chosen.tolist() if len(at) else [] for subject in group]
    said = [[subject.answered.said(value) for value in own] for subject, own in zip(group, chosen, strict=True)]
    return [",".join(each) for each in zip(*said, strict=True)]


def _of_points(
    points: fixed_points.Points, answers: list[str], combinations: list[str], visited: Tensor
) -> Iterator[tuple[str, float, str, float | None]]:
    """Yield each metric, its value, what is answered there, and a number."""
    stable = points.fixed & points.stable
    counts = Counter(itertools.compress(answers, stable))
    unstable = points.unstable_directions
    yield "fixed_points", points.fixed.sum(), "", None
    yield "stable_points", stable.sum(), "", None
    yield "slow_points", (~points.fixed).sum(), "", None
    yield "starts_reached", points.reached, "", None
    yield "one_stable_each", all(counts[kind] == 1 for kind in combinations), "", None
    for kind in combinations:
        yield "stable_points_answering", counts[kind], kind, None
    for number, count in enumerate(np.bincount(unstable[points.fixed & ~points.neutral], minlength=1)):
        yield "points_unstable_in", count, "", float(number)
    distance = torch.cdist(torch.as_tensor(points.states), visited).amin(1).numpy() if answers else np.zeros(0)
    modulus = np.abs(points.eigenvalues).max(axis=1, initial=0)
    for number, values in enumerate(zip(points.q, unstable, modulus, distance, strict=True)):
        for name, value in zip(("q", "unstable", "modulus", "distance"), values, strict=True):
            yield f"point_{name}", value, answers[number], float(number)
