"""Where are the fixed points of the layer that reads the inputs, when one input is repeated?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import several
from ...evidence.findings import Finding
from ...evidence.measurements import tabulate
from ...methods import fixed_points
from ...methods.dynamics import CellDynamics, Dynamics
from ...recurrent.layers import Layer, find_layers
from ...recurrent.signals import Signal
from ..definition.prepared import Prepared, fixed_of
from ..rows import place, row, said
from ..sampling.activations import Activations, flops
from ..sampling.network_states import run
from ..sampling.tail import alone

TITLE = "Where are its fixed points?"
#: About how many operations the search may take; the most starts; with fewer than the last there is no search.
BUDGET, STARTS, FEWEST = 1.5e11, 60, 8
#: The average number of rounds of a search; without a search, for how many steps and from how many starts we run.
ROUNDS, FOLLOWED, FOLLOWED_STARTS = 25, 400, 32
#: With at most so many distinct inputs we hold each one fixed; otherwise we hold their mean fixed.
MOST_INPUTS = 4
#: The numbers of an input are written out if there are at most so many.
MOST_NUMBERS = 6
#: A state has come to rest if it moves less than this in a step.
STILL = 1e-6
#: The tolerance of a bound; a number without a bound may be so many times the largest one that was recorded.
ROUNDED, MARGIN = 1e-6, 2.0
#: A modulus near 1 is written with at most so many decimals.
DECIMALS = 9


@dataclass(frozen=True, eq=False)
class _FixedInput:
    """An input that is held fixed, with its name."""

    name: str
    value: Tensor


def ask(activations: Activations, question: str) -> Finding:
    """Return the fixed and slow points under each input that is held fixed."""
    prepared = activations.prepared
    layer = prepared.layers[0]
    reason = _why_not(prepared, layer)
    if reason is not None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": reason})
    dynamics, visited, largest = _dynamics(activations, layer)
    bound = bounds(layer, dynamics, largest)
    inputs, which = inputs_of(prepared)
    size = dynamics.size
    # A Jacobian takes a forward and a backward pass for each number of a state; then a linear system is solved.
    jacobian = 3.0 * flops(layer) * size + size**3
    starts = int(min(STARTS, len(visited), BUDGET / (jacobian * ROUNDS * len(inputs))))
    rows: list[dict[str, Any]] = []
    words: list[str] = []
    left_out = 0
    for given in inputs:
        search = starts >= FEWEST
        points = (
            searched(dynamics, visited[:starts], given.value, bound)
            if search
            else _followed(dynamics, visited, given.value)
        )
        left_out += round(points.get("points_left_out", 0))
        name = given.name
        rows += [row(question, metric, value, layer=layer.name, units=name) for metric, value in points.items()]
        words.append(_words(name, points))
    setup = _setup(layer, which, starts, len(visited), size)
    if starts >= FEWEST:
        setup = f"{setup} {_outside(left_out, layer)}"
    notes = {"answer": " ".join(words), "setup": setup}
    return Finding(question, TITLE, tabulate(rows), notes=notes)


def _why_not(prepared: Prepared, layer: Layer) -> str | None:
    known = isinstance(layer.module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase))
    reason = None
    if not known:
        reason = f"is a {type(layer.module).__name__}, which is not a layer of torch"
    elif layer.reads_back:
        reason = "reads from the end"
    elif getattr(layer.module, "proj_size", 0):
        reason = "has a hidden state that is projected (proj_size)"
    if reason is not None:
        return f"Fixed points were not looked for: {layer.name} {reason}, and we cannot run it from its states."
    if layer.level or layer.inputs != prepared.x.shape[2]:
        return (
            f"Fixed points were not looked for: {layer.name} does not read the inputs themselves, so holding an "
            "input of the network fixed does not hold fixed what the layer reads."
        )
    return None


def _dynamics(activations: Activations, layer: Layer) -> tuple[CellDynamics, Tensor, np.ndarray]:
    """Return a layer's dynamics, random recorded states, and the largest recorded size of each number."""
    prepared, sample = activations.prepared, activations.sample
    dynamics = CellDynamics(f"layer {layer.name!r}", find_layers(alone([layer]))[0].cell)
    rows = np.unique(sample.sequence)[:: max(1, len(np.unique(sample.sequence)) // 64)]
    chosen = sample.rows[rows]
    recording = run(prepared.opened.model, prepared.x[chosen], prepared.lengths[chosen], layer.name, layer.states)
    states = torch.cat([recording[layer.name, signal].double() for signal in dynamics.signals], dim=2)
    every = states[torch.as_tensor(prepared.valid[chosen][:, : states.shape[1]])]
    order = np.random.default_rng([prepared.seed, 9]).permutation(len(every))[: max(STARTS, FOLLOWED_STARTS)]
    return dynamics, every[torch.as_tensor(order)], every.abs().amax(0).numpy()


def _is_bounded(layer: Layer, signal: Signal) -> bool:
    return signal == Signal.HIDDEN_STATE and getattr(layer.module, "nonlinearity", "tanh") == "tanh"


def bounds(layer: Layer, dynamics: Dynamics, largest: np.ndarray) -> np.ndarray:
    """Return the bound on the size of each number of a state, (size,).

    A hidden state that comes from tanh stays between -1 and 1 if it began there. Numbers without such a bound may be
    up to `MARGIN` times the largest recorded one.

    Args:
        layer: the layer.
        dynamics: the layer's.
        largest: the largest recorded size of each number, (size,).
    """
    bound = np.empty(dynamics.size)
    for signal in dynamics.signals:
        columns = dynamics.columns(signal)
        seen = float(largest[columns].max())
        bound[columns] = max(1.0, seen) if _is_bounded(layer, signal) else MARGIN * seen
    return bound + ROUNDED


def inputs_of(prepared: Prepared) -> tuple[list[_FixedInput], str]:
    """Return the inputs that are held fixed, and in words which ones they are."""
    named, features = prepared.study.fixed_inputs, prepared.x.shape[2]
    if named is not None:
        values = fixed_of(named, features)
        which = "the inputs that the study names"
    else:
        seen = prepared.x.double().numpy()[prepared.valid]
        values = np.unique(seen, axis=0) if len(seen) <= 200_000 else np.unique(seen[:200_000], axis=0)
        if len(values) <= MOST_INPUTS:
            which = "each input that occurs"
        else:
            values, which = seen.mean(0, keepdims=True), "the mean of all inputs, because many different ones occur"
    mean = named is None and which.startswith("the mean")
    known = {tuple(value.tolist()): symbol for symbol, value in prepared.symbols.items()}
    names = [
        f"the input “{known[tuple(value.tolist())]}”"
        if tuple(value.tolist()) in known
        else _name(value, place, len(values), mean)
        for place, value in enumerate(values, start=1)
    ]
    return [_FixedInput(name, torch.as_tensor(value)) for name, value in zip(names, values, strict=True)], which


def _name(value: np.ndarray, place: int, count: int, mean: bool) -> str:
    """Return the name of an input: its numbers if they are few, otherwise its place."""
    if len(value) > MOST_NUMBERS:
        which = "the mean of all inputs" if mean else f"input {place} of {count}"
        return f"{which} ({several(len(value), 'feature')})"
    numbers = f"({', '.join(f'{number:.3g}' for number in value)})"
    return f"the mean of all inputs, {numbers}," if mean else f"the input {numbers}"


def searched(dynamics: Dynamics, starts: Tensor, fixed: Tensor, bound: np.ndarray) -> dict[str, float]:
    """Return how many fixed and slow points the search finds within the bounds of the state, by kind.

    Args:
        dynamics: the layer's.
        starts: the states from which the search begins, (start, size).
        fixed: the input that is held fixed.
        bound: the bound on the size of each number of a state; points beyond it are left out.
    """
    # One point for each start. Points are merged only after those beyond the bounds are left out.
    ends = fixed_points.find_points(dynamics, fixed, starts, merged=-1.0)
    inside = (np.abs(ends.states) <= bound).all(axis=1)
    points = _distinct(ends.states, np.flatnonzero(inside))
    still, moduli = (
        ends.fixed[points],
        np.abs(fixed_points.eigenvalues(ends.jacobians[points])).max(axis=1, initial=0),
    )
    return {
        "fixed_points": float(still.sum()),
        "stable_points": float((still & (moduli < 1)).sum()),
        "slow_points": float((~still).sum()),
        "starts_reached": float(inside.sum() / max(len(starts), 1)),
        "largest_modulus": float(moduli.max()) if len(points) else float("nan"),
        "points_left_out": float(len(_distinct(ends.states, np.flatnonzero(~inside)))),
    }


def _distinct(states: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return the rows whose states, the slowest first, are not copies of an earlier one."""
    distinct: list[int] = []
    for which in rows.tolist():
        if not distinct or np.linalg.norm(states[distinct] - states[which], axis=1).min() > fixed_points.MERGED:
            distinct.append(which)
    return distinct


@torch.no_grad()
def _followed(dynamics: Dynamics, visited: Tensor, fixed: Tensor) -> dict[str, float]:
    states = visited[:FOLLOWED_STARTS]
    before = states
    for _ in range(FOLLOWED):
        before, states = states, fixed_points.step(dynamics, states, fixed)
    still = (states - before).norm(dim=1) < STILL
    ends: list[Tensor] = []
    for state in states[still]:
        if not ends or torch.stack(ends).sub(state).norm(dim=1).min() > fixed_points.MERGED:
            ends.append(state)
    return {"still_share": float(still.double().mean()), "still_points": float(len(ends))}


def _words(name: str, points: dict[str, float]) -> str:
    if "still_share" in points:
        return (
            f"Under {name}, {points['still_share']:.0%} of the states that we followed have come to rest "
            f"after {FOLLOWED} steps, at {several(round(points['still_points']), 'place')}."
        )
    fixed, stable, slow = (round(points[key]) for key in ("fixed_points", "stable_points", "slow_points"))
    largest = points["largest_modulus"]
    if not fixed + slow and points.get("points_left_out"):
        outside = several(round(points["points_left_out"]), "point")
        return (
            f"Under {name} the search finds no fixed point and no slow point within the bounds of the state. It "
            f"ended at {outside} outside of them."
        )
    them = "it" if fixed + slow == 1 else "them"
    end = f"; the largest modulus of an eigenvalue at {them} is {_modulus(largest)}" if np.isfinite(largest) else ""
    return (
        f"Under {name} the search finds {_points(fixed, stable)} and "
        f"{several(slow, 'slow point') if slow else 'no slow point'}; {points['starts_reached']:.0%} of the starts "
        f"led to such a point{end}."
    )


def _modulus(value: float) -> str:
    """Return a modulus in words; near 1 with enough decimals to show on which side of 1 it lies."""
    if said(value) != "1.00":
        return said(value)
    for decimals in range(3, DECIMALS + 1):
        text = f"{value:.{decimals}f}"
        if float(text) != 1:
            return text
    return f"1 to {DECIMALS} decimals"


def _outside(count: int, layer: Layer) -> str:
    """Return how many points were left out because they are beyond the bounds of the state, and these bounds."""
    within = [signal for signal in layer.states if _is_bounded(layer, signal)]
    beyond = [signal for signal in layer.states if not _is_bounded(layer, signal)]
    limits = [f"no number of the {signal.replace('_', ' ')} is above 1 in size" for signal in within]
    limits += [
        f"for the {signal.replace('_', ' ')} we assumed at most twice the largest size that was recorded"
        for signal in beyond
    ]
    were = "was" if count == 1 else "were"
    which = f"{several(count, 'point') if count else 'No points'} outside of the bounds of the state {were} left out"
    return f"{which} ({' and '.join(limits)})."


def _points(fixed: int, stable: int) -> str:
    if not fixed:
        return "no fixed point"
    if fixed == 1:
        return f"1 fixed point ({'stable' if stable else 'not stable'})"
    which = "all" if stable == fixed else f"{stable}" if stable else "none"
    return f"{fixed:,} fixed points ({which} of them stable)"


def _setup(layer: Layer, which: str, starts: int, visited: int, size: int) -> str:
    at = place(layer.name, "states")
    if starts >= FEWEST:
        return (
            f"We held fixed {which}. The search began at {starts} of {at} that the inputs lead to, and minimised "
            "q = |F(s) \N{MINUS SIGN} s|²/2 (fixed below 1e-10, slow below 1e-6; Sussillo and Barak 2013). It misses "
            "points that no start leads to. It also finds points that are not stable, where the network itself does "
            "not stay. A network can keep a memory at a fixed point, but a fixed point does not show what is "
            "remembered."
        )
    return (
        f"We held fixed {which}, and followed {min(visited, FOLLOWED_STARTS)} of {at} for {FOLLOWED} steps. This "
        "finds stable points only. We did not search for unstable and slow points: the search needs the Jacobian of "
        f"{size} numbers at every start and round, and its cost grows with the third power of that number."
    )
