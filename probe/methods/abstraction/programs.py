"""Rival programs (plain functions of a sequence), scored by how often a network answers as they do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ...errors import ProbeError
from ...intervals import share_interval

#: Takes one sequence, a tuple with a number a step (or a tuple of its features), of any length; returns the answer.
Program = Callable[[tuple], float]
#: The most sequences of one length that are all asked; beyond that they are drawn.
MOST = 4096


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of one length, (batch, time, input), and whether these are all there are, and not drawn."""

    x: Float[Tensor, "batch time input"]
    exhaustive: bool

    def __len__(self) -> int:
        return len(self.x)


def sequences(
    alphabet: Float[Tensor, "symbol input"],
    length: int,
    *,
    most: int = MOST,
    allowed: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Sequences:
    """Return all sequences of a length over a finite alphabet, or so many that are drawn with replacement.

    Args:
        alphabet: what a step may read, one symbol a row.
        length: steps, at least 1.
        most: how many at most; where there are more, that many are drawn.
        allowed: from sequences (batch, time, input) to which of them are asked, (batch,); None for all.
        seed: of the drawing; each length draws on its own.

    Raises:
        ProbeError: the alphabet or the length is empty, or hardly any sequence is allowed.
    """
    if alphabet.dim() != 2 or not len(alphabet) or length < 1 or most < 1:
        raise ProbeError(
            f"An alphabet of shape {tuple(alphabet.shape)}, length={length} and most={most} were given; the alphabet "
            "must be (symbol, input) and not empty, the others at least 1."
        )
    total = len(alphabet) ** length
    if total <= most:
        codes = np.array(list(itertools.product(range(len(alphabet)), repeat=length)))
        x = alphabet[torch.as_tensor(codes)]
        return Sequences(x if allowed is None else x[allowed(x)], True)
    generator = np.random.default_rng([seed, length])
    kept: list[Tensor] = []
    for _ in range(100):
        x = alphabet[torch.as_tensor(generator.integers(0, len(alphabet), (most, length)))]
        kept.append(x if allowed is None else x[allowed(x)])
        if sum(map(len, kept)) >= most:
            return Sequences(torch.cat(kept)[:most], False)
    raise ProbeError(
        f"Of sequences of length {length} fewer than 1 in 100 are allowed; loosen allowed=, or leave the length out."
    )


def as_tuples(x: Shaped[Tensor, "batch time *input"]) -> list[tuple]:
    """Return sequences as programs take them: a number for each step, or a tuple where a step has several features.

    Whole numbers come as `int`.
    """
    values = x.detach().cpu()
    flat = values.squeeze(2) if values.dim() == 3 and values.shape[2] == 1 else values
    whole = flat.long() if bool((flat == flat.round()).all()) else flat
    rows = whole.tolist()
    return [tuple(map(tuple, row)) if flat.dim() == 3 else tuple(row) for row in rows]


def run_program(
    name: str, program: Program, x: Shaped[Tensor, "batch time *input"] | list[tuple]
) -> Float[np.ndarray, " batch"]:
    """Return a program's answers to sequences, or to what `as_tuples` made of them.

    Raises:
        ProbeError: an answer is no finite number.
    """
    answers = [program(row) for row in (as_tuples(x) if isinstance(x, Tensor) else x)]
    try:
        found = np.array(answers, dtype=float)
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.shape != (len(x),) or not np.isfinite(found).all():
        raise ProbeError(f"The program {name!r} must return one finite number for each sequence; it did not.")
    return found


@dataclass(frozen=True)
class Agreement:
    """The share of answers that are a whole number nearest to a program's, and its 95 % interval over drawn sequences
    (Clopper-Pearson); where all were asked, the interval is the value itself.
    """

    share: float
    interval: tuple[float, float]
    sequences: int


def agreement(
    answers: np.ndarray, program: Float[np.ndarray, " batch"], *, exhaustive: bool = True, near: float = 0.5
) -> Agreement:
    """Return how often answers are within half of a program's: where it says 3.5, both 3 and 4 are nearest.

    Args:
        answers: the network's, (batch,).
        program: the program's, (batch,).
        exhaustive: whether these are all sequences, and not drawn ones.
        near: how far an answer may be from the program's; 0 for categories.

    Raises:
        ProbeError: nothing was asked, or the two have other lengths.
    """
    given = np.asarray(answers, dtype=float)
    if given.shape != program.shape or not given.size:
        raise ProbeError(
            f"Answers of shape {given.shape} and {program.shape} cannot be compared; give one a sequence."
        )
    hits = int((np.abs(given - program) <= near + 1e-9).sum())
    share = hits / given.size
    interval = (share, share) if exhaustive else share_interval(hits, given.size, 0.95)
    return Agreement(share, interval or (share, share), given.size)


def slope(excess: Mapping[int, float], lengths: Iterable[int], reference: int) -> float:
    """Return d of g(L) = d (R - L), by least squares through 0 at the reference length R, of g(L) by length.

    Raises:
        ProbeError: a length is missing, or none differs from the reference.

    Reference:
        docs/science.md, "Drift".
    """
    used = tuple(lengths)
    missing = sorted(set(used) - set(excess))
    weight = sum((reference - length) ** 2 for length in used)
    if missing or not weight:
        raise ProbeError(
            f"A drift is to be fitted on lengths {used} against {reference}; it needs a length other than that, and "
            f"lengths {missing} are not among those asked."
        )
    return sum(excess[length] * (reference - length) for length in used) / weight


@dataclass(frozen=True)
class Drifting:
    """A program plus so much for each step that is missing, the slope fitted to a network: P + d (R - L).

    Attributes:
        program: P.
        reference: R, the length at which the network was trained.
        fitted_on: the lengths whose expected answers d is fitted to; they need not be the ones that are scored.
    """

    program: Program
    reference: int
    fitted_on: Sequence[int]

    def drift(self, expected: Mapping[int, np.ndarray], own: Mapping[int, np.ndarray]) -> float:
        """Return d of mean(y - P) = d (R - L), of expected answers and P's own; see `slope`."""
        excess = {length: float((expected[length] - answers).mean()) for length, answers in own.items()}
        return slope(excess, self.fitted_on, self.reference)

    def at(self, drift: float, own: Mapping[int, np.ndarray]) -> dict[int, Float[np.ndarray, " batch"]]:
        """Return the answers by length with a given d, of P's own."""
        return {length: answers + drift * (self.reference - length) for length, answers in own.items()}
