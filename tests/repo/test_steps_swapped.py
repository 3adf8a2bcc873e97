"""Two directions from step to step: what planted networks carry is known, and a count of ones is kept as it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from tables_read import value

from analyses.counter import common, steps_swapped
from probe.subjects.subject import Subject


def subject(name: str) -> Subject:
    """Return a planted network."""
    return common.subjects(common.planted_networks([name]))[0]


def measured(name: str) -> pd.DataFrame:
    """Return what is measured of a planted network."""
    return steps_swapped.measure([subject(name)])


@pytest.mark.parametrize(("name", "drift"), [("ones", 0.0), ("drift-0.5", 0.5), ("zeros", 1.0)])
def test_a_whole_state_in_another_step_is_a_string_of_another_length(name: str, drift: float) -> None:
    """The answer is ones + d (t - s), pair by pair: the source's bits so far and the base's from there on."""
    one = subject(name)
    swaps = steps_swapped.drawn(one, 5, (3, 7), 300, np.random.default_rng(0))
    bits = common.STRINGS[:, :, 0]
    for answer, offset, source, base, step in zip(
        swaps.answers()[0], swaps.offset(drift), swaps.source, swaps.base, swaps.steps, strict=True
    ):
        spliced = torch.cat([bits[source, : step + 1], bits[base, 6:]])
        assert float(offset) == float(spliced.sum()) + drift * (10 - len(spliced))
        assert abs(float(answer - offset)) <= 0.5
    targets = torch.stack([*swaps.targets().values()])
    assert targets.min() >= 0
    assert targets.max() <= 10
    assert len(swaps.base) > 250


def test_directions_of_a_counter_of_ones_carry_the_ones() -> None:
    """Whole and two directions alike: a = 0, which is its own drift; no two carry a count of zeros."""
    table = measured("ones")
    assert value(table, "drift") == pytest.approx(0, abs=1e-3)
    assert min(value(table, f"swapped_{name}") for name in ("ones", "own")) > 0.99
    assert value(table, "swapped_zeros") < 0.3
    assert value(table, "own_over_ones") == pytest.approx(0, abs=0.01)
    assert value(table, "swapped_line", kind="own") > 0.99
    assert value(table, "swapped_slope", kind="own") == pytest.approx(0, abs=0.01)


def test_directions_of_a_counter_with_a_drift_carry_the_drift() -> None:
    """Of ones - t/2 in one cell, the ones alone cannot be carried, nor a count of zeros; the line with d is."""
    table = measured("drift-0.5")
    assert value(table, "drift") == pytest.approx(0.5, abs=1e-3)
    assert value(table, "swapped_own") > 0.99
    assert value(table, "own_over_ones") > 0.4
    assert value(table, "own_over_zeros") > 0.4
    assert value(table, "swapped_line", kind="own") > 0.99
    assert value(table, "swapped_slope", kind="own") == pytest.approx(0.5, abs=0.01)
    assert value(table, "swapped_slope", kind="whole") == pytest.approx(0.5, abs=0.01)
