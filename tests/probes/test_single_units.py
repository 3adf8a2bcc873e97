"""`probe.single_units`: the unit that follows a concept, within steps and with one map for all steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recorded import recording_of
from torch import nn

import probe
from probe.methods.probing.controls import relabelled
from probe.probes.reading import Reading

RNG = np.random.default_rng(0)
BATCH, TIME, UNITS = 120, 20, 6
NOISE = RNG.normal(size=(BATCH, TIME, UNITS))
STEP = np.broadcast_to(np.arange(TIME, dtype=float), (BATCH, TIME))
COUNT = (RNG.random((BATCH, TIME)) < 0.5).cumsum(1).astype(float)


def _rows(reading: Reading) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two rows of a summary: within steps, and by one map."""
    within, one_map = (
        {str(name): value for name, value in row.items()} for row in reading.summary.to_dict("records")
    )
    assert (within["how"], one_map["how"]) == ("within steps", "one map")
    return within, one_map


def _with(unit: int, values: np.ndarray) -> np.ndarray:
    states = NOISE.copy()
    states[:, :, unit] = values
    return states


def test_a_planted_unit_is_found() -> None:
    """A monotone code of the count in unit 4: its number, a high score, and every state read exactly."""
    reading = probe.single_units(recording_of(_with(4, COUNT**1.5)), COUNT, controls={"noise": recording_of(NOISE)})
    within, one_map = _rows(reading)
    assert (within["unit"], within["verdict"]) == ("4", "above every control")
    assert (one_map["unit"], one_map["score"], one_map["verdict"]) == ("4", 1.0, "above every control")
    assert one_map["its score"] < 0.4
    each = reading.table[reading.table["r"].notna()].set_index("unit")["r"]
    assert each.idxmax() == "4"
    assert each.drop("4").max() < 0.2
    along = reading.direction("hidden_state")
    assert np.flatnonzero(along.numpy()).tolist() == [4]
    assert along[4] > 1


def test_a_unit_that_tells_the_time_scores_chance() -> None:
    """The count grows with the step: over all steps together the clock correlates with it by more than .8."""
    assert np.corrcoef(STEP.ravel(), COUNT.ravel())[0, 1] > 0.8
    within, one_map = _rows(probe.single_units(recording_of(_with(2, STEP)), COUNT))
    assert abs(within["score"]) < 0.03
    assert one_map["best control"] in ("step alone", "shuffled concept")  # shuffled within steps, it tells the time
    assert one_map["verdict"] == "not specific"


def test_a_concept_that_two_units_share_is_in_neither() -> None:
    """Their difference is the count: a linear probe reads it, no single unit does."""
    states, hidden = NOISE.copy(), 20 * RNG.normal(size=(BATCH, TIME))
    states[:, :, 1], states[:, :, 3] = hidden + COUNT, hidden
    recording = recording_of(states)
    assert probe.linear_probe(recording, COUNT).summary.iloc[0]["score"] > 0.99
    assert probe.single_units(recording, COUNT).summary.iloc[0]["score"] < 0.1


def test_the_zero_of_a_unit_that_moves_is_not_one_map() -> None:
    """Within a step the unit tells the count; one map for all steps cannot, since its zero moves with the step."""
    within, one_map = _rows(probe.single_units(recording_of(_with(0, COUNT - 1.5 * STEP)), COUNT))
    assert within["score"] > 0.95
    assert one_map["score"] < 0.5


def test_each_way_names_its_own_unit() -> None:
    """Unit 1 follows the count within steps, unit 3 holds it, coarsely, at all steps: two ways, two units."""
    states = _with(1, COUNT - 1.5 * STEP)
    states[:, :, 3] = COUNT + 0.3 * NOISE[:, :, 3]
    within, one_map = _rows(probe.single_units(recording_of(states), COUNT))
    assert (within["unit"], one_map["unit"]) == ("1", "3")


def test_a_concept_in_any_unit_of_measure_gives_the_same() -> None:
    """Grams or tonnes: scores, units and correlations do not change, and a direction is scaled."""
    states = _with(4, COUNT)
    one, other = (probe.single_units(recording_of(states), COUNT * scale) for scale in (1, 1e-12))
    assert one.summary["unit"].tolist() == other.summary["unit"].tolist() == ["4", "4"]
    assert np.allclose(one.table["r"].dropna(), other.table["r"].dropna())
    assert np.allclose(one.direction("hidden_state") * 1e12, other.direction("hidden_state"))


def test_the_last_input_is_no_memory() -> None:
    """A unit that repeats the input is not above the input itself."""
    x = RNG.normal(size=(BATCH, TIME, 1))
    within = probe.single_units(recording_of(_with(2, x[:, :, 0]), x), x[:, :, 0]).summary.iloc[0]
    assert (within["best control"], within["verdict"]) == ("last 4 inputs", "not specific")


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
    (row,) = reading.summary.to_dict("records")
    assert row["unit"] == "3"
    assert row["score"] > 0.85
    assert "within steps: held-out balanced accuracy (chance 0.50)" in reading.title


def test_the_unit_of_one_map_is_the_one_that_is_read_exactly_most_often() -> None:
    """Unit 0 is exact until a rare slip far away, unit 1 is a little off everywhere: its squared error is smaller."""
    states = NOISE.copy()
    slips = RNG.random((BATCH, TIME)) < 0.1
    states[:, :, 0] = np.where(slips, RNG.permutation(COUNT.ravel()).reshape(COUNT.shape), COUNT)
    states[:, :, 1] = COUNT + 0.7 * NOISE[:, :, 1]
    _, one_map = _rows(probe.single_units(recording_of(states), COUNT))
    assert one_map["unit"] == "0"
    assert one_map["score"] > 0.85


def test_no_unit_is_named_where_a_shuffled_concept_is_read_as_well() -> None:
    """Of states that do not vary, of a clock, and of an arbitrary label of each sequence."""
    still, clock = (recording_of(states) for states in (np.zeros_like(NOISE), _with(2, STEP)))
    assert probe.single_units(still, COUNT).summary["unit"].tolist() == ["", ""]
    assert probe.single_units(clock, COUNT).summary["unit"].tolist() == ["", ""]
    slow, named = recording_of(NOISE[:, :1] + 0.1 * NOISE), 0
    for seed in range(5):
        label = np.random.default_rng(seed).choice(list("abcdefg"), BATCH)
        (row,) = probe.single_units(slow, label).summary.to_dict("records")
        named += row["unit"] != ""
    assert named <= 1


def test_a_label_of_sequences_is_shuffled_among_sequences() -> None:
    """States of a sequence are not independent; a concept that varies in it is shuffled within steps."""
    sequence, step = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    label = np.repeat(np.random.default_rng(0).integers(0, 3, 30), 4).astype(float)
    for order in relabelled(label, step, sequence, 5, seed=0):
        assert np.array_equal(order, np.repeat(order[::4], 4))
        assert sorted(order) == sorted(label)
        assert not np.array_equal(order, label)
    label[0] += 1
    (order,) = relabelled(label, step, sequence, 1, seed=0)
    assert not np.array_equal(order[1::4], order[2::4])


def test_of_many_values_the_title_says_why_there_is_no_one_map() -> None:
    """Sixty values: reading them exactly is not asked, and the second row is not just missing."""
    many = COUNT + 3 * np.arange(BATCH)[:, None] % 50
    reading = probe.single_units(recording_of(_with(1, many)), many)
    assert reading.summary["how"].tolist() == ["within steps"]
    assert "values, of which at most 50 are read exactly by one map" in reading.title


def test_a_counter_written_by_hand_is_no_control_of_itself() -> None:
    """One weight that is not 0 often falls onto another unit of the same kind: the same counter, in another order."""
    letters = torch.randint(0, 3, (150, 10), generator=torch.Generator().manual_seed(0))
    x = nn.functional.one_hot(letters, 3).double()
    count = x[:, :, 0].cumsum(1)
    lstm = nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for parameter in lstm.parameters():
            _ = parameter.zero_()
        lstm.get_parameter("bias_ih_l0")[:8] = 20
        lstm.get_parameter("weight_ih_l0")[8, 0] = 20
    controls = probe.random_weights(lstm, x)
    assert len(controls) == 8
    _, one_map = _rows(probe.single_units(probe.record(lstm, x), count, controls=controls, signals=["cell_state"]))
    assert (one_map["unit"], one_map["verdict"]) == ("0", "above every control")
    assert one_map["score"] > 0.99
