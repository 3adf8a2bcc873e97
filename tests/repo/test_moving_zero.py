"""Whether a cell holds the count up to a shift of each step: what planted cells must give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.counter import common, moving_zero, one_cell
from models import planted
from probe.evidence.measurements import Network, only
from probe.methods.probing.monotone import each_unit_read, each_unit_read_beside_a_clock

BUILT = {
    "ones": planted.ones_counter(distractors=0),
    "drift": planted.drift_counter(0.5, distractors=0),
    "zeros": planted.zeros_counter(distractors=0),
    "delay-line": planted.delay_line(distractors=0),
}


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    """Return a counter with its controls, and planted networks."""
    built = [Network(f"planted/{name}", "planted", model) for name, model in BUILT.items()]
    return [*common.with_controls("counter", 2000), *built]


@pytest.fixture(scope="module")
def table(networks: list[Network]) -> pd.DataFrame:
    """Return what was measured of them."""
    return moving_zero.QUESTION.ask(common.subjects(networks))


def test_counts_with_any_program_are_read_and_single_bits_are_not(table: pd.DataFrame) -> None:
    """n1, n1 - t / 2 and n1 - t are the ones with a zero that moves; a delay line's cell knows one bit."""
    best = only(table, metric="best_shifted_read", role="planted").set_index("network")["value"]
    for name in ("ones", "drift", "zeros"):
        # The strings of ten ones and of ten zeros are one prefix each: held out, no map has seen them.
        assert best[f"planted/{name}"] == pytest.approx(1, abs=1e-3)
    assert best["planted/delay-line"] < 0.5
    assert set(table["role"]) == {"trained", "own initialisation", "planted"}


def test_the_correlation_is_over_all_steps_and_signless(table: pd.DataFrame) -> None:
    """Of the zeros-counter, whose cell falls with zeros, it is that of n1 and n1 - t over 1 to 10 fair bits."""
    r = only(table, metric="best_correlation", role="planted").set_index("network")["value"]
    assert r["planted/ones"] == pytest.approx(1, abs=1e-3)
    # Every length has the same weight: over t the variance of n1 is E[t]/4 + Var[t]/4, of n0 the same.
    steps = np.arange(1, 11)
    within, between = steps.mean() / 4, steps.var() / 4
    assert r["planted/zeros"] == pytest.approx((between - within) / (between + within), abs=0.01)


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
    # Whatever the steps are called.
    assert read == pytest.approx(each_unit_read_beside_a_clock(states, count, 10 * step + 3, [split], weight))


def test_a_gain_that_changes_by_step_is_no_shift() -> None:
    """Where a step doubles the count in the unit, no shift makes one map of all steps."""
    _, count, step, split = made(np.zeros(6))
    states = np.column_stack([count * (1 + step)])
    read = each_unit_read_beside_a_clock(states, count, step, [split], np.full(600, 1 / 600))
    assert read[0] < 0.9


def test_every_training_part_has_every_step() -> None:
    """A shift of a step that no fitted state has would be a guess."""
    bits = np.repeat(np.arange(1, 11), 2 ** np.arange(1, 11))
    parts = moving_zero._split(bits, seed=3)
    assert len(parts) == one_cell.PARTS
    assert sorted(np.concatenate(parts)) == list(range(len(bits)))
    for held_out in parts:
        assert set(np.delete(bits, held_out)) == set(range(1, 11))
