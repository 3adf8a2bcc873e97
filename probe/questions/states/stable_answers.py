"""Is each combination of answers held by one stable fixed point, and how unstable are the points between them?"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ...evidence.measurements import measurement, tabulate
from ...methods import fixed_points
from ...methods.fixed_points import Points
from ...subjects.ends import runs_of
from ...subjects.subject import Subject, by_network

QUESTION = "stable_answers"


def measure(
    subjects: Sequence[Subject],
    *,
    silent: Float[Tensor, " number"],
    starts: int = 400,
    noise: float = 0.0,
) -> pd.DataFrame:
    """Find the fixed points under one input that is repeated, what is answered there, and how stable they are.

    Subjects of one network are its several answers. With noise the search starts from as many more states, since a
    network that jumps from one stable state to the next visits none that leads to a saddle.

    Metrics, one value a network: `fixed_points`, `stable_points`, `slow_points`, `starts_reached`, `index_sum` and
    `incomplete` as of `probe.questions.states.dynamics`; `one_stable_each`, 1 if each combination of answers has
    exactly one stable fixed point and else 0; `cube`, of answers that take two values each, 1 if so many fixed points
    are unstable in 0, 1, 2 and more directions as a cube has corners, edges, faces and so on, and else 0;
    `points_missed`, how many a search from twice as many states finds besides. By combination (`kind`, such as
    `-1,1,1`): `stable_points_answering`. By number of unstable directions (`at`): `points_unstable_in`, how many
    fixed points that are not neutral have so many. By point (`at` is its number, the slowest first, `kind` what is
    answered there): `point_q`, `point_unstable`, `point_modulus` (the largest) and `point_distance` to the nearest
    visited start.

    Args:
        subjects: what is measured; a readout's steps say nothing here, as a fixed point is at all steps.
        silent: the input that is repeated, (number,), as the lowest layer reads it.
        starts: how many visited states the search starts from.
        noise: standard deviation of Gaussian noise on each number of a second copy of the starts; 0 for none.

    Raises:
        ProbeError: a network cannot be run from its states, or the input does not fit.

    Reference:
        Sussillo & Barak 2013, Opening the black box, section 3.1 (3-bit flip-flop); Golub & Sussillo 2018,
        FixedPointFinder (noise on the starts).
    """
    rows: list[dict[str, Any]] = []
    for group in by_network(subjects):
        levels = [[subject.answered.said(level) for level in subject.answered.levels] for subject in group]
        combinations = [",".join(each) for each in itertools.product(*levels)]
        points, visited = find(group[0], silent=silent, starts=starts, noise=noise)
        row = partial(measurement, QUESTION, network=group[0].network, layer=group[0].layer)
        rows += _of_points(row, points, answers_at(group, points.states), combinations, visited)
        again, _ = find(group[0], silent=silent, starts=2 * starts, noise=noise)
        apart = np.linalg.norm(again.states[:, None] - points.states, axis=2).min(axis=1, initial=np.inf)
        rows.append(row("points_missed", value=float((apart > fixed_points.MERGED).sum())))
        if {len(each) for each in levels} == {2}:
            bits, unstable = len(levels), points.unstable_directions[points.fixed]
            cube = [math.comb(bits, free) << (bits - free) for free in range(bits + 1)]
            rows.append(row("cube", value=float(np.bincount(unstable).tolist() == cube)))
    return tabulate(rows)


def find(
    subject: Subject, *, silent: Float[Tensor, " number"], starts: int = 400, noise: float = 0.0
) -> tuple[Points, Float[Tensor, "start size"]]:
    """Return the points that `measure` counts, and the visited states among its starts; its arguments and errors."""
    machine = runs_of(subject)
    begin = visited = fixed_points.visited_states(machine.clean, starts)
    if noise:
        draws = torch.randn(visited.shape, generator=torch.Generator().manual_seed(0), dtype=visited.dtype)
        begin = torch.cat([visited, visited + noise * draws])
    return fixed_points.find_points(machine.dynamics, silent, begin), visited


def answers_at(group: Sequence[Subject], states: Float[np.ndarray, "state size"]) -> list[str]:
    """Return what a network answers at states, one text each, such as `-1,1,1`."""
    at = torch.as_tensor(states)
    chosen = [runs_of(subject).readout.answers(at).chosen.tolist() if len(at) else [] for subject in group]
    said = [[subject.answered.said(value) for value in own] for subject, own in zip(group, chosen, strict=True)]
    return [",".join(each) for each in zip(*said, strict=True)]


def counts(points: Points) -> dict[str, float]:
    """Return what is counted of points, by metric."""
    every = {"fixed": points.fixed, "stable": points.fixed & points.stable, "slow": ~points.fixed}
    found = {f"{kind}_points": float(which.sum()) for kind, which in every.items()}
    index = {} if points.index is None else {"index_sum": float(points.index)}
    return found | {"starts_reached": points.reached, "incomplete": float(points.incomplete)} | index


def by_point(points: Points, starts: Tensor) -> dict[str, np.ndarray]:
    """Return what is measured of each point, (point,) by metric."""
    distance = torch.cdist(torch.as_tensor(points.states), starts)
    nearest = distance.amin(1).numpy() if len(points) else np.zeros(0)
    return {"point_q": points.q, "point_modulus": points.modulus, "point_distance": nearest}


def _of_points(
    row: partial[dict[str, Any]], points: Points, answers: list[str], combinations: list[str], visited: Tensor
) -> Iterator[dict[str, Any]]:
    unstable, stable = points.unstable_directions, points.fixed & points.stable
    answering = Counter(itertools.compress(answers, stable))
    yield from (row(metric, value=value) for metric, value in counts(points).items())
    yield row("one_stable_each", value=float(all(answering[kind] == 1 for kind in combinations)))
    yield from (row("stable_points_answering", value=float(answering[kind]), kind=kind) for kind in combinations)
    for number, count in enumerate(np.bincount(unstable[points.fixed & ~points.neutral], minlength=1)):
        yield row("points_unstable_in", value=float(count), at=number)
    for metric, values in (by_point(points, visited) | {"point_unstable": unstable}).items():
        yield from (row(metric, value=float(one), kind=answers[at], at=at) for at, one in enumerate(values))
