"""Exact Shapley values: equal to their definition, and what they must give by their axioms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from probe import ProbeError
from probe.methods.decomposition.shapley import participation, pooled_shares, shapley_values, subsets


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


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5])
def test_the_values_are_the_mean_over_all_orders_of_joining(players: int) -> None:
    """Random tables with two leading axes give the definition's values to 1e-12, and sum to the whole."""
    tables = np.random.default_rng(players).normal(size=(2, 3, 2**players))
    found = shapley_values(tables)
    assert found.shape == (2, 3, players)
    wanted = np.apply_along_axis(by_definition, 2, tables)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(found.sum(2), tables[..., -1] - tables[..., 0], atol=1e-12)


def test_equal_players_share_alike_and_one_that_adds_nothing_has_nothing() -> None:
    """Players 0 and 2 are exchangeable, player 1 is a null player: an and-game gives 1/2, 0, 1/2."""
    members = subsets(3)
    assert members[0b110].tolist() == [False, True, True]
    found = shapley_values((members[:, 0] & members[:, 2]).astype(float))
    assert found.tolist() == pytest.approx([0.5, 0, 0.5], abs=1e-15)


def test_the_majority_game_has_the_textbooks_values() -> None:
    """Weights 3, 1, 1, 1 with a quota of 4: the large player decides in three of four places, 3/4."""
    weights = np.array([3, 1, 1, 1])
    found = shapley_values((subsets(4) @ weights >= 4).astype(float))
    assert found.tolist() == pytest.approx([3 / 4, 1 / 12, 1 / 12, 1 / 12])


def test_twelve_players_add_up() -> None:
    """An additive game gives each player its own number, whichever the order."""
    own = np.random.default_rng(0).normal(size=12)
    assert shapley_values(subsets(12) @ own).tolist() == pytest.approx(own.tolist(), abs=1e-12)


def test_participation_counts_equal_players() -> None:
    """Four equal shares are four players, one share is one; shares against each other make it small."""
    assert participation(np.full(4, 0.25)) == pytest.approx(4)
    assert participation(np.array([1.0, 0.0])) == 1
    assert participation(np.array([2.0, -1.0])) == pytest.approx(1 / 5)


def test_shares_over_contexts_are_sums_over_sums() -> None:
    """A context in which little changes weighs little: (3 + 0) / (3 + .5) and not the mean of 1 and 0."""
    table = np.array([[0, 3, 0, 3], [1, 1, 1.5, 1.5]])
    shares = pooled_shares(table)
    assert shares.values.tolist() == pytest.approx([3 / 3.5, 0.5 / 3.5])
    assert shares.whole == pytest.approx(1.75)
    weighted = pooled_shares(table, np.array([1.0, 3.0]))
    assert weighted.values.tolist() == pytest.approx([3 / 4.5, 1.5 / 4.5])
    assert weighted.negative == 0


def test_negative_shares_are_summed_as_a_positive_number() -> None:
    """Shares 3, -1.5, -.5 have 2 against them."""
    own = np.array([3, -1.5, -0.5])
    shares = pooled_shares((subsets(3) @ own)[None])
    assert shares.values.tolist() == pytest.approx(own.tolist())
    assert shares.negative == pytest.approx(2)


def test_differences_that_cancel_have_no_shares() -> None:
    """Where the whole is rounding, shares of it would be any numbers: NaN."""
    shares = pooled_shares(np.array([[0.0, 1, 0, 1], [1.0, 0, 1, 0]]))
    assert np.isnan(shares.values).all()
    assert shares.whole == 0


def test_a_table_that_is_not_of_all_subsets_is_refused() -> None:
    """Six values are no table, one value has no player, and 17 players have too many subsets."""
    with pytest.raises(ProbeError, match="A table of 6 values"):
        shapley_values(np.zeros(6))
    with pytest.raises(ProbeError, match="A table of 1 values"):
        shapley_values(np.zeros(1))
    with pytest.raises(ProbeError, match=r"17 players have 2\^17 subsets.*groups="):
        subsets(17)
    with pytest.raises(ProbeError, match="0 players"):
        subsets(0)
