"""Runs many patched sequences to their end, and the steps that they share only once.

Answers are read at the end, or at every step after the patch: what stands in a base's run after each later step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.signals import as_indices, within
from ..machines import CHUNK, Machine
from ..readouts import Answers, StateReadout
from .pairs import Pairs, Put


def pieces(pairs: Pairs) -> Iterator[Pairs]:
    """Yield the pairs in pieces that fit a cache, in any order."""
    rows = torch.arange(len(pairs.machine.clean.inputs))
    if pairs.crossed is None or len(pairs) < len(pairs.crossed) * len(rows):
        yield from pairs.chunks()
        return
    for sources in pairs.crossed.split(max(1, CHUNK // len(rows))):
        yield _crossed(pairs, rows, sources)


@torch.no_grad()
def answers_of(piece: Pairs, put: Put) -> Answers:
    """Return the answers that the bases' runs end in.

    Where every row is a base of the same sources, what is put in is computed once for each distinct prefix of the
    bases, and each stretch of input that bases share is read once: all 1,024 strings of ten bits go on from the state
    after one bit on a tree of 1,022 steps, not on 1,024 x 9.
    """
    machine, step = piece.machine, piece.step
    if piece.crossed is None:
        return machine.answers(put(piece), piece.base, step)
    states = put(_crossed(piece, machine.clean.prefixes[step].rows, piece.crossed))
    for now in range(step, machine.clean.inputs.shape[1] - 1):
        states = machine.follow(states, now)
    return machine.answers_of_rows(states)


def _crossed(pairs: Pairs, bases: Tensor, sources: Tensor) -> Pairs:
    every = bases.repeat_interleave(len(sources)), sources.repeat(len(bases))
    return Pairs(pairs.machine, pairs.step, *every, pairs.exhaustive, sources)


class Spliced:
    """Answers where the whole state is put in: they depend on the source's prefix and the base's suffix alone.

    Args:
        pairs: whose answers will be wanted.
    """

    def __init__(self, pairs: Pairs) -> None:
        machine, step = pairs.machine, pairs.step
        prefixes = machine.clean.prefixes[step]
        first, self._suffix = _suffixes(machine, step)
        self._prefix, self._width = prefixes.group, len(first)
        size = len(prefixes.rows) * self._width
        needed = torch.arange(size) if size <= len(pairs) else self._key(pairs).unique()
        source, base = prefixes.rows[needed // self._width], first[needed % self._width]
        self._found = machine.answers(machine.clean.states[source, step], base, step)
        self._needed = None if size <= len(pairs) else needed

    def _key(self, pairs: Pairs) -> Tensor:
        return self._prefix[pairs.source] * self._width + self._suffix[pairs.base]

    def answers(self, pairs: Pairs) -> Answers:
        """Return the answers of some of the pairs."""
        key = self._key(pairs)
        key = key if self._needed is None else torch.searchsorted(self._needed, key)
        return Answers(self._found.chosen[key], self._found.expected[key])


def _suffixes(machine: Machine, step: int) -> tuple[Tensor, Tensor]:
    """Return a row for each distinct stretch of inputs after a step, and each row's group."""
    flat = machine.clean.inputs[:, step + 1 :].flatten(1).numpy()
    if not flat.shape[1]:
        return torch.zeros(1, dtype=torch.long), torch.zeros(len(flat), dtype=torch.long)
    _, first, group = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    return torch.as_tensor(first), torch.as_tensor(group.ravel())


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
