"""`probe.single_units`: the unit that follows a concept, within steps and with one map for all steps."""

from __future__ import annotations

import numpy as np
from recorded import recording_of

import probe

RNG = np.random.default_rng(0)
BATCH, TIME, UNITS = 120, 20, 6
NOISE = RNG.normal(size=(BATCH, TIME, UNITS))
STEP = np.broadcast_to(np.arange(TIME, dtype=float), (BATCH, TIME))
COUNT = (RNG.random((BATCH, TIME)) < 0.5).cumsum(1).astype(float)


def _with(unit: int, values: np.ndarray) -> np.ndarray:
    states = NOISE.copy()
    states[:, :, unit] = values
    return states


def test_a_planted_unit_is_found() -> None:
    """A monotone code of the count in unit 4: its number, a high score, and every state read exactly."""
    reading = probe.single_units(recording_of(_with(4, COUNT**1.5)), COUNT, controls={"noise": recording_of(NOISE)})
    row = reading.summary.iloc[0]
    assert (row["unit"], row["verdict"]) == ("4", "above every control")
    assert row["exact"] == 1.0
    assert row["of controls"] < 0.4
    each = reading.table[reading.table["r"].notna()].set_index("unit")["r"]
    assert each.idxmax() == "4"
    assert each.drop("4").max() < 0.2
    along = reading.direction("hidden_state")
    assert np.flatnonzero(along.numpy()).tolist() == [4]
    assert along[4] > 1


def test_a_unit_that_tells_the_time_scores_chance() -> None:
    """The count grows with the step: over all steps together the clock correlates with it by more than .8."""
    assert np.corrcoef(STEP.ravel(), COUNT.ravel())[0, 1] > 0.8
    row = probe.single_units(recording_of(_with(2, STEP)), COUNT).summary.iloc[0]
    assert abs(row["score"]) < 0.03
    assert row["exact"] < 0.4


def test_a_concept_that_two_units_share_is_in_neither() -> None:
    """Their difference is the count: a linear probe reads it, no single unit does."""
    states, hidden = NOISE.copy(), 20 * RNG.normal(size=(BATCH, TIME))
    states[:, :, 1], states[:, :, 3] = hidden + COUNT, hidden
    recording = recording_of(states)
    assert probe.linear_probe(recording, COUNT).summary.iloc[0]["score"] > 0.99
    assert probe.single_units(recording, COUNT).summary.iloc[0]["score"] < 0.1


def test_the_zero_of_a_unit_that_moves_is_not_one_map() -> None:
    """Within a step the unit tells the count; one map for all steps cannot, since its zero moves with the step."""
    row = probe.single_units(recording_of(_with(0, COUNT - 1.5 * STEP)), COUNT).summary.iloc[0]
    assert row["score"] > 0.95
    assert row["exact"] < 0.5


def test_the_best_of_many_units_does_not_follow_by_luck() -> None:
    """Selected and scored on different sequences, the best of 200 units of noise scores nothing."""
    many = np.random.default_rng(5).normal(size=(BATCH, TIME, 200))
    reading = probe.single_units(recording_of(many), COUNT)
    assert reading.summary.iloc[0]["score"] < 0.02
    assert reading.table["r"].max() > 0.05
    assert "shuffled concept" in set(reading.table["network"])


def test_categories_are_followed_too() -> None:
    """Balanced accuracy within steps; nothing is said of reading a number exactly."""
    inside = COUNT % 4 < 1
    reading = probe.single_units(recording_of(_with(3, 3.0 * inside + NOISE[:, :, 3])), inside)
    row = reading.summary.iloc[0]
    assert row["unit"] == "3"
    assert row["score"] > 0.85
    assert "exact" not in reading.summary
    assert "balanced accuracy (chance 0.50) within steps" in reading.title
