"""Where does the network rest when the same input comes for ever? Fixed points of the layer that reads the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import dynamics
from ..findings import Finding
from ..layers import Layer
from ..loading.modules import turned_layers
from ..machines import Machine
from ..measurements import tabulate
from ..signals import Signal
from .observed import run
from .prepared import Prepared, fixed_of
from .sightings import Sightings, flops
from .tables import place, row, said, several
from .tail import alone

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


@dataclass(frozen=True, eq=False)
class _Held:
    """An input that is held fixed."""

    name: str
    value: Tensor


class _Bare(nn.Module):
    """A layer alone; its last hidden state is the output."""

    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Float[Tensor, "row step number"]) -> Tensor:
        """Return the last hidden states."""
        return self.rnn(x)[0][:, -1]


def ask(sightings: Sightings, question: str) -> Finding:
    """Return the fixed and slow points under each input that is held fixed."""
    prepared = sightings.prepared
    layer = prepared.layers[0]
    reason = _why_not(prepared, layer)
    if reason is not None:
        return Finding(question, TITLE, tabulate([]), notes={"answer": reason})
    machine, visited = _machine(sightings, layer)
    held, which = inputs_of(prepared)
    size = machine.size
    # A Jacobian is a row of the step for each number of a state, there and back, and a system of equations.
    jacobian = 3.0 * flops(layer) * size + size**3
    starts = int(min(STARTS, len(visited), BUDGET / (jacobian * ROUNDS * len(held))))
    rows: list[dict[str, Any]] = []
    words: list[str] = []
    for one in held:
        found = _searched(machine, visited[:starts], one) if starts >= FEWEST else _followed(machine, visited, one)
        rows += [row(question, metric, value, layer=layer.name, units=one.name) for metric, value in found.items()]
        words.append(_words(one.name, found))
    notes = {"answer": " ".join(words), "setup": _setup(layer, which, starts, len(visited), size)}
    return Finding(question, TITLE, tabulate(rows), notes=notes)


def _why_not(prepared: Prepared, layer: Layer) -> str | None:
    known = isinstance(layer.module, (nn.LSTM, nn.GRU, nn.RNN, nn.RNNCellBase))
    turned = layer.reverse or layer.name in turned_layers(prepared.opened.model)
    if not known or turned or getattr(layer.module, "proj_size", 0):
        return (
            f"Fixed points were not looked for: {layer.name} is projected, reads from the end or is no layer of "
            "torch, and only "
            "others are run from their states here."
        )
    if layer.level or layer.inputs != prepared.x.shape[2]:
        return (
            f"Fixed points were not looked for: {layer.name} does not read the inputs themselves, so that no input "
            "of the "
            "network holds what it reads fixed."
        )
    return None


def _machine(sightings: Sightings, layer: Layer) -> tuple[Machine, Tensor]:
    """Return a layer as a machine, and states that it visits, drawn over all steps."""
    prepared, sample = sightings.prepared, sightings.sample
    x = torch.cat([prepared.x[:8, :2].double(), torch.zeros(len(prepared.x[:8]), min(2, prepared.x.shape[1]), 1)], 2)

    def nothing(output: Tensor) -> Tensor:
        return output[:, 0]

    machine = Machine(_Bare(alone([layer])), x, answer=nothing, expected=nothing)
    rows = np.unique(sample.sequence)[:: max(1, len(np.unique(sample.sequence)) // 64)]
    chosen = sample.rows[rows]
    recording = run(prepared.opened.model, prepared.x[chosen], prepared.lengths[chosen], layer.name, layer.states)
    signals = [Signal(signal) for signal in machine.signals]
    states = torch.cat([recording[layer.name, signal].double() for signal in signals], dim=2)
    every = states[torch.as_tensor(prepared.valid[chosen][:, : states.shape[1]])]
    order = np.random.default_rng([prepared.seed, 9]).permutation(len(every))[: max(STARTS, FOLLOWED_STARTS)]
    return machine, every[torch.as_tensor(order)]


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
    names = [_name(value, place, len(values), mean) for place, value in enumerate(values, start=1)]
    return [_Held(name, torch.as_tensor(value)) for name, value in zip(names, values, strict=True)], which


def _name(value: np.ndarray, place: int, count: int, mean: bool) -> str:
    """Return what an input is called: its numbers where they are few, else which one it is."""
    if len(value) > MOST_NUMBERS:
        which = "the mean of all inputs" if mean else f"input {place} of {count}"
        return f"{which} ({several(len(value), 'feature')})"
    numbers = f"({', '.join(f'{number:.3g}' for number in value)})"
    return f"the mean of all inputs, {numbers}," if mean else f"the input {numbers}"


def _fixed(machine: Machine, one: _Held) -> Tensor:
    return torch.cat([one.value, one.value.new_zeros(machine.inputs.shape[2] - len(one.value))])


def _searched(machine: Machine, starts: Tensor, one: _Held) -> dict[str, float]:
    points = dynamics.find_points(machine, _fixed(machine, one), starts)
    largest = float(np.abs(points.eigenvalues).max()) if len(points) else float("nan")
    return {
        "fixed_points": float(points.fixed.sum()),
        "stable_points": float((points.fixed & points.stable).sum()),
        "slow_points": float((~points.fixed).sum()),
        "starts_reached": points.reached,
        "largest_modulus": largest,
    }


@torch.no_grad()
def _followed(machine: Machine, visited: Tensor, one: _Held) -> dict[str, float]:
    states = visited[:FOLLOWED_STARTS]
    fixed, before = _fixed(machine, one), states
    for _ in range(FOLLOWED):
        before, states = states, dynamics.step(machine, states, fixed)
    still = (states - before).norm(dim=1) < STILL
    ends: list[Tensor] = []
    for state in states[still]:
        if not ends or torch.stack(ends).sub(state).norm(dim=1).min() > dynamics.MERGED:
            ends.append(state)
    return {"resting_share": float(still.double().mean()), "resting_points": float(len(ends))}


def _words(name: str, found: dict[str, float]) -> str:
    if "resting_share" in found:
        return (
            f"Under {name}, {found['resting_share']:.0%} of the states that were followed stand still "
            f"after {FOLLOWED} "
            f"steps, at {several(round(found['resting_points']), 'place')}."
        )
    fixed, stable, slow = (round(found[key]) for key in ("fixed_points", "stable_points", "slow_points"))
    largest = found["largest_modulus"]
    them = "it" if fixed + slow == 1 else "them"
    end = f"; the largest modulus of an eigenvalue at {them} is {said(largest)}" if np.isfinite(largest) else ""
    return (
        f"Under {name} the search finds {_points(fixed, stable)} and "
        f"{several(slow, 'slow point') if slow else 'no slow point'}; {found['starts_reached']:.0%} of the starts "
        f"led the search to such a point{end}."
    )


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
            "Points that no "
            "start "
            "leads to are missing. A search comes to points that are not stable as well: that it ends there does "
            "not say that the network does. A fixed point is where memory can stand; it is no evidence of what is "
            "remembered."
        )
    return (
        f"Held fixed was {which}; {min(visited, FOLLOWED_STARTS)} of {at} were followed for {FOLLOWED} steps. The "
        "search "
        f"for unstable and slow points was left out: it needs the Jacobian of {size} numbers at every start and "
        "round, whose "
        "cost grows with the third power of that number. What is found this way are stable points only."
    )
