"""Distributed alignment search (DAS): finds the few directions of a state along which a concept can be patched.

A search finds something in anything, so it is linear, scored on prefixes that it was not fitted on, and run for wrong
variables and beside random directions too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ...errors import ProbeError
from ..machines import Machine
from .alignment_loss import Loss, Suffixes, answer_loss
from .pairs import Pairs
from .task import Task

#: How many searches run together: their states stay in a cache.
_TOGETHER = 8
#: The steps of a search, and the pairs of each.
ITERATIONS, PAIRS, RATE = 400, 192, 0.02


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched for.

    Attributes:
        rank: how many directions.
        task: what they should carry.
        rows: the rows of the clean run that bases and sources are drawn from.
        pairs: bases and sources that are drawn from, rows of the clean run, (pair,) each; None for any two of
            `rows` that differ in the concept.
        standardised: whether directions are orthonormal in units of each number's spread over these rows, and not
            in the state's own.
    """

    rank: int
    task: Task
    rows: Int64[Tensor, " row"]
    standardised: bool = False
    pairs: tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]] | None = None


@dataclass(frozen=True, eq=False)
class Alignment:
    """Directions that were found.

    Attributes:
        basis: orthonormal columns, (size, rank), in the coordinates of the search.
        scale: the unit of each number of a state in these coordinates, (size,); ones for the state's own.
    """

    basis: Float[Tensor, "size rank"]
    scale: Float[Tensor, " size"]

    def put(self, pairs: Pairs) -> Float[Tensor, "row size"]:
        """Put in the source's part along the directions: b + D Q Q^T D^-1 (s - b), with D = 1 in raw coordinates."""
        difference = (pairs.source_states - pairs.base_states) / self.scale
        return pairs.base_states + difference @ self.basis @ self.basis.T * self.scale


def search(
    machine: Machine,
    step: int,
    wanted: Sequence[Search],
    *,
    loss: Loss = answer_loss,
    iterations: int = ITERATIONS,
    pairs: int = PAIRS,
    seed: int = 0,
) -> list[Alignment]:
    """Return for each search the directions that minimise the loss of patched runs.

    Q is that of the QR decomposition of a free matrix, whose first column starts at the encoding slope
    Cov(state, concept) over the search's own rows and whose others start at random; its gradient is that of the
    decomposition for a loss of Q Q^T, (1 - Q Q^T) G R^-T. Adam, a fixed number of iterations, each on fresh pairs
    whose source and base differ in the concept; searches of the same task and rows see the same pairs.

    Raises:
        ProbeError: a rank is no number of directions of a state, or no two rows of a search differ in its concept.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed
        representations, section 3.
    """
    size = machine.dynamics.size
    for one in wanted:
        if not 1 <= one.rank <= size:
            raise ProbeError(f"rank={one.rank} is no number of directions; a state has {size} numbers.")
    found: list[Alignment] = []
    for start in range(0, len(wanted), _TOGETHER):
        batch = _Batch(machine, step, wanted[start : start + _TOGETHER], pairs * iterations, seed)
        found += batch.descend(loss, iterations)
    return found


class _Batch:
    """Searches that run together: the rows of each are a block of the rows of one run."""

    def __init__(self, machine: Machine, step: int, wanted: Sequence[Search], draws: int, seed: int) -> None:
        self.machine, self.step, self.wanted = machine, step, wanted
        self._states = machine.clean.states[:, step].detach().contiguous()
        spreads = [self._states[one.rows].std(0, correction=0) for one in wanted]
        self._scale = torch.stack(
            [
                torch.where(spread > 0, spread, 1.0) if one.standardised else torch.ones_like(spread)
                for one, spread in zip(wanted, spreads, strict=True)
            ]
        )
        drawn: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}
        for one in wanted:
            if _key(one) not in drawn:
                drawn[_key(one)] = _drawn_pairs(one, step, draws, seed)
        own = [drawn[_key(one)] for one in wanted]
        self._base, self._source = (torch.stack([pair[side] for pair in own]) for side in (0, 1))
        targets = [one.task.target(*pair, step) for one, pair in zip(wanted, own, strict=True)]
        self._target = torch.stack(targets)
        self._most = max(one.rank for one in wanted)
        self._mask = torch.stack([(torch.arange(self._most) < one.rank).double() for one in wanted]).unsqueeze(1)
        self._start = torch.stack([self._first(number, seed) for number in range(len(wanted))])

    def _first(self, number: int, seed: int) -> Tensor:
        """Return where a search starts: the encoding slope, then random columns."""
        one, size = self.wanted[number], self.machine.dynamics.size
        concept = one.task.so_far(one.rows, self.step)
        states = self._states[one.rows] / self._scale[number]
        slope = (concept - concept.mean()) @ (states - states.mean(0)) / len(states)
        columns = np.random.default_rng([seed, self.step, one.rank]).normal(size=(self._most, size)).T
        if float(slope.norm()) > 0:
            columns[:, 0] = slope.numpy()
        return torch.as_tensor(np.linalg.qr(columns)[0])

    def descend(self, loss: Loss, iterations: int) -> list[Alignment]:
        """Run Adam and return what was found."""
        free = nn.Parameter(self._start.clone())
        rows = self._base.shape[1] // max(iterations, 1)
        run = Suffixes(self.machine, self.step, rows * len(self.wanted), loss)
        adam = torch.optim.Adam([free], lr=RATE, fused=True)
        for number in range(iterations):
            # The fused step takes numbers as they lie in memory: the gradient must lie as the matrix does.
            gradient = self._gradient(free.detach(), slice(number * rows, (number + 1) * rows), run)
            free.grad = gradient.contiguous()
            adam.step()
        bases = torch.linalg.qr(free.detach())[0]
        return [
            Alignment(basis[:, : one.rank].clone(), scale)
            for one, basis, scale in zip(self.wanted, bases, self._scale, strict=True)
        ]

    def _gradient(self, free: Tensor, part: slice, run: Suffixes) -> Tensor:
        """Return the gradient of each search's mean loss at its free matrix: (1 - Q Q^T) G R^-T, G that at Q."""
        bases, r = torch.linalg.qr(free)
        q, scale = bases * self._mask, self._scale.unsqueeze(2)
        base, source = (side[:, part].flatten() for side in (self._base, self._source))
        searches, size = len(q), self.machine.dynamics.size
        own = self._states.index_select(0, base)
        difference = (self._states.index_select(0, source) - own).view(searches, -1, size)
        # As the recurrence wants them, the rows last.
        along = (q / scale).transpose(1, 2) @ difference.transpose(1, 2)
        moved = ((q * scale) @ along).transpose(0, 1)
        patched = (moved + own.T.view(size, searches, -1)).flatten(1)
        back = run.gradient(patched, base, self._target[:, part].flatten())
        at_states = back.view(size, searches, -1).transpose(0, 1) * (searches / len(base))
        at_along = (q * scale).transpose(1, 2) @ at_states
        whole = (at_along @ difference).transpose(1, 2) / scale + at_states @ along.transpose(1, 2) * scale
        across = whole - q @ (q.transpose(1, 2) @ whole)
        return torch.linalg.solve_triangular(r.transpose(1, 2), across, upper=False, left=False)


def _key(one: Search) -> tuple[int, int, int]:
    """Return what tells searches apart that see different pairs."""
    return id(one.task), id(one.rows), id(one.pairs)


def _drawn_pairs(one: Search, step: int, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    if one.pairs is None:
        return _changed_pairs(one.task, one.rows, step, draws, seed)
    base, source = one.pairs
    if not len(base):
        raise ProbeError("A search was given no pairs to draw from; give some, or None for any that differ.")
    chosen = torch.as_tensor(np.random.default_rng([seed, step]).integers(0, len(base), draws))
    return base[chosen], source[chosen]


def _changed_pairs(task: Task, rows: Tensor, step: int, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw bases and sources among rows that differ in the concept."""
    so_far = task.so_far(rows, step)
    if not bool((so_far != so_far[0]).any()):
        raise ProbeError(f"The concept is the same in all {len(rows)} rows at step {step}; nothing can be exchanged.")
    generator = np.random.default_rng([seed, step])
    kept: list[np.ndarray] = []
    while not kept or sum(map(len, kept)) < draws:
        drawn = generator.integers(0, len(rows), (2 * draws, 2))
        differ = (so_far[drawn[:, 0]] != so_far[drawn[:, 1]]).numpy()
        kept.append(drawn[differ])
    chosen = rows[torch.as_tensor(np.concatenate(kept)[:draws])]
    return chosen[:, 0], chosen[:, 1]
