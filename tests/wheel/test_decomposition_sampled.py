"""Shares from random orders: they sum to 1, their intervals hold the exact share as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_machines import LEAD, READ, WINS, Reader, Tally, X, machine_of
from torch import Tensor, nn

from probe import ProbeError
from probe.methods.decomposition.contexts import changed_at, with_changed_input
from probe.methods.decomposition.sampled_shares import sampled_shares
from probe.methods.decomposition.shapley import pooled_shares
from probe.methods.decomposition.units import unit_table
from probe.methods.machines import Machine

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


def test_a_tally_among_many_idle_units_has_all_of_the_difference_in_every_order() -> None:
    """Where a unit adds the same whenever it joins, one draw is as good as all, and intervals have no width."""
    found = sampled_shares(machine_of(Tally(idle=30)), changed_at(X, WINS, 1, 3), 3, draws=8)
    assert found.values.tolist() == pytest.approx([1, *[0] * 30], abs=1e-9)
    assert (found.high - found.low).max() < 1e-9
    assert (found.negative, found.participation) == pytest.approx((0, 1), abs=1e-9)


def test_groups_and_seeds_are_used_and_too_few_draws_refused() -> None:
    """Two groups of all units share everything; another seed draws other orders; units of no group stay."""
    machine = machine_of(Reader("lstm", 6))
    exact = pooled_shares(*unit_table(machine, PAIRS, 3, groups=[[0, 1, 2], [3, 4]]))
    found = sampled_shares(machine, PAIRS, 3, draws=400, groups=[[0, 1, 2], [3, 4]])
    assert found.values == pytest.approx(exact.values, abs=0.1)
    one, other = (sampled_shares(machine, PAIRS, 3, draws=8, seed=seed).values for seed in (0, 1))
    assert one.tolist() != other.tolist()
    with pytest.raises(ProbeError, match="draws=3 of 6 players"):
        sampled_shares(machine, PAIRS, 3, draws=3)


def test_differences_that_cancel_have_no_shares() -> None:
    """A pair and the same the other way round."""
    base, source = (np.concatenate(part) for part in (PAIRS, PAIRS[::-1]))
    machine = machine_of(Nothing())
    found = sampled_shares(machine, (base, source), 3, draws=8)
    assert np.isnan([*found.values, *found.low, found.negative, found.participation]).all()


class Nothing(nn.Module):
    """A GRU that nothing is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same scores for all, (batch, 6)."""
        return self.rnn(x)[0][:, -1] @ torch.zeros(3, 6).to(x)


@pytest.mark.parametrize("changed", [0, 2, 4])
def test_copies_with_another_input_run_as_if_they_had_been_given(changed: int) -> None:
    """States and answers after the changed input are those of a machine over the changed sequences."""
    model, rows = Reader("lstm"), np.array([0, 3, 3, 9])
    swapped = X[rows].clone()
    swapped[:, changed] = X[rows, changed].flip(1)
    machine = machine_of(model)
    more = with_changed_input(machine, rows, changed, swapped[:, changed].double())
    wanted = Machine.of(model, torch.cat([X, swapped]), **READ)
    torch.testing.assert_close(more.clean.states, wanted.clean.states, rtol=0, atol=1e-12)
    torch.testing.assert_close(more.clean.answers.expected, wanted.clean.answers.expected, rtol=0, atol=1e-12)
    assert torch.equal(more.clean.inputs, wanted.clean.inputs)
    assert torch.equal(machine.clean.inputs, X.double())
