"""What the layer that reads a network's inputs does while one input is held fixed: where it stands still."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ProbeError, several
from ...methods import fixed_points
from ...methods.dynamics import CellDynamics, Dynamics
from ...methods.fixed_points import Points
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer, OpenLayer
from ...recurrent.signals import Signal
from ...subjects.computed.sample import rows_within_budget
from ...subjects.computed.sampled import flops
from ...subjects.computed.stacks import TRIED, dynamics_of, layer_inputs, not_from_states
from ...subjects.computed.step_states import step_states
from ...subjects.subject import Subject, per_subject
from ...subjects.symbols import fixed_of

#: About how many operations the searches of a network may take; with fewer starts than this there is no search.
BUDGET, FEWEST = 1.5e11, 8
#: The average number of rounds of a search; without a search, for how many steps and from how many starts we run.
ROUNDS, FOLLOWED, FOLLOWED_STARTS = 25, 400, 32
#: From so many visited states a search begins.
STARTS = 100
#: With at most so many distinct inputs we hold each one fixed, otherwise their mean; so many inputs are looked at.
MOST_INPUTS, LOOKED_AT = 4, 200_000
#: The numbers of an input are written out if there are at most so many.
MOST_NUMBERS = 6
#: A state has come to rest if it moves less than this in a step.
STILL = 1e-6
#: The tolerance of a bound; a number without a bound may be so many times the largest one that was recorded.
ROUNDED, MARGIN = 1e-6, 2.0


@dataclass(frozen=True, eq=False)
class Held:
    """An input that is held fixed, (feature,), with its name."""

    name: str
    value: Tensor


@dataclass(frozen=True, eq=False)
class Start:
    """The layer that reads the inputs, with the states that a search begins at.

    Attributes:
        layer: the layer.
        dynamics: its dynamics, in float64.
        states: states that the inputs lead to, each after another prefix, (start, size).
        largest: the largest size of each number of a state on these inputs, (size,).
        affordable: from how many starts the budget allows a search; fewer than `FEWEST` are none.
    """

    layer: Layer
    dynamics: Dynamics
    states: Tensor
    largest: np.ndarray
    affordable: int

    @property
    def searches(self) -> bool:
        """Whether a search can be paid; otherwise the states are followed."""
        return self.affordable >= FEWEST

    @property
    def bound(self) -> Float[np.ndarray, " size"]:
        """The bound on the size of each number of a state.

        A hidden state that comes from tanh stays between -1 and 1 if it began there. Numbers without such a bound
        may be up to `MARGIN` times the largest recorded one.
        """
        bound = np.empty(self.dynamics.size)
        for signal in self.dynamics.signals:
            columns = self.dynamics.columns(signal)
            seen = float(self.largest[columns].max())
            bound[columns] = max(1.0, seen) if is_bounded(self.layer, signal) else MARGIN * seen
        return bound + ROUNDED


def first_layer(subject: Subject) -> str | None:
    """A layer that reads the inputs themselves, from the beginning, and can be run from its states."""
    if not subject.layers:
        return "it has no recurrent layer"
    layer = subject.layers[0]
    if isinstance(layer, OpenLayer):
        reason = not_from_states(subject, layer)
        return _reads_inputs(subject, layer) if reason is None else reason.rstrip(".")
    if not isinstance(layer.module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase)):
        kind = type(layer.module).__name__
        return f"{layer.name} is a {kind}, which is not a layer of torch, and we cannot run it from its states"
    if layer.reads_back:
        return f"{layer.name} reads from the end, and we hold an input fixed from the beginning"
    return _reads_inputs(subject, layer)


@per_subject
def _read_by_first(subject: Subject) -> np.ndarray:
    return layer_inputs(subject, np.arange(min(TRIED, len(subject.x))), subject.layers[0])


def _reads_inputs(subject: Subject, layer: Layer) -> str | None:
    """Return why a layer cannot be held at an input of the network, or None: it must read the inputs as they are."""
    if not layer.level:
        read, there = _read_by_first(subject), subject.data[:TRIED]
        there = there[:, : read.shape[1]]
        given = subject.x[: len(read), : read.shape[1]].double().numpy()
        # Numbers of half precision have three digits.
        if read.shape == given.shape and np.allclose(read[there], given[there], rtol=0.01):
            return None
    return f"{layer.name} does not read the inputs themselves, and the search holds fixed what a layer reads"


def is_bounded(layer: Layer, signal: Signal) -> bool:
    """Return whether tanh keeps the numbers of a state's signal between -1 and 1."""
    module: Any = layer.module
    tanh = getattr(module, "nonlinearity", "tanh") == "tanh" and not getattr(module, "proj_size", 0)
    return signal == Signal.HIDDEN_STATE and tanh


@per_subject
def inputs_of(subject: Subject) -> tuple[list[Held], str]:
    """Return the inputs that are held fixed, and in words which they are.

    They are those that the study names, or each that occurs, or the mean of all inputs where many different ones do.
    """
    named, features = subject.fixed_inputs, subject.x.shape[2]
    is_mean, words = False, "the inputs that the study names"
    if named is not None:
        values = fixed_of(named, features)
    else:
        words, seen = "each input that occurs", subject.x.double().numpy()[subject.data]
        values = np.unique(seen[:LOOKED_AT], axis=0)
        is_mean = len(values) > MOST_INPUTS
        if is_mean:
            values, words = seen.mean(0, keepdims=True), "the mean of all inputs, because many different ones occur"
    symbols = {tuple(value.tolist()): symbol for symbol, value in subject.symbols.items()}
    names, given = [], list(named) if isinstance(named, Mapping) else [None] * len(values)
    for place, value in enumerate(values, start=1):
        symbol = given[place - 1] or symbols.get(tuple(value.tolist()))
        which = "the mean of all inputs" if is_mean else "the input"
        if symbol is not None:
            names.append(f"the input “{symbol}”")
        elif len(value) <= MOST_NUMBERS:
            names.append(f"{which} ({', '.join(f'{number:.3g}' for number in value)})")
        else:
            which = which if is_mean else f"input {place} of {len(values)}"
            names.append(f"{which} ({several(len(value), 'feature')})")
    return [Held(name, torch.as_tensor(value)) for name, value in zip(names, values, strict=True)], words


def start_of(subject: Subject, starts: int, inputs: int) -> Start:
    """Return where searches of a network begin.

    Args:
        subject: the network under study.
        starts: from how many states a search begins, at most.
        inputs: under how many inputs we search.

    Raises:
        ProbeError: the layer that reads the inputs cannot be run from its states.
    """
    reason = first_layer(subject)
    if reason is not None:
        raise ProbeError(f"Its fixed points cannot be searched: {reason}.")
    layer = subject.layers[0]
    if isinstance(layer, OpenLayer):
        dynamics: Dynamics = dynamics_of(subject, [layer])
    else:
        (own,) = find_layers(copy.deepcopy(subject.model).double(), [layer.name])
        dynamics = CellDynamics(f"layer {layer.name!r}", own.cell)
    rows = rows_within_budget(subject, dynamics.size)
    nothing = torch.zeros(subject.x.shape[:2])
    steps = step_states(subject, layer.whole_state, layer=layer.name, values=nothing, rows=rows)
    every = np.concatenate([np.hstack([item.states[signal] for signal in dynamics.signals]) for item in steps])
    # A Jacobian takes a forward and a backward pass for each number of a state; then a linear system is solved.
    cost = (3.0 * flops(layer) * dynamics.size + dynamics.size**3) * ROUNDS * inputs
    affordable = int(BUDGET / cost)
    most, chosen = min(starts, affordable) if affordable >= FEWEST else FOLLOWED_STARTS, every
    if len(every) > most:
        chosen = every[np.sort(np.random.default_rng(subject.seed).choice(len(every), most, replace=False))]
    return Start(layer, dynamics, torch.as_tensor(chosen), np.abs(every).max(0), affordable)


def searched(start: Start, held: Tensor, bound: np.ndarray | None) -> tuple[Points, int]:
    """Return the fixed and slow points that a search finds, and how many others lie outside of the bounds.

    Args:
        start: where the search begins.
        held: the input that is held fixed, (feature,).
        bound: the bound on the size of each number of a state, (size,); None for none.
    """
    # One point for each start. Points are merged only after those beyond the bounds are left out.
    ends = fixed_points.find_points(start.dynamics, held, start.states, merged=-1.0)
    inside = np.ones(len(ends), dtype=bool) if bound is None else (np.abs(ends.states) <= bound).all(axis=1)
    kept, others = (_distinct(ends.states, np.flatnonzero(rows)) for rows in (inside, ~inside))
    reached = inside.sum() / max(len(start.states), 1)
    points = Points(
        ends.states[kept], ends.q[kept], ends.jacobians[kept], ends.fixed[kept], float(reached), ends.later
    )
    return points, len(others)


@per_subject
def usual_start(subject: Subject) -> Start:
    """Return where the searches of a study begin; see `start_of`."""
    return start_of(subject, STARTS, len(inputs_of(subject)[0]))


@per_subject
def usual_points(subject: Subject) -> dict[str, tuple[Points, int]]:
    """Return what `searched` finds from the usual start, within the bounds of the state, by the input's name."""
    start = usual_start(subject)
    return {held.name: searched(start, held.value, start.bound) for held in inputs_of(subject)[0]}


def _distinct(states: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return the rows whose states, the slowest first, are not copies of an earlier one."""
    distinct: list[int] = []
    for which in rows.tolist():
        if not distinct or np.linalg.norm(states[distinct] - states[which], axis=1).min() > fixed_points.MERGED:
            distinct.append(which)
    return distinct


@torch.no_grad()
def followed(start: Start, held: Tensor) -> tuple[float, int]:
    """Return the share of states that have come to rest after `FOLLOWED` steps, and at how many places."""
    before = states = start.states
    for _ in range(FOLLOWED):
        before, states = states, fixed_points.step(start.dynamics, states, held)
    still = (states - before).norm(dim=1) < STILL
    places = _distinct(states.numpy(), np.flatnonzero(still.numpy()))
    return float(still.double().mean()), len(places)
