"""Whether a cell holds the count up to a shift of each step, on states that were made."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.counter import moving_zero, one_cell
from probe.methods.probing.monotone import each_unit_read, each_unit_read_beside_a_clock


def made(shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return states whose first unit is a bent count beside a shift of each step, and whose second is noise."""
    rng = np.random.default_rng(0)
    step, count = rng.integers(0, 6, 600), rng.integers(0, 5, 600).astype(float)
    states = np.column_stack([-np.tanh(0.2 * (count + shift[step])), rng.normal(size=600)])
    return states, count, step, np.array_split(rng.permutation(600), 4)


def test_a_shift_of_each_step_is_found_and_no_more() -> None:
    """A zero that jumps back and forth is followed, where one map without shifts fails; noise is not read."""
    states, count, step, split = made(np.array([0, 3.0, -2, 1, 4, -1]))
    weight = np.full(600, 1 / 600)
    read = each_unit_read_beside_a_clock(states, count, step, [split], weight)
    plain = each_unit_read(states, count, [split], weight)
    assert read[0] > 0.95
    assert plain[0] < 0.6
    assert read[1] < 0.4
    # Where a step doubles the count in the unit, no shift makes one map of all steps.
    gained = np.column_stack([count * (1 + step)])
    assert each_unit_read_beside_a_clock(gained, count, step, [split], weight)[0] < 0.9
    # Whatever the steps are called.
    assert read == pytest.approx(each_unit_read_beside_a_clock(states, count, 10 * step + 3, [split], weight))


def test_every_training_part_has_every_step() -> None:
    """A shift of a step that no fitted state has would be a guess."""
    bits = np.repeat(np.arange(1, 11), 2 ** np.arange(1, 11))
    parts = moving_zero._split(bits, seed=3)
    assert len(parts) == one_cell.PARTS
    assert sorted(np.concatenate(parts)) == list(range(len(bits)))
    for held_out in parts:
        assert set(np.delete(bits, held_out)) == set(range(1, 11))
