"""Where the layer that reads a network's inputs stands still while one input is held fixed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ProbeError
from ...methods.dynamics import CellDynamics, Dynamics
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer, OpenLayer
from ...recurrent.signals import Signal
from ...subjects.alphabet import fixed_of
from ...subjects.stacks import TRIED, dynamics_of, layer_inputs, not_from_states
from ...subjects.states import flops, rows_within_budget, step_states
from ...subjects.subject import Subject, per_subject

#: About how many operations the searches of a network may take; with fewer starts than this there is no search.
BUDGET, FEWEST = 1.5e11, 8
#: The average number of rounds of a search, and from so many visited states it begins at most.
ROUNDS, STARTS = 25, 100
#: With at most so many distinct inputs we hold each one fixed, otherwise their mean; so many inputs are looked at.
MOST_INPUTS, LOOKED_AT = 4, 200_000
#: The numbers of an input are written out if there are at most so many.
MOST_NUMBERS = 6
#: The tolerance of a bound; a number without a bound may be so many times the largest one that was recorded.
ROUNDED, MARGIN = 1e-6, 2.0


@dataclass(frozen=True, eq=False)
class Start:
    """The layer that reads the inputs, its dynamics in float64, and `states` that a search begins at, (start, size).

    `bound` is what the size of each number of a state can be, (size,).
    """

    layer: Layer
    dynamics: Dynamics
    states: Tensor
    bound: np.ndarray


def first_layer(subject: Subject) -> str | None:
    """A layer that reads the inputs themselves, can be run from its states, and is small enough for a search."""
    if not subject.layers:
        return "it has no recurrent layer"
    layer, reason = subject.layers[0], ""
    if isinstance(layer, OpenLayer):
        reason = (not_from_states(subject, layer) or "").rstrip(".")
    elif not isinstance(layer.module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase)):
        kind = type(layer.module).__name__
        reason = f"{layer.name} is a {kind}, which is not a layer of torch, and we cannot run it from its states"
    elif layer.reads_back:
        reason = f"{layer.name} reads from the end, and we hold an input fixed from the beginning"
    if not reason and not _reads_inputs(subject):
        reason = f"{layer.name} does not read the inputs themselves, and the search holds fixed what a layer reads"
    if not reason and _affordable(subject) < FEWEST:
        reason = f"{layer.name} is so large that a search for fixed points takes too long"
    return reason or None


def _affordable(subject: Subject) -> int:
    """Return from how many states the budget allows a search under each input."""
    layer = subject.layers[0]
    size = sum(layer.size(signal) for signal in layer.whole_state)
    # A Jacobian takes a forward and a backward pass for each number of a state; then a linear system is solved.
    cost = (3.0 * flops(layer) * size + size**3) * ROUNDS * len(inputs_of(subject)[0])
    return int(BUDGET / cost)


@per_subject
def _reads_inputs(subject: Subject) -> bool:
    layer = subject.layers[0]
    if layer.level:
        return False
    read, there = layer_inputs(subject, np.arange(min(TRIED, len(subject.x))), layer), subject.data[:TRIED]
    there, given = there[:, : read.shape[1]], subject.x[: len(read), : read.shape[1]].double().numpy()
    # Numbers of half precision have three digits.
    return read.shape == given.shape and np.allclose(read[there], given[there], rtol=0.01)


def bound_of(layer: Layer, dynamics: Dynamics, largest: np.ndarray) -> Float[np.ndarray, " size"]:
    """Return the bound on the size of each number of a state, by the largest that was recorded.

    A hidden state that comes from tanh stays between -1 and 1 if it began there. Numbers without such a bound may be
    up to `MARGIN` times the largest recorded one.
    """
    module: Any = layer.module
    tanh = getattr(module, "nonlinearity", "tanh") == "tanh" and not getattr(module, "proj_size", 0)
    bound = np.empty(dynamics.size)
    for signal in dynamics.signals:
        columns = dynamics.columns(signal)
        seen = float(largest[columns].max())
        bound[columns] = max(1.0, seen) if tanh and signal == Signal.HIDDEN_STATE else MARGIN * seen
    return bound + ROUNDED


@per_subject
def inputs_of(subject: Subject) -> tuple[dict[str, Tensor], str]:
    """Return the inputs that are held fixed, (feature,) each by its name, and in words which they are.

    They are those that the study names, or each that occurs, or the mean of all inputs where many different ones do.
    """
    named = subject.fixed_inputs
    called = {tuple(value.tolist()): f"the input “{symbol}”" for symbol, value in subject.symbols.items()}
    words, seen = "each input that occurs", subject.x.double().numpy()[subject.data]
    values = np.unique(seen[:LOOKED_AT], axis=0)
    if named is not None:
        words, values = "the inputs that the study names", fixed_of(named, subject.x.shape[2])
    elif len(values) > MOST_INPUTS:
        values, words = seen.mean(0, keepdims=True), "the mean of all inputs, because many different ones occur"
        called = {tuple(values[0].tolist()): f"the mean of all inputs{_numbers(values[0])}"}
    names = [f"the input “{name}”" for name in named] if isinstance(named, Mapping) else []
    for place, value in enumerate(values[len(names) :], start=1):
        one = f"the input{_numbers(value)}" if _numbers(value) else f"input {place} of {len(values)}"
        names.append(called.get(tuple(value.tolist()), one))
    return dict(zip(names, torch.as_tensor(np.asarray(values)), strict=True)), words


def _numbers(value: np.ndarray) -> str:
    return f" ({', '.join(f'{number:.3g}' for number in value)})" if len(value) <= MOST_NUMBERS else ""


@per_subject
def start_of(subject: Subject) -> Start:
    """Return where the searches of a network begin.

    Raises:
        ProbeError: the layer that reads the inputs cannot be searched.
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
    most, chosen = min(STARTS, _affordable(subject)), every
    if len(every) > most:
        chosen = every[np.sort(np.random.default_rng(subject.seed).choice(len(every), most, replace=False))]
    return Start(layer, dynamics, torch.as_tensor(chosen), bound_of(layer, dynamics, np.abs(every).max(0)))
