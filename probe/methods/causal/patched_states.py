"""Runs many patched sequences to their end, and the steps that they share only once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..machines import CHUNK, Machine
from ..readouts import Answers
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
