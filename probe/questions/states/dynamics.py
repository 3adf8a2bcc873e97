"""What does an input do to the answer, and where are the fixed points when the same input is repeated?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods import fixed_points
from ...methods.machines import Machine
from ...plots.networks import draw_dots
from ...recurrent.signals import as_indices, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "dynamics"
#: A mode with at least this modulus keeps most of itself from step to step.
SLOW_MODE = 0.9


def measure(
    networks: Sequence[Network],
    x: Float[Tensor, "batch time input"],
    *,
    silent: Float[Tensor, " number"],
    driving: Float[Tensor, "symbol number"],
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    layer: str | None = None,
    steps: Iterable[int] | None = None,
    starts: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how far one input moves the answer, and the fixed and slow points under the silent one.

    The speed of the answer at a step is the mean absolute change of the expected answer y when one more input is
    read, over the distinct prefixes that end before it; that of the state is the mean of |F(s) - s| / |s|. Both are
    means over `steps`, each of the same weight, and over the driving inputs.

    Metrics, one value a network: `silent_speed`, `driven_speed`, `silent_state_speed`, `driven_state_speed`;
    `fixed_points`, `stable_points` (fixed ones whose eigenvalues all have a modulus below 1) and `slow_points` under
    the silent input; `starts_reached`, the share of starts that end at one of them; `slow_modes`, the median over
    the starts of how many eigenvalues of dF/ds have a modulus of at least 0.9.
    By input (`units`) and step: `speed`, `change` (the same with its sign), `state_speed`. By point (`units` holds
    its number, the slowest first): `point_q`, `point_modulus` (the largest), `point_answer` (y read there) and
    `point_distance` to the nearest start.

    Args:
        networks: what is measured.
        x: sequences whose states are visited, of one length.
        silent: an input that should change nothing, (number,), as the layer reads it.
        driving: the other inputs, (symbol, number).
        answer: from a model's output to answers, (batch).
        expected: from a model's output to expected answers, (batch).
        layer: the layer's name, or None for the only one.
        steps: at which steps the input is read, from 1; None for all but the first.
        starts: how many visited states the search for points starts from.
        seed: of their drawing.

    Raises:
        ProbeError: a step does not exist or is the first one, an input does not fit, or a model is no `Machine`.

    Reference:
        Sussillo & Barak 2013, Opening the black box; Maheswaranathan et al. 2019, Reverse engineering (lines of
        rest).
    """
    wanted = as_indices("steps", range(1, x.shape[1]) if steps is None else steps) or ()
    chosen = within("steps", wanted, x.shape[1], "the input's time axis")
    if min(chosen) < 1:
        raise ProbeError(f"steps={chosen}: none of them may be the first, 0, before which nothing was read.")
    inputs = torch.cat([silent.unsqueeze(0), driving]).double()
    rows: list[dict[str, Any]] = []
    for network in as_networks(networks):
        machine = Machine.of(network.model, x, answer=answer, expected=expected, layer=layer)
        found = [*_speeds(machine, inputs, chosen), *_points(machine, inputs[0], starts, seed)]
        rows += [
            measurement(QUESTION, metric, network, value, layer=layer or "", units=units, step=step)
            for metric, value, units, step in found
        ]
    return tabulate(rows)


#: (metric, value, units, step)
_Found = tuple[str, float, str, int | None]


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
            found.append(("speed", means[number, 0, place], name, step))
            found.append(("change", float(change.mean()), name, step))
            found.append(("state_speed", means[number, 1, place], name, step))
    for name, chosen in (("silent", means[:1]), ("driven", means[1:])):
        speed, moved = chosen.mean(axis=(0, 2))
        found += [(f"{name}_speed", float(speed), "", None), (f"{name}_state_speed", float(moved), "", None)]
    return found


def _points(machine: Machine, silent: Tensor, starts: int, seed: int) -> list[_Found]:
    visited = fixed_points.visited_states(machine.clean, starts, seed=seed)
    points = fixed_points.find_points(machine.dynamics, silent, visited)
    around = np.abs(fixed_points.eigenvalues(fixed_points.jacobians(machine.dynamics, visited, silent)))
    found: list[_Found] = [
        ("fixed_points", float(points.fixed.sum()), "", None),
        ("stable_points", float((points.fixed & points.stable).sum()), "", None),
        ("slow_points", float((~points.fixed).sum()), "", None),
        ("starts_reached", points.reached, "", None),
        ("slow_modes", float(np.median((around >= SLOW_MODE).sum(1))), "", None),
    ]
    states = torch.as_tensor(points.states)
    shown = machine.answers(states).expected if len(points) else torch.zeros(0)
    distance = torch.cdist(states, visited).amin(1) if len(points) else torch.zeros(0)
    modulus = np.abs(points.eigenvalues).max(axis=1, initial=0)
    for number in range(len(points)):
        values = points.q[number], modulus[number], float(shown[number]), float(distance[number])
        names = ("point_q", "point_modulus", "point_answer", "point_distance")
        found += [(metric, float(value), str(number), None) for metric, value in zip(names, values, strict=True)]
    return found


def draw(
    frame: pd.DataFrame,
    *,
    silent: str = "the silent input",
    driving: str = "another input",
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how far one more input moves the answer, every network a dot.

    Args:
        frame: what `measure` returned.
        silent: what the silent input is called.
        driving: what the others are.
        threshold: a bound to draw across both columns, or None.
        ax: where to draw, or None for new axes.
    """
    metrics = {"silent_speed": f"when {silent} is read", "driven_speed": f"when {driving} is read"}
    bounds = None if threshold is None else dict.fromkeys(metrics, threshold)
    ax = draw_dots(frame, metrics, thresholds=bounds, ax=ax)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("mean |change of the answer|")
    return ax


def draw_points(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many fixed points each network has under the silent input, and how many eigenvalues remember.

    Args:
        frame: what `measure` returned.
        ax: where to draw, or None for new axes.
    """
    metrics = {
        "fixed_points": "fixed points",
        "stable_points": "stable ones\namong them",
        "slow_points": "slow points",
        "slow_modes": f"modes of\nmodulus ≥ {SLOW_MODE:g}",
    }
    ax = draw_dots(frame, metrics, ax=ax)
    ax.set_ylabel("number")
    return ax
