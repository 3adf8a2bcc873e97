"""Pairs of a base and a source sequence, and the part of the source's state that is patched in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.signals import within
from ..machines import CHUNK, Machine

#: The most pairs that are run; beyond that they are drawn.
MOST_PAIRS = 2**21
# A column whose own part is this small beside its length follows from the columns before it.
_DEPENDENT = 1e-10


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows of the clean run at one step.

    Attributes:
        machine: the model.
        step: after which step the states stand.
        base: the rows whose run is changed, (row,).
        source: the rows whose state is put in, (row,).
        exhaustive: whether the pairs of a whole experiment are all there are, and not drawn.
        crossed: where all bases have the same sources, one after the other: those sources, (source,).
    """

    machine: Machine
    step: int
    base: Int64[Tensor, " row"]
    source: Int64[Tensor, " row"]
    exhaustive: bool = True
    crossed: Int64[Tensor, " source"] | None = None

    @cached_property
    def base_states(self) -> Float[Tensor, "row size"]:
        """The bases' own states."""
        states, repeated = self.machine.clean.states[:, self.step], self.machine.dynamics.repeated
        if self.crossed is None:
            return repeated(states, self.base)
        each = len(self.crossed)
        return repeated(states, self.base[:: max(1, each)], each)

    @cached_property
    def source_states(self) -> Float[Tensor, "row size"]:
        """The sources' states."""
        if self.crossed is None:
            return self.machine.dynamics.repeated(self.machine.clean.states[:, self.step], self.source)
        times = len(self) // max(1, len(self.crossed))
        return self.machine.dynamics.repeated(self.machine.clean.states[:, self.step], self.crossed, times=times)

    def __len__(self) -> int:
        return len(self.base)

    def chunks(self) -> Iterator[Pairs]:
        """Yield the pairs in pieces that fit a cache."""
        for start in range(0, len(self), CHUNK):
            part = slice(start, start + CHUNK)
            yield Pairs(self.machine, self.step, self.base[part], self.source[part], self.exhaustive)


#: What stands in the base's run instead of its state: pairs -> states, (row, size). It follows from what the two rows
#: have read so far: rows that share a prefix are given the same.
Put = Callable[[Pairs], Tensor]


def all_pairs(machine: Machine, step: int, *, most: int = MOST_PAIRS, seed: int = 0) -> Pairs:
    """Return every sequence as a base with every distinct prefix as a source, or as many drawn as are allowed.

    A state depends on the prefix alone: all strings of ten bits have 1,024 x 2^t pairs at step t - 1. Where prefixes
    are not equally frequent, the sources are all sequences. Of sequences of several lengths those that have the step
    are bases and sources.

    Args:
        machine: the model.
        step: after which step the states stand, from 0; -1 is the last one.
        most: the most pairs; more are drawn with replacement.
        seed: of the drawing.

    Raises:
        ProbeError: the step does not exist, or no pair is allowed.
    """
    (step,) = within("step", (step,), machine.clean.inputs.shape[1], "the input's time axis")
    if most < 1:
        raise ProbeError(f"most={most} allows no pair; give at least 1.")
    bases = machine.clean.has(step).nonzero().flatten()
    rows, sources = len(bases), _sources(machine, step)
    if rows * len(sources) <= most:
        base = bases.repeat_interleave(len(sources))
        return Pairs(machine, step, base, sources.repeat(rows), crossed=sources)
    generator = np.random.default_rng(seed)
    base, source = (bases[torch.as_tensor(generator.integers(0, rows, most))] for _ in range(2))
    return Pairs(machine, step, base, source, exhaustive=False)


def _sources(machine: Machine, step: int) -> Tensor:
    if machine.clean.lengths is not None:
        return machine.clean.has(step).nonzero().flatten()
    prefixes = machine.clean.prefixes[step]
    equal = len(prefixes.group.bincount().unique()) == 1
    return prefixes.rows if equal else torch.arange(len(machine.clean.inputs))


def whole(pairs: Pairs) -> Tensor:
    """Put in the source's whole state, which is a tautology: the run goes on as on the spliced sequence."""
    return pairs.source_states


def columns(chosen: Sequence[int] | slice) -> Put:
    """Return what puts in some numbers of the source's state, such as `machine.dynamics.unit(3)`.

    What stands beside them stays the base's: the state may lie far from all that the network visits.
    """

    def put(pairs: Pairs) -> Tensor:
        states, taken = pairs.base_states.clone(), pairs.source_states
        if isinstance(chosen, slice):
            states[:, chosen] = taken[:, chosen]
        else:
            # One column after the other: torch's index over a list takes ten times as long.
            for column in chosen:
                states[:, column] = taken[:, column]
        return states

    return put


def along(basis: np.ndarray | Tensor) -> Put:
    """Return what puts in the source's part of the state along orthonormal columns: b + Q Q^T (s - b).

    Args:
        basis: directions of states, (size,) or (size, dimension); they are made orthonormal first.

    Raises:
        ProbeError: a direction is zero or follows from the others, so that what it stands for would be arbitrary.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations,
        definition of the distributed interchange intervention.
    """
    matrix = torch.as_tensor(basis, dtype=torch.float64)
    matrix = matrix.unsqueeze(1) if matrix.dim() == 1 else matrix
    found, triangle = np.linalg.qr(matrix.numpy())
    lengths = np.abs(triangle.diagonal())
    if matrix.shape[1] > matrix.shape[0] or not (lengths > _DEPENDENT * np.linalg.norm(matrix.numpy(), axis=0)).all():
        raise ProbeError(
            f"The basis of shape {tuple(matrix.shape)} has a direction that is zero or follows from the others; "
            "give independent columns."
        )
    q = torch.as_tensor(found)

    def put(pairs: Pairs) -> Tensor:
        base = pairs.base_states.T
        return torch.addmm(base, q, q.T @ (pairs.source_states.T - base)).T

    return put


def along_coordinate(encoding: np.ndarray, reading: np.ndarray) -> Put:
    """Return what puts in the source's value of one coordinate of the state: b + e w (s - b).

    The coordinate is read by w and written along e, and w e = 1. Where several concepts lie along directions that are
    not orthogonal, a projection on one of them, as of `along`, moves the others too; this does not.

    Args:
        encoding: e, the direction along which the coordinate is written, (size,).
        reading: w, what reads it, (size,).

    Raises:
        ProbeError: w e is not 1, so that the source's value would not be what is read afterwards.
    """
    written, read = (torch.as_tensor(values, dtype=torch.float64) for values in (encoding, reading))
    gain = float(written @ read)
    if abs(gain - 1) > _DEPENDENT**0.5:
        raise ProbeError(f"The reading of the encoding is {gain:.3g} and must be 1; divide one of the two by it.")

    def put(pairs: Pairs) -> Tensor:
        base = pairs.base_states
        return base + torch.outer((pairs.source_states - base) @ read, written)

    return put
