"""The inputs of a study as symbols: their names on pages, and sequences of other lengths over a few of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ProbeError, several
from ..methods.abstraction.automata import as_symbols
from ..methods.abstraction.programs import MOST, Sequences, sequences
from ..recurrent.finding import find_layers
from .states import flops
from .subject import Subject, per_subject

#: The most distinct inputs that count as a small alphabet.
MOST_SYMBOLS = 8
#: How many sequences of a length a study asks, at least and at most.
_FEWEST_ASKED, _MOST_ASKED = 64, 1_024
#: A token's name may have so many characters.
LONGEST = 30


@dataclass(frozen=True, eq=False)
class AtLength(Sequences):
    """Sequences of one length, with the right answer to each, (sequence,)."""

    right: Float[np.ndarray, " sequence"]


@per_subject
def alphabet_of(subject: Subject) -> Float[Tensor, "symbol feature"] | None:
    """Return the distinct inputs in ascending order; None if there are more than 8, or sequences differ in length."""
    alphabet = as_symbols(subject.x).alphabet
    few = len(alphabet) <= MOST_SYMBOLS and not subject.ragged
    return torch.as_tensor(alphabet).to(subject.x.dtype) if few else None


@per_subject
def is_exhaustive(subject: Subject) -> bool:
    """Return whether a subject's inputs are all sequences of their length over its alphabet, each once."""
    return alphabet_of(subject) is not None and as_symbols(subject.x).lexicographic() is not None


def around(subject: Subject) -> range:
    """Return the lengths around that of the study's sequences, four below it and four above."""
    reference = subject.x.shape[1]
    return range(max(1, reference - 4), reference + 5)


def affordable(subject: Subject, lengths: Sequence[int]) -> int:
    """Return how many sequences of each length the budget allows to ask a network: 64 to 1,024."""
    step = sum(map(flops, find_layers(subject.model))) if subject.layers else 1
    return int(np.clip(subject.budget.lengths / (step * sum(lengths)), _FEWEST_ASKED, _MOST_ASKED))


def at_lengths(subject: Subject, lengths: Iterable[int], *, most: int = MOST, seed: int = 0) -> dict[int, AtLength]:
    """Return sequences of several lengths over the subject's inputs, by length, with the right answers.

    They are all that can occur (`Subject.allows`) and have a right answer, or `most` that are drawn with replacement,
    by the same draw for all networks of a study.

    Raises:
        ProbeError: the subject has no small alphabet, its concept is no function, or no sequence can be asked.
    """
    alphabet = alphabet_of(subject)
    if alphabet is None:
        if subject.ragged:
            raise ProbeError(
                "The sequences differ in length; sequences of other lengths are made for one length only."
            )
        many = len(as_symbols(subject.x).alphabet)
        raise ProbeError(
            f"The inputs take {many:,} different values, and sequences of other lengths are made of at most "
            f"{MOST_SYMBOLS}."
        )
    return {length: _at(subject, alphabet, length, most, seed) for length in sorted(set(lengths))}


@per_subject
def _at(subject: Subject, alphabet: Tensor, length: int, most: int, seed: int) -> AtLength:
    def right(x: Tensor) -> np.ndarray:
        return np.array([subject.concept.of_sequence(row)[-1] for row in x.double().numpy()])

    def allowed(x: Tensor) -> Tensor:
        rows = np.array([subject.allows(row, "another sequence of these inputs") for row in x.double().numpy()])
        rows[rows] = np.isfinite(right(x[torch.as_tensor(rows)]))
        return torch.as_tensor(rows)

    asked = sequences(alphabet, length, most=most, allowed=allowed, seed=seed)
    if not len(asked):
        raise ProbeError(f"No sequence of length {length} can occur and has a right answer.")
    return AtLength(asked.x, asked.exhaustive, right(asked.x))


def symbols_of(given: Any, x: Tensor, lengths: np.ndarray, tokens: int | None = None) -> dict[str, np.ndarray]:
    """Return what stands for each input that occurs, by `Study.symbols`.

    Where `tokens` ids are embedded, a name may be longer, and without names a token is called by its number.
    """
    features, longest = x.shape[2], 1 if tokens is None else LONGEST
    if tokens is not None:
        given = _names_of_tokens(given, x, lengths, tokens)
    if given is None:
        return {}
    if isinstance(given, str):
        if len(given) != features:
            raise ProbeError(
                f"symbols={given!r} has {several(len(given), 'character')} and the inputs "
                f"{several(features, 'feature')}; a text has one for each feature of one-hot inputs. Otherwise give "
                "a table: symbol = numbers."
            )
        given = dict(zip(given, np.eye(features).tolist(), strict=True))
    if not isinstance(given, Mapping):
        raise ProbeError(f"symbols is a {type(given).__name__}; give a text, or a table: symbol = numbers.")
    symbols: dict[str, np.ndarray] = {}
    for symbol, value in given.items():
        row = np.atleast_1d(_floats(value))
        printed = isinstance(symbol, str) and 1 <= len(symbol) <= longest and symbol.isprintable()
        if not printed or row.shape != (features,) or not np.isfinite(row).all():
            raise ProbeError(
                f"The symbol {str(symbol)[:20]!r} stands for {str(value)[:60]}; a symbol is "
                f"{'one printed character' if tokens is None else f'1 to {LONGEST} printed characters'}, and stands "
                f"for {several(features, 'number')}."
            )
        symbols[symbol] = torch.as_tensor(row).to(x.dtype).numpy()
    rows = {tuple(row.tolist()) for row in symbols.values()}
    if len(rows) < len(symbols):
        raise ProbeError("Two symbols stand for the same input; give each input one.")
    for row, length in enumerate(lengths):
        for step, value in enumerate(x[row, :length].tolist()):
            if tuple(value) not in rows:
                raise ProbeError(
                    f"The input at sequence {row}, step {step} is {str(value)[:60]}, and no symbol stands for it; "
                    "name every input that occurs, or leave symbols out."
                )
    return symbols


def _names_of_tokens(given: Any, x: Tensor, lengths: np.ndarray, tokens: int) -> Any:
    """Return a table symbol -> id, of a text or list that names ids in order; each id that occurs by its number."""
    if given is None:
        there = np.arange(x.shape[1]) < lengths[:, None]
        return {str(int(number)): number for number in np.unique(x[:, :, 0].numpy()[there])}
    if not isinstance(given, (str, list, tuple)):
        return given
    different = len(set(map(str, given)))
    if len(given) > tokens or different < len(given):
        raise ProbeError(
            f"symbols names {several(len(given), 'token')}, {different} of them different, and the network embeds "
            f"{tokens}. Give each id a name of its own, in order, or a table: symbol = id."
        )
    return {name: number for number, name in enumerate(given)}


def _floats(value: Any) -> np.ndarray:
    """Return numbers as an array; NaN for what is none."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return np.full(1, np.nan)


def fixed_of(given: Any, features: int) -> np.ndarray:
    """Return inputs that are held fixed, of `Study.fixed_inputs`, (symbol, feature)."""
    rows = [np.atleast_1d(_floats(value)) for value in given.values()] if isinstance(given, Mapping) else given
    named = not isinstance(given, Mapping) or all(isinstance(name, str) and name.strip() for name in given)
    values = _floats(rows)
    fits = values.ndim == 2 and len(values) > 0 and values.shape[1] == features
    if not named or not fits or not np.isfinite(values).all():
        raise ProbeError(
            f"The fixed inputs are {str(given)[:60]}; they must be finite numbers, (symbol, {features}), as a step "
            "of the inputs has, or a table: name = numbers."
        )
    return values
