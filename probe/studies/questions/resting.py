"""Where are the fixed points of the layer that reads the inputs, when one input is repeated?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...evidence.findings import Finding
from ...evidence.measurements import tabulate
from ...methods import fixed_points
from ...methods.dynamics import CellDynamics, Dynamics
from ...recurrent.layers import Layer, find_layers
from ...recurrent.signals import Signal
from ...words import several
from ..definition.prepared import Prepared, fixed_of
from ..sampling.activations import Sightings, flops
from ..sampling.network_states import run
from ..sampling.tail import alone
from ..tables import place, row, said

TITLE = "Where does it rest?"
#: About how many operations the search may take; starts at most, and so few that it is left out.
BUDGET, STARTS, FEWEST = 1.5e11, 60, 8
#: Rounds of a search on average, and how many steps states are followed where no search is made.
ROUNDS, FOLLOWED, FOLLOWED_STARTS = 25, 400, 32
#: Inputs that occur are each held fixed where they are so few; otherwise their mean is.
MOST_INPUTS = 4
#: An input of more numbers is not named by them.
MOST_NUMBERS = 6
#: A state that moves less than this in a step has come to rest.
STILL = 1e-6
#: How far beyond a bound rounding may take a number, and how many times the largest that was seen is one without.
ROUNDED, MARGIN = 1e-6, 2.0
#: A modulus near 1 is said with so many decimals at most.
DECIMALS = 9


@dataclass(frozen=True, eq=False)
class _Held:
    """An input that is held fixed."""

    name: str
    value: Tensor


def ask(sightings: Sightings, question: str) -> Finding:
    """Return the fixed and slow points under each input that is held fixed."""
    prepared = sightings.prepared
    layer = prepared.layers[0]
    reason = _why_not(prepared, layer)
    if reason is not None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": reason})
    dynamics, visited, largest = _dynamics(sightings, layer)
    bound = bounds(layer, dynamics, largest)
    held, which = inputs_of(prepared)
    size = dynamics.size
    # A Jacobian is a row of the step for each number of a state, there and back, and a system of equations.
    jacobian = 3.0 * flops(layer) * size + size**3
    starts = int(min(STARTS, len(visited), BUDGET / (jacobian * ROUNDS * len(held))))
    rows: list[dict[str, Any]] = []
    words: list[str] = []
    left_out = 0
    for one in held:
        search = starts >= FEWEST
        found = (
            searched(dynamics, visited[:starts], one.value, bound)
            if search
            else _followed(dynamics, visited, one.value)
        )
        left_out += round(found.get("points_left_out", 0))
        rows += [row(question, metric, value, layer=layer.name, units=one.name) for metric, value in found.items()]
        words.append(_words(one.name, found))
    setup = _setup(layer, which, starts, len(visited), size)
    if starts >= FEWEST:
        setup = f"{setup} {_outside(left_out, layer)}"
    notes = {"answer": " ".join(words), "setup": setup}
    return Finding(question, TITLE, tabulate(rows), notes=notes)


def _why_not(prepared: Prepared, layer: Layer) -> str | None:
    known = isinstance(layer.module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase))
    reason = None
    if not known:
        reason = f"is a {type(layer.module).__name__}, which is no layer of torch"
    elif layer.reads_back:
        reason = "reads from the end"
    elif getattr(layer.module, "proj_size", 0):
        reason = "has a hidden state that is projected (proj_size)"
    if reason is not None:
        return (
            f"Fixed points were not looked for: {layer.name} {reason}, and such a layer is not run from its states "
            "here."
        )
    if layer.level or layer.inputs != prepared.x.shape[2]:
        return (
            f"Fixed points were not looked for: {layer.name} does not read the inputs themselves, so that no input "
            "of the network holds what it reads fixed."
        )
    return None


def _dynamics(sightings: Sightings, layer: Layer) -> tuple[CellDynamics, Tensor, np.ndarray]:
    """Return a layer's dynamics, drawn states that it visits, and the largest size of each number that was seen."""
    prepared, sample = sightings.prepared, sightings.sample
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
    """Return how large in size each number of a state can be, (size,).

    A hidden state that tanh makes stays within -1 and 1 if it began there; what nothing bounds is held against the
    largest that was seen.

    Args:
        layer: whose states.
        dynamics: the layer's.
        largest: the largest size of each number that was seen, (size,).
    """
    found = np.empty(dynamics.size)
    for signal in dynamics.signals:
        columns = dynamics.columns(signal)
        seen = float(largest[columns].max())
        found[columns] = max(1.0, seen) if _is_bounded(layer, signal) else MARGIN * seen
    return found + ROUNDED


def inputs_of(prepared: Prepared) -> tuple[list[_Held], str]:
    """Return the inputs that are held fixed, and in words which these are."""
    given, features = prepared.study.fixed_inputs, prepared.x.shape[2]
    if given is not None:
        values = fixed_of(given, features)
        which = "the inputs that the study names"
    else:
        seen = prepared.x.double().numpy()[prepared.valid]
        values = np.unique(seen, axis=0) if len(seen) <= 200_000 else np.unique(seen[:200_000], axis=0)
        if len(values) <= MOST_INPUTS:
            which = "each input that occurs"
        else:
            values, which = seen.mean(0, keepdims=True), "the mean of all inputs, since many different ones occur"
    mean = given is None and which.startswith("the mean")
    known = {tuple(value.tolist()): symbol for symbol, value in prepared.symbols.items()}
    names = [
        f"the input “{known[tuple(value.tolist())]}”"
        if tuple(value.tolist()) in known
        else _name(value, place, len(values), mean)
        for place, value in enumerate(values, start=1)
    ]
    return [_Held(name, torch.as_tensor(value)) for name, value in zip(names, values, strict=True)], which


def _name(value: np.ndarray, place: int, count: int, mean: bool) -> str:
    """Return what an input is called: its numbers where they are few, else which one it is."""
    if len(value) > MOST_NUMBERS:
        which = "the mean of all inputs" if mean else f"input {place} of {count}"
        return f"{which} ({several(len(value), 'feature')})"
    numbers = f"({', '.join(f'{number:.3g}' for number in value)})"
    return f"the mean of all inputs, {numbers}," if mean else f"the input {numbers}"


def searched(dynamics: Dynamics, starts: Tensor, fixed: Tensor, bound: np.ndarray) -> dict[str, float]:
    """Return how many points the search finds where the state can be, and of what kind they are.

    Args:
        dynamics: the layer's.
        starts: where the search begins, (start, size).
        fixed: the input that is held fixed.
        bound: how large in size each number of a state can be; points beyond are left out.
    """
    # A point for each start: they are merged once it is known which of them can be.
    ends = fixed_points.find_points(dynamics, fixed, starts, merged=-1.0)
    inside = (np.abs(ends.states) <= bound).all(axis=1)
    kept = _distinct(ends.states, np.flatnonzero(inside))
    still, moduli = ends.fixed[kept], np.abs(fixed_points.eigenvalues(ends.jacobians[kept])).max(axis=1, initial=0)
    return {
        "fixed_points": float(still.sum()),
        "stable_points": float((still & (moduli < 1)).sum()),
        "slow_points": float((~still).sum()),
        "starts_reached": float(inside.sum() / max(len(starts), 1)),
        "largest_modulus": float(moduli.max()) if len(kept) else float("nan"),
        "points_left_out": float(len(_distinct(ends.states, np.flatnonzero(~inside)))),
    }


def _distinct(states: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return which of some states, the slowest first, are no copy of one before."""
    kept: list[int] = []
    for which in rows.tolist():
        if not kept or np.linalg.norm(states[kept] - states[which], axis=1).min() > fixed_points.MERGED:
            kept.append(which)
    return kept


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
    return {"resting_share": float(still.double().mean()), "resting_points": float(len(ends))}


def _words(name: str, found: dict[str, float]) -> str:
    if "resting_share" in found:
        return (
            f"Under {name}, {found['resting_share']:.0%} of the states that were followed stand still "
            f"after {FOLLOWED} steps, at {several(round(found['resting_points']), 'place')}."
        )
    fixed, stable, slow = (round(found[key]) for key in ("fixed_points", "stable_points", "slow_points"))
    largest = found["largest_modulus"]
    if not fixed + slow and found.get("points_left_out"):
        outside = several(round(found["points_left_out"]), "point")
        return (
            f"Under {name} the search finds no fixed point and no slow point that the state can be at: all that it "
            f"came to is {outside} outside of what the state can be."
        )
    them = "it" if fixed + slow == 1 else "them"
    end = f"; the largest modulus of an eigenvalue at {them} is {_modulus(largest)}" if np.isfinite(largest) else ""
    return (
        f"Under {name} the search finds {_points(fixed, stable)} and "
        f"{several(slow, 'slow point') if slow else 'no slow point'}; {found['starts_reached']:.0%} of the starts "
        f"led the search to such a point{end}."
    )


def _modulus(value: float) -> str:
    """Return a modulus in words; near 1 with as many decimals as tell on which side it lies."""
    if said(value) != "1.00":
        return said(value)
    for decimals in range(3, DECIMALS + 1):
        text = f"{value:.{decimals}f}"
        if float(text) != 1:
            return text
    return f"1 to {DECIMALS} decimals"


def _outside(count: int, layer: Layer) -> str:
    """Return how many points were left out since the state cannot be there, and what it can be."""
    within = [signal for signal in layer.states if _is_bounded(layer, signal)]
    beyond = [signal for signal in layer.states if not _is_bounded(layer, signal)]
    limits = [f"no number of the {signal.replace('_', ' ')} is above 1 in size" for signal in within]
    limits += [
        f"none of the {signal.replace('_', ' ')} was taken to be above twice the largest size that was seen"
        for signal in beyond
    ]
    were = "was" if count == 1 else "were"
    which = f"{several(count, 'point') if count else 'No points'} outside of what the state can be {were} left out"
    return f"{which} ({' and '.join(limits)}); the counts and shares are of the others."


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
            f"Held fixed was {which}; the search began at {starts} of {at} that the inputs lead to, and made "
            "q = |F(s) \N{MINUS SIGN} s|²/2 small (fixed below 1e-10, slow below 1e-6; Sussillo and Barak 2013). "
            "Points that no start leads to are missing. A search comes to points that are not stable as well: that "
            "it ends there does not say that the network does. A fixed point is where memory can stand; it is no "
            "evidence of what is remembered."
        )
    return (
        f"Held fixed was {which}; {min(visited, FOLLOWED_STARTS)} of {at} were followed for {FOLLOWED} steps. The "
        f"search for unstable and slow points was left out: it needs the Jacobian of {size} numbers at every start "
        "and round, whose cost grows with the third power of that number. What is found this way are stable points "
        "only."
    )
