"""Sequences of any length over the few distinct inputs of a study, with the right answer to each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...methods.abstraction.automata import as_symbols
from ...methods.abstraction.programs import MOST, sequences
from ...recurrent.finding import find_layers
from ..subject import Subject, per_subject
from .sampled import flops

#: The most distinct inputs that count as a small alphabet.
MOST_SYMBOLS = 8
#: So many sequences are looked at first: where they hold too many symbols already, the others need not be sorted.
_FIRST, _FEWEST = 64, 64
#: About how many operations a network may take for its answers at all lengths; the most sequences of a length that a
#: study asks.
BUDGET, _MOST_ASKED = 6e9, 1_024


@dataclass(frozen=True, eq=False)
class AtLength:
    """Sequences of one length.

    Attributes:
        x: the sequences, (sequence, time, feature).
        right: the right answer to each, (sequence,).
        exhaustive: whether these are all that can be asked, and not drawn.
    """

    x: Float[Tensor, "sequence time feature"]
    right: Float[np.ndarray, " sequence"]
    exhaustive: bool


@per_subject
def alphabet_of(subject: Subject) -> Float[Tensor, "symbol feature"] | None:
    """Return the distinct inputs in ascending order; None if there are more than 8, or sequences differ in length."""
    if subject.ragged or len(as_symbols(subject.x[:_FIRST]).alphabet) > MOST_SYMBOLS:
        return None
    alphabet = as_symbols(subject.x).alphabet
    return torch.as_tensor(alphabet).to(subject.x.dtype) if len(alphabet) <= MOST_SYMBOLS else None


@per_subject
def is_exhaustive(subject: Subject) -> bool:
    """Return whether a subject's inputs are all sequences of their length over its alphabet, each once."""
    return alphabet_of(subject) is not None and as_symbols(subject.x).lexicographic() is not None


def around(subject: Subject) -> range:
    """Return the lengths around that of the study's sequences, four below it and four above."""
    reference = subject.x.shape[1]
    return range(max(1, reference - 4), reference + 5)


def affordable(subject: Subject, lengths: Sequence[int]) -> int:
    """Return how many sequences of each length a study asks a network, by a budget of operations: 64 to 1,024."""
    step = sum(map(flops, find_layers(subject.model))) if subject.layers else 1
    return int(np.clip(BUDGET / (step * sum(lengths)), _FEWEST, _MOST_ASKED))


def at_lengths(subject: Subject, lengths: Iterable[int], *, most: int = MOST, seed: int = 0) -> dict[int, AtLength]:
    """Return sequences of several lengths over the subject's inputs, by length, with the right answers.

    Only sequences that can occur (`Subject.allows`) and have a right answer are among them, be it one that the
    readout cannot give.

    Args:
        subject: one of the networks; what it shares with the others of its study decides.
        lengths: which.
        most: how many sequences of a length at most; of more, that many are drawn with replacement.
        seed: of the drawing; each length draws on its own.

    Raises:
        ProbeError: the subject has no small alphabet, its concept is no function or fails, or hardly any sequence of
            a length can be asked.
    """
    alphabet, concept = alphabet_of(subject), subject.concept
    if alphabet is None:
        raise ProbeError(f"The inputs take more than {MOST_SYMBOLS} different values, or differ in length.")
    same = (id(concept.function), concept.categories, id(subject.allowed), str(alphabet.tolist()), alphabet.dtype)
    which = (most, seed, same, subject, alphabet)
    return {length: _at(_Which(length, *which)) for length in sorted(set(lengths))}


@dataclass(frozen=True)
class _Which:
    """Which sequences; subjects that share all of `same` share the sequences."""

    length: int
    most: int
    seed: int
    same: tuple[object, ...]
    subject: Subject = field(compare=False)
    alphabet: Tensor = field(compare=False)


# Networks of a study are measured one after the other, and each with its controls: all are asked the same.
@lru_cache(maxsize=64)
def _at(which: _Which) -> AtLength:
    subject, concept = which.subject, which.subject.concept
    can_occur = "another sequence of these inputs"

    def right(x: Tensor) -> np.ndarray:
        return np.array([concept.of_sequence(row)[-1] for row in x.double().numpy()])

    def allowed(x: Tensor) -> Tensor:
        rows = np.array([subject.allows(row, can_occur) for row in x.double().numpy()])
        rows[rows] = np.isfinite(right(x[torch.as_tensor(rows)]))
        return torch.as_tensor(rows)

    found = sequences(which.alphabet, which.length, most=which.most, allowed=allowed, seed=which.seed)
    if not len(found):
        raise ProbeError(f"No sequence of length {which.length} can occur and has a right answer.")
    return AtLength(found.x, right(found.x), found.exhaustive)
