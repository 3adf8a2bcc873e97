"""Answers at every step after a patch: what stands in a base's run after each later step, and what is read there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.signals import as_indices, within
from ..readouts import Answers, StateReadout
from .pairs import Pairs, Put


@dataclass(frozen=True, eq=False)
class LaterStates:
    """The states of patched runs after ascending steps from the patch on.

    Attributes:
        states: the states after them, (row, step, size), float64; NaN where a base has ended.
        there: where a base has the step, (row, step).
    """

    states: Float[Tensor, "row step size"]
    there: Bool[Tensor, "row step"]

    @torch.no_grad()
    def answers(self, readout: StateReadout) -> Answers:
        """Return what a readout makes of the states: (row, step) each, float64, NaN where a base has ended.

        Args:
            readout: one of the model's.

        Raises:
            ProbeError: it fails, or does not give one finite number a state.
        """
        found = readout.answers(self.states[self.there])
        return Answers(*(self._placed(values.double()) for values in (found.chosen, found.expected)))

    def _placed(self, values: Tensor) -> Tensor:
        every = torch.full(self.there.shape, torch.nan, dtype=torch.float64)
        every[self.there] = values
        return every


@torch.no_grad()
def later_states(pairs: Pairs, put: Put, steps: Iterable[int] | None = None) -> LaterStates:
    """Return the states of the bases' runs where something is put in, after steps from the patch on.

    The base goes on from what is put in, so its state after step u > t follows from that and from the base's inputs
    at steps t + 1 to u. Where the whole state is put in, this is the run of the spliced sequence: the source's inputs
    up to step t, then the base's.

    Args:
        pairs: which rows, and after which step t.
        put: what is put in.
        steps: after which steps, t or later, from 0, or negative from the end of the longest sequence; None for all.

    Raises:
        ProbeError: a step does not exist or comes before the patch, or a base or source is over before it.

    Reference:
        Geiger et al. 2021, Causal abstractions of neural networks, section 3 (interchange), read at every step.
    """
    clean, first = pairs.machine.clean, pairs.step
    wanted = _wanted(steps, first, clean.inputs.shape[1])
    for name, rows in (("base", pairs.base), ("source", pairs.source)):
        ended = rows[~clean.has(first)[rows]]
        if len(ended):
            raise ProbeError(
                f"The {name} {int(ended[0])} is over before step {first}, after which states are patched; give pairs "
                "of sequences that have that step, such as those of all_pairs(machine, step)."
            )
    states = torch.full((len(pairs), len(wanted), pairs.machine.dynamics.size), torch.nan, dtype=torch.float64)
    there = torch.zeros(len(pairs), len(wanted), dtype=torch.bool)
    start = 0
    for part in pairs.chunks():
        for now, left, after in pairs.machine.going_on(put(part), part.base, first):
            if now in wanted:
                states[start + left, wanted.index(now)] = after
                there[start + left, wanted.index(now)] = True
            if now == wanted[-1]:
                break
        start += len(part)
    return LaterStates(states, there)


def _wanted(steps: Iterable[int] | None, first: int, length: int) -> list[int]:
    if steps is None:
        return list(range(first, length))
    found = sorted(within("steps", as_indices("steps", steps), length, "the input's time axis"))
    if found[0] < first:
        raise ProbeError(
            f"steps={tuple(found)} names step {found[0]}, and states are patched after step {first}: what comes "
            f"before is the base's own run. Give steps from {first} to {length - 1}."
        )
    return found
