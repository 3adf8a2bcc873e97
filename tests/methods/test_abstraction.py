"""Small machines in place of a network: automata of a table, programs, and runs on a few states."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

from probe.methods.abstraction.automata import LayeredAutomaton, as_symbols, automaton_of, minimal_automaton
from probe.methods.abstraction.programs import Drifting, agreement, as_tuples, run_program, sequences
from probe.methods.abstraction.quantised import RIDGE, class_means, quantised_run, share_equal
from probe.methods.machines import Machine


def words(length: int, symbols: int = 2) -> np.ndarray:
    """Return all sequences of symbols in lexicographic order, (symbols^length, length)."""
    return np.array(list(itertools.product(range(symbols), repeat=length)))


def run(automaton: LayeredAutomaton, word: list[int]) -> Any:
    """Return the answer to one sequence of symbols."""
    state = 0
    for table, symbol in zip(automaton.transitions, word, strict=True):
        state = int(table[state, symbol])
    return automaton.outputs[state]


@pytest.mark.parametrize(("symbols", "length"), [(2, 5), (3, 3), (2, 0)])
def test_random_tables_are_given_back_by_the_fewest_states(symbols: int, length: int) -> None:
    """Every answer comes back, and two prefixes share a state exactly where no suffix tells them apart."""
    counts = words(length, symbols).sum(1)
    for seed in range(20):
        table = np.random.default_rng(seed).integers(0, 2, symbols**length) if seed else counts
        automaton = minimal_automaton(table, symbols)
        given = [run(automaton, word) for word in words(length, symbols).tolist()]
        assert given == table.tolist()
        for layer, states in enumerate(automaton.prefixes):
            suffixes = table.reshape(symbols**layer, -1)
            same = (suffixes[:, None] == suffixes[None]).all(2)
            assert np.array_equal(states[:, None] == states[None], same)
            assert automaton.sizes[layer] == len({row.tobytes() for row in suffixes})
        assert automaton.size == sum(automaton.sizes)


@pytest.mark.parametrize("many", [3, 40])
def test_inputs_of_several_features_are_symbols_in_ascending_order(many: int) -> None:
    """Looked for one after the other or sorted, the alphabet and the codes are those of numpy.unique."""
    x = torch.as_tensor(np.random.default_rng(1).integers(-many, many, (50, 4, 2)) / 3)
    alphabet, codes = np.unique(x.numpy().reshape(200, 2), axis=0, return_inverse=True)
    symbols = as_symbols(x)
    assert np.array_equal(symbols.alphabet, alphabet)
    assert np.array_equal(symbols.codes.ravel(), codes.ravel())
    assert as_symbols(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).names == ["0,1", "1,0"]


def test_the_automaton_is_of_the_sequences_in_any_order() -> None:
    """The rows are sorted first; the automaton is that of the count of wins."""
    bits = torch.as_tensor(words(4))
    order = torch.as_tensor(np.random.default_rng(0).permutation(16))
    automaton: Any = automaton_of(torch.stack([bits, 1 - bits], -1).float()[order], bits.sum(1).numpy()[order])
    assert (automaton.sizes, run(automaton, [1, 1, 0, 1])) == ((1, 2, 3, 4, 5), 3)
    # A missing sequence could have any answer, and one that occurs twice two.
    x = torch.as_tensor(words(3)).float()[:, :, None]
    assert automaton_of(x[1:], np.zeros(7)) is None
    assert automaton_of(x[[0, 0, 2, 3, 4, 5, 6, 7]], np.zeros(8)) is None


BITS = torch.tensor([[0.0], [1.0]])


def test_all_sequences_are_asked_where_they_are_few_enough_and_others_drawn() -> None:
    """Each once, in lexicographic order; drawn ones follow the seed; those that are not allowed are left out."""
    every = sequences(BITS, 3)
    assert every.exhaustive
    assert every.x[:, :, 0].tolist() == words(3).tolist()
    some = sequences(BITS, 3, allowed=lambda x: x[:, :, 0].sum(1) <= 1)
    assert some.exhaustive
    assert some.x[:, :, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]
    options: dict[str, Any] = {"most": 50, "allowed": lambda x: x[:, :, 0].sum(1) >= 4}
    drawn, again, other = (sequences(BITS, 8, seed=seed, **options) for seed in (0, 0, 1))
    assert (drawn.exhaustive, len(drawn)) == (False, 50)
    assert torch.equal(drawn.x, again.x)
    assert not torch.equal(drawn.x, other.x)
    assert bool((drawn.x[:, :, 0].sum(1) >= 4).all())


def test_programs_take_tuples_of_numbers_or_of_features() -> None:
    """Whole numbers are whole; a step of several features is a tuple."""
    assert as_tuples(torch.tensor([[[0.5], [1.0]]])) == [(0.5, 1.0)]
    assert as_tuples(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])) == [((0, 1), (1, 0))]
    given = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]])
    assert run_program("runs", lambda bits: "".join(map(str, bits)).count("01"), given).tolist() == [2, 0]


def test_agreement_counts_nearest_whole_numbers_with_an_exact_interval() -> None:
    """Half-way answers have two nearest; drawn sequences get Clopper and Pearson's interval."""
    found = agreement(np.array([3, 4, 5, 2]), np.array([3.5, 3.5, 3.5, 2.4]))
    assert (found.share, found.interval, found.sequences) == (0.75, (0.75, 0.75), 4)
    assert agreement(np.array([3, 4]), np.array([3.6, 3.4])).share == 0
    drawn = agreement(np.zeros(10), np.zeros(10), exhaustive=False)
    assert drawn.share == 1
    assert drawn.interval == (pytest.approx(0.025 ** (1 / 10)), 1)


LENGTH = 4
READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}


class Sum(nn.Module):
    """A plain RNN that adds up its input in one unit, 0.01 a one, and remembers the last bit in another."""

    def __init__(self, memory: float = 1.0):
        super().__init__()
        self.rnn = nn.RNN(1, 2, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0")[0, 0] = 1
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[0.01], [memory]]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the count, (batch)."""
        return self.rnn(x)[0][:, -1, 0] * 100


X = torch.as_tensor(words(LENGTH)).double()[:, :, None]
COUNT = X[:, :, 0].cumsum(1)


@pytest.mark.parametrize("by_step", [True, False])
def test_class_means_are_over_prefixes_and_scaled_by_their_spread(by_step: bool) -> None:
    """Worked out by hand from the recorded states; the sizes count the state before the first input once."""
    machine = Machine.of(Sum(), X, **READ)
    book = class_means(machine, COUNT, by_step=by_step)
    assert book.size == (1 + 2 + 3 + 4 + 5 if by_step else 5)
    prefixes = [machine.clean.states[:: 2 ** (LENGTH - step - 1), step] for step in range(LENGTH)]
    counts = [COUNT[:: 2 ** (LENGTH - step - 1), step] for step in range(LENGTH)]
    if by_step:
        assert torch.allclose(book.means[2][1], prefixes[2][counts[2] == 1].mean(0), atol=1e-15)
        assert torch.allclose(book.scales[2], prefixes[2].std(0, correction=0), atol=1e-15)
    else:
        sums = [(p[c == 1].sum(0) / len(p), (c == 1).double().mean()) for p, c in zip(prefixes, counts, strict=True)]
        wanted = sum(total for total, _ in sums) / sum(weight for _, weight in sums)
        for step in range(LENGTH):
            assert torch.allclose(book.means[step][1], torch.as_tensor(wanted), atol=1e-15)


def test_every_step_goes_on_from_the_mean_and_not_from_the_state() -> None:
    """A step by step run by hand: mean, advance, nearest in units of the spread."""
    machine = Machine.of(Sum(), X, **READ)
    book = class_means(machine, COUNT)
    run = quantised_run(machine, book)
    for row in range(len(X)):
        state, seen = torch.zeros(2, dtype=torch.float64), []
        for step in range(LENGTH):
            state = torch.stack([state[0] + 0.01 * X[row, step, 0], X[row, step, 0]]).tanh()
            distance = (((state - book.means[step]) / book.scales[step]) ** 2).sum(1)
            state = book.means[step][distance.argmin()]
            seen.append(float(book.values[step][distance.argmin()]))
        assert run.values[row].tolist() == seen
        assert float(run.answers.expected[row]) == pytest.approx(float(state[0]) * 100, abs=1e-12)
    assert not torch.equal(run.values, COUNT), "the memory of the last bit must mislead some runs"


def test_a_number_that_does_not_vary_does_not_decide() -> None:
    """An idle unit that is constant up to rounding gets no weight, however little it varies."""
    machine = Machine.of(Sum(memory=1e-17), X, **READ)
    book = class_means(machine, COUNT)
    assert [float(scale[1]) for scale in book.scales] == [math.inf] * LENGTH
    assert torch.equal(quantised_run(machine, book).values, COUNT)
    assert share_equal(torch.tensor([1, 2, 3, 4]), torch.tensor([1.0, 2.0, 0.0, 4.0])) == 0.75


def test_a_whitened_distance_is_that_of_mahalanobis_and_not_misled_by_a_memory() -> None:
    """The memory of the last bit varies within a count, and the sum does not: whitened, runs stay on the count.

    By hand: what the nearest is by (C + ridge)^-1, C the pooled covariance within counts of numbers in units of sd.
    """
    machine = Machine.of(Sum(), X, **READ)
    book = class_means(machine, COUNT, metric="whitened")
    run = quantised_run(machine, book)
    assert torch.equal(run.values, COUNT)
    assert not torch.equal(quantised_run(machine, class_means(machine, COUNT)).values, COUNT)
    rng = np.random.default_rng(0)
    for step in range(LENGTH):
        rows = slice(None, None, 2 ** (LENGTH - step - 1))
        states, counts = machine.clean.states[rows, step].numpy(), COUNT[rows, step].numpy()
        means = np.array([states[counts == value].mean(0) for value in range(step + 2)])
        scale = states.std(0)
        left = (states - means[counts.astype(int)]) / scale
        inverse = np.linalg.inv(left.T @ left / len(left) + RIDGE * np.eye(2))
        given = means[0] + rng.normal(size=(200, 2)) * scale
        apart = (given[:, None] - means) / scale
        wanted = np.einsum("nmi,ij,nmj->nm", apart, inverse, apart).argmin(1)
        assert book.nearest(torch.as_tensor(given), step)[1].tolist() == wanted.tolist()


def test_what_cannot_be_abstracted_is_refused() -> None:
    """The messages say what was given and what is allowed."""
    machine = Machine.of(Sum(), X, **READ)
    shorter = class_means(Machine.of(Sum(), X[::2, :3], **READ), COUNT[::2, :3])
    text: Any = lambda _: "three"  # noqa: E731
    cases: list[Any] = [
        lambda: minimal_automaton(np.zeros(6)),
        lambda: minimal_automaton(np.zeros(1), 1),
        lambda: automaton_of(torch.zeros(4, 2, 1), np.zeros(3)),
        lambda: as_symbols(torch.zeros(0, 2, 1)),
        lambda: sequences(BITS, 0),
        lambda: sequences(BITS, 20, most=10, allowed=lambda x: x[:, 0, 0] > 1),
        lambda: run_program("words", text, torch.zeros(2, 2)),
        lambda: run_program("nothing", lambda _: float("nan"), torch.zeros(2, 2)),
        lambda: agreement(np.zeros(2), np.zeros(3)),
        lambda: Drifting(sum, 6, (4,)).drift({}, {}),
        lambda: Drifting(sum, 6, (6,)).drift({6: np.zeros(1)}, {6: np.zeros(1)}),
        lambda: class_means(machine, COUNT[:, :3]),
        lambda: class_means(machine, COUNT, metric="whitend"),
        lambda: quantised_run(machine, shorter),
    ]
    for ask in cases:
        with refused():
            ask()
