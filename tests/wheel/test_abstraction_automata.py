"""The smallest layered automaton of a table: known sizes, and brute force over every pair of prefixes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from probe import ProbeError
from probe.methods.abstraction.automata import as_symbols, automaton_of, minimal_automaton


def words(length: int, symbols: int = 2) -> np.ndarray:
    """Return all sequences of symbols in lexicographic order, (symbols^length, length)."""
    return np.array(list(itertools.product(range(symbols), repeat=length)))


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        (words(6).sum(1) % 2, (1, 2, 2, 2, 2, 2, 2)),
        (words(6).sum(1), (1, 2, 3, 4, 5, 6, 7)),
        (words(6)[:, -1], (1, 1, 1, 1, 1, 1, 2)),
        (words(6)[:, 0], (1, 2, 2, 2, 2, 2, 2)),
        (words(3)[:, 0] * 4 + words(3)[:, 1] * 2 + words(3)[:, 2], (1, 2, 4, 8)),
        (np.zeros(8, int), (1, 1, 1, 1)),
        (np.array([7]), (1,)),
    ],
    ids=["parity", "count", "last bit", "first bit", "the sequence itself", "nothing", "no bits"],
)
def test_known_tables_have_their_known_sizes(table: np.ndarray, sizes: tuple[int, ...]) -> None:
    """Each layer holds what must be remembered there and nothing more."""
    automaton = minimal_automaton(table)
    assert automaton.sizes == sizes
    assert automaton.size == sum(sizes)


def test_the_count_of_ten_bits_has_66_states() -> None:
    """t + 1 states after t bits, from 0 to 10."""
    automaton = minimal_automaton(words(10).sum(1))
    assert automaton.sizes == tuple(range(1, 12))
    assert automaton.size == 66


@pytest.mark.parametrize(("symbols", "length"), [(2, 5), (3, 3)])
def test_random_tables_are_given_back_by_the_fewest_states(symbols: int, length: int) -> None:
    """Every answer comes back, and two prefixes share a state exactly where no suffix tells them apart."""
    for seed in range(20):
        table = np.random.default_rng(seed).integers(0, 2, symbols**length)
        automaton = minimal_automaton(table, symbols)
        given = [automaton.run(word) for word in words(length, symbols).tolist()]
        assert given == table.tolist()
        for layer, states in enumerate(automaton.prefixes):
            suffixes = table.reshape(symbols**layer, -1)
            same = (suffixes[:, None] == suffixes[None]).all(2)
            assert np.array_equal(states[:, None] == states[None], same)
            assert automaton.sizes[layer] == len({row.tobytes() for row in suffixes})


def test_inputs_of_two_features_in_any_order_are_symbols() -> None:
    """The rows are sorted first; the automaton is that of the count of wins."""
    bits = torch.as_tensor(words(4))
    x = torch.stack([bits, 1 - bits], -1).float()
    order = torch.as_tensor(np.random.default_rng(0).permutation(16))
    automaton = automaton_of(x[order], bits.sum(1).numpy()[order])
    assert automaton is not None
    assert automaton.sizes == (1, 2, 3, 4, 5)
    assert automaton.run([1, 1, 0, 1]) == 3
    symbols = as_symbols(x)
    assert symbols.alphabet.tolist() == [[0, 1], [1, 0]]
    assert symbols.names == ["0,1", "1,0"]
    assert np.array_equal(symbols.codes, bits)


@pytest.mark.parametrize("many", [3, 40])
def test_few_and_many_symbols_are_numbered_in_ascending_order(many: int) -> None:
    """Looked for one after the other or sorted, the alphabet and the codes are those of numpy.unique."""
    x = torch.as_tensor(np.random.default_rng(1).integers(-many, many, (50, 4, 2)) / 3)
    alphabet, codes = np.unique(x.numpy().reshape(200, 2), axis=0, return_inverse=True)
    symbols = as_symbols(x)
    assert np.array_equal(symbols.alphabet, alphabet)
    assert np.array_equal(symbols.codes.ravel(), codes.ravel())
    few = as_symbols(x.sign())
    assert np.array_equal(few.alphabet, np.unique(x.sign().numpy().reshape(200, 2), axis=0))
    assert np.array_equal(few.alphabet[few.codes], x.sign().numpy())


def test_inputs_that_are_not_all_have_no_smallest_automaton() -> None:
    """A missing sequence could have any answer, and one that occurs twice two."""
    x = torch.as_tensor(words(3)).float()[:, :, None]
    assert automaton_of(x[1:], np.zeros(7)) is None
    assert automaton_of(x[[0, 0, 2, 3, 4, 5, 6, 7]], np.zeros(8)) is None
    assert automaton_of(torch.zeros(1, 3, 1), np.zeros(1)) is None


def test_what_is_no_table_is_refused() -> None:
    """The messages say what was given and what is allowed."""
    with pytest.raises(ProbeError, match=r"shape \(6,\); of 2 symbols"):
        minimal_automaton(np.zeros(6))
    with pytest.raises(ProbeError, match="symbols=1 must be at least 2"):
        minimal_automaton(np.zeros(1), 1)
    with pytest.raises(ProbeError, match=r"shape \(3,\); they must be one for each sequence, \(4,\)"):
        automaton_of(torch.zeros(4, 2, 1), np.zeros(3))
    with pytest.raises(ProbeError, match=r"shape \(0, 2, 1\)"):
        as_symbols(torch.zeros(0, 2, 1))
    automaton = minimal_automaton(words(3).sum(1))
    with pytest.raises(ProbeError, match="reads 3 symbols and was given 2"):
        automaton.run([0, 1])
    with pytest.raises(ProbeError, match="symbol 2 does not exist; allowed are 0 to 1"):
        automaton.run([0, 1, 2])
