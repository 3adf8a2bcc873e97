"""Gate algebra, noise, and shares: exact ones as their axioms and definition say, and from random orders."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import LEAD, WINS, Reader, Tally, X, machine_of
from refusing import refused

import probe
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.gates import kept_to_the_end
from probe.methods.decomposition.noise import noisy_accuracy
from probe.methods.decomposition.sampled_shares import sampled_shares
from probe.methods.decomposition.shapley import participation, pooled_shares, shapley_values, subsets
from probe.methods.decomposition.units import unit_table

NONE: list[Any] = [
    lambda: kept_to_the_end(machine_of(Reader("rnn"))),  # a plain RNN keeps nothing as it is
    *(
        lambda doses=doses: noisy_accuracy(machine_of(Tally()), WINS[:, -1], doses)
        for doses in ({}, {-0.1: 1}, {math.nan: 1}, {0.1: 0})
    ),
    lambda: sampled_shares(machine_of(Tally()), PAIRS, 3, draws=3),
    lambda: shapley_values(np.zeros(6)),
    lambda: subsets(17),
]


@pytest.mark.parametrize("ask", NONE)
def test_what_has_no_algebra_noise_or_shares_is_refused(ask: Any) -> None:
    """Doses are finite and not negative; six values are no table of subsets, one has no player."""
    with refused():
        ask()


def test_what_is_kept_is_the_product_of_the_later_gates() -> None:
    """The tally's unit keeps all; a random GRU keeps the product of its update gates, and all of its last step."""
    assert kept_to_the_end(machine_of(Tally())).flatten().tolist() == [1.0] * 160
    machine = machine_of(Reader("gru"))
    z, kept = machine.clean.recorded(probe.Signal.UPDATE_GATE), kept_to_the_end(machine)
    assert torch.equal(kept[:, -1], torch.ones_like(kept[:, -1]))
    assert torch.allclose(kept[:, 1], z[:, 2] * z[:, 3] * z[:, 4], atol=1e-14, rtol=0)


def test_noise_is_scaled_by_each_numbers_own_sd() -> None:
    """The tally's accuracy under noise is that of its formulas, c + sd e, drawn here by other numbers, to .02."""
    dose, draws, generator = 0.3, 2000, np.random.default_rng(5)
    count = WINS.numpy()
    c = np.repeat(0.1 * count[None, :, 0], draws, 0)
    h = c
    for step in range(5):
        c = c + 0.1 * (count[:, step] - count[:, max(step - 1, 0)])
        h = np.tanh(c) + dose * np.tanh(0.1 * count[:, step]).std() * generator.standard_normal(c.shape)
        c = c + dose * (0.1 * count[:, step]).std() * generator.standard_normal(c.shape)
    levels = np.tanh(0.1 * np.arange(6))
    wanted = (np.abs(h[..., None] - levels).argmin(-1) == count[:, -1]).mean()
    found = noisy_accuracy(machine_of(Tally(idle=2)), WINS[:, -1], {dose: 120})[dose]
    assert found == pytest.approx(wanted, abs=0.02)
    assert 0.5 < found < 0.9


def test_without_noise_answers_are_the_models_own_and_doses_share_one_noise() -> None:
    """Dose 0 is the accuracy of the clean run; another seed gives another number, the same seed the same."""
    machine = machine_of(Tally())
    first = noisy_accuracy(machine, WINS[:, -1], {0.0: 5, 0.3: 20}, seed=1)
    assert (first[0.0], noisy_accuracy(machine, WINS[:, -1], {0.3: 20}, seed=1)[0.3]) == (1, first[0.3])
    assert noisy_accuracy(machine, WINS[:, -1], {0.3: 20}, seed=2)[0.3] != first[0.3]
    assert noisy_accuracy(machine, WINS[:, -1] + 1, {0.0: 2})[0.0] == 0


PAIRS = changed_at(X, LEAD, 1, 3)


def test_intervals_hold_the_exact_shares_as_often_as_they_say() -> None:
    """Of 10 units and 40 seeds 95 % of the intervals, give or take 4 %, hold the share of all 1,024 subsets."""
    machine = machine_of(Reader("gru", 10))
    exact = pooled_shares(*unit_table(machine, PAIRS, 3))
    held, negative, taking_part = [], [], []
    for seed in range(40):
        found = sampled_shares(machine, PAIRS, 3, draws=64, seed=seed)
        assert found.values.sum() == pytest.approx(1)
        assert found.orders == 128
        held += ((found.low <= exact.values) & (exact.values <= found.high)).tolist()
        negative.append(found.negative)
        taking_part.append(1 / found.participation)
    assert 0.91 <= np.mean(held) <= 0.99
    # Clipped and squared shares of noisy numbers are too large; halves of the draws are not, on average.
    error = 3 * np.std(negative) / np.sqrt(len(negative))
    assert np.mean(negative) <= exact.negative + error
    error = 3 * np.std(taking_part) / np.sqrt(len(taking_part))
    assert np.mean(taking_part) == pytest.approx(1 / exact.participation, abs=error + 0.02)


def test_groups_and_seeds_are_used() -> None:
    """Two groups of all units share everything; another seed draws other orders; units of no group stay."""
    machine = machine_of(Reader("lstm", 6))
    exact = pooled_shares(*unit_table(machine, PAIRS, 3, groups=[[0, 1, 2], [3, 4]]))
    found = sampled_shares(machine, PAIRS, 3, draws=400, groups=[[0, 1, 2], [3, 4]])
    assert found.values == pytest.approx(exact.values, abs=0.1)
    one, other = (sampled_shares(machine, PAIRS, 3, draws=8, seed=seed).values for seed in (0, 1))
    assert one.tolist() != other.tolist()


def test_differences_that_cancel_have_no_shares() -> None:
    """A pair and the same the other way round: the whole is rounding, shares of it would be any numbers."""
    base, source = (np.concatenate(part) for part in (PAIRS, PAIRS[::-1]))
    model = Reader("gru")
    torch.nn.init.zeros_(model.head.weight)
    found = sampled_shares(machine_of(model), (base, source), 3, draws=8)
    assert np.isnan([*found.values, *found.low, found.negative, found.participation]).all()
    exact = pooled_shares(np.array([[0.0, 1, 0, 1], [1.0, 0, 1, 0]]))
    assert np.isnan(exact.values).all()
    assert exact.whole == 0


def by_definition(table: np.ndarray) -> np.ndarray:
    """Return what each player adds on joining, averaged over all orders of joining."""
    players = len(table).bit_length() - 1
    orders = list(permutations(range(players)))
    values = np.zeros(players)
    for order in orders:
        subset = 0
        for player in order:
            values[player] += table[subset | 1 << player] - table[subset]
            subset |= 1 << player
    return values / len(orders)


@pytest.mark.parametrize("players", [1, 2, 4])
def test_the_values_are_the_mean_over_all_orders_of_joining(players: int) -> None:
    """Random tables with two leading axes give the definition's values to 1e-12, and sum to the whole."""
    tables = np.random.default_rng(players).normal(size=(2, 3, 2**players))
    found = shapley_values(tables)
    wanted = np.apply_along_axis(by_definition, 2, tables)
    assert found.shape == (2, 3, players)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(found.sum(2), tables[..., -1] - tables[..., 0], atol=1e-12)


def test_shares_over_contexts_are_sums_over_sums() -> None:
    """A context in which little changes weighs little: (3 + 0) / (3 + .5) and not the mean of 1 and 0."""
    table = np.array([[0, 3, 0, 3], [1, 1, 1.5, 1.5]])
    shares = pooled_shares(table)
    assert shares.values.tolist() == pytest.approx([3 / 3.5, 0.5 / 3.5])
    assert shares.whole == pytest.approx(1.75)
    assert participation(np.full(4, 0.25)) == pytest.approx(4)
    assert participation(np.array([2.0, -1.0])) == pytest.approx(1 / 5)
    assert pooled_shares(table, np.array([1.0, 3.0])).values.tolist() == pytest.approx([3 / 4.5, 1.5 / 4.5])
    own = [3, -1.5, -0.5]
    against = pooled_shares((subsets(3) @ own)[None])
    assert against.values.tolist() == pytest.approx(own)
    assert against.negative == pytest.approx(2)
