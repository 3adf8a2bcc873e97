"""Finds the smallest automaton that gives a table of answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from ...errors import ProbeError

#: Up to how many symbols are looked for one after the other.
_FEW = 16


@dataclass(frozen=True, eq=False)
class LayeredAutomaton:
    """An automaton over sequences of one length, with states of its own for each number of symbols read.

    Attributes:
        transitions: for each position, which state of the next layer follows from (state, symbol).
        outputs: the answer of each state of the last layer, (state,).
        prefixes: for each layer, the state of every prefix in lexicographic order of its symbols.
    """

    transitions: tuple[Int64[np.ndarray, "_ symbol"], ...]
    outputs: np.ndarray
    prefixes: tuple[Int64[np.ndarray, " _"], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many states each layer has, from the empty prefix to the whole sequence."""
        return (*(len(table) for table in self.transitions), len(self.outputs))

    @property
    def size(self) -> int:
        """How many states there are in all layers."""
        return sum(self.sizes)


def minimal_automaton(answers: np.ndarray, symbols: int = 2) -> LayeredAutomaton:
    """Return the smallest layered automaton that gives a table of answers.

    Two prefixes share a state exactly where every suffix has the same answer after both: sequences that a suffix
    tells apart must stand in different states. The count of ones in ten bits has t + 1 states after t bits, 66 in
    all.

    Raises:
        ProbeError: the number of answers is no power of the number of symbols.

    Reference:
        Myhill-Nerode theorem (Nerode 1958, Linear automaton transformations), for words of one length; the backward
        construction is that of ordered decision diagrams (Bryant 1986, section 4).
    """
    table = np.asarray(answers)
    length = _length(table, symbols)
    outputs, below = np.unique(table, return_inverse=True)
    below = below.ravel()
    transitions, prefixes = [], [below]
    for _ in range(length):
        rows, state = np.unique(below.reshape(-1, symbols), axis=0, return_inverse=True)
        below = state.ravel()
        transitions.append(rows)
        prefixes.append(below)
    return LayeredAutomaton(tuple(reversed(transitions)), outputs, tuple(reversed(prefixes)))


def _length(table: np.ndarray, symbols: int) -> int:
    if symbols < 2:
        raise ProbeError(f"symbols={symbols} must be at least 2.")
    length = 0
    while symbols**length < table.size:
        length += 1
    if table.ndim != 1 or symbols**length != table.size:
        raise ProbeError(
            f"The answers have shape {table.shape}; of {symbols} symbols there must be {symbols}^length of them, one "
            "for each sequence of a length, in lexicographic order."
        )
    return length


@dataclass(frozen=True, eq=False)
class Symbols:
    """Inputs as symbols: the alphabet, (symbol, input), ascending, and the codes of sequences, (batch, time)."""

    alphabet: Float[np.ndarray, "symbol input"]
    codes: Int64[np.ndarray, "batch time"]

    @property
    def names(self) -> list[str]:
        """Each symbol in words: `0`, or `0,1` where an input has two features."""
        return [",".join(f"{number:g}" for number in symbol) for symbol in self.alphabet.tolist()]

    def lexicographic(self) -> Int64[np.ndarray, " batch"] | None:
        """Return the order in which the sequences are all those of their length, or None where they are not."""
        batch, time = self.codes.shape
        if len(self.alphabet) < 2 or len(self.alphabet) ** time != batch:
            return None
        place = self.codes @ len(self.alphabet) ** np.arange(time - 1, -1, -1)
        order = np.argsort(place, kind="stable")
        return order if np.array_equal(place[order], np.arange(batch)) else None


def as_symbols(x: Shaped[Tensor, "batch time *input"]) -> Symbols:
    """Return inputs of one length, (batch, time, feature), as symbols: each distinct input of a step is one.

    Raises:
        ProbeError: there is no axis of time, or nothing was read.
    """
    if x.dim() < 2 or not x.numel():
        raise ProbeError(f"The inputs have shape {tuple(x.shape)}; they must be (batch, time, ...) and not empty.")
    values = x.detach().cpu().numpy().reshape(x.shape[0] * x.shape[1], -1).astype(float)
    alphabet, codes = _few_symbols(values) or np.unique(values, axis=0, return_inverse=True)
    return Symbols(alphabet, codes.reshape(x.shape[0], x.shape[1]).astype(np.int64))


def _few_symbols(values: Float[np.ndarray, "place input"]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what `numpy.unique` does of few distinct rows, without sorting all; None where there are many."""
    places: list[np.ndarray] = []
    left = np.ones(len(values), dtype=bool)
    while left.any():
        if len(places) == _FEW:
            return None
        places.append((values == values[left.argmax()]).all(1))
        left &= ~places[-1]
    alphabet, number = np.unique([values[place.argmax()] for place in places], axis=0, return_inverse=True)
    codes = np.zeros(len(values), dtype=np.int64)
    for place, code in zip(places, number.ravel(), strict=True):
        codes[place] = code
    return alphabet, codes


def automaton_of(x: Shaped[Tensor, "batch time *input"], answers: np.ndarray) -> LayeredAutomaton | None:
    """Return the smallest layered automaton that gives the answer to each sequence, its symbols as in `as_symbols`.

    None where the sequences, in any order, are not all of their length: the smallest one depends on the others then.

    Raises:
        ProbeError: the answers are not one for each sequence.
    """
    given = np.asarray(answers)
    if given.shape != (len(x),):
        raise ProbeError(f"The answers have shape {given.shape}; they must be one for each sequence, ({len(x)},).")
    symbols = as_symbols(x)
    order = symbols.lexicographic()
    return None if order is None else minimal_automaton(given[order], len(symbols.alphabet))
