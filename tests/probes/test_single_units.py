"""`probe.single_units`: the unit that follows a concept, within steps and with one map for all steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted_states import BATCH, BITS, COUNT, NOISE, ONES, RNG, STEP, TIME, untrained, with_units
from recorded import recording_of
from torch import nn

import probe
from probe.probes.reading import Reading


def _rows(reading: Reading) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two rows of a summary: within steps, and by one map."""
    within, one_map = ({str(key): value for key, value in row.items()} for row in reading.summary.to_dict("records"))
    assert (within["how"], one_map["how"]) == ("within steps", "one map")
    return within, one_map


def test_a_planted_unit_is_found() -> None:
    """A monotone code of the count in unit 4: its number, a high score, and every state read exactly."""
    planted, noise = recording_of(with_units({4: COUNT**1.5})), recording_of(NOISE)
    reading = probe.single_units(planted, COUNT, controls={"noise": noise})
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


HIDDEN = 20 * RNG.normal(size=(BATCH, TIME))
MOVING = COUNT - 1.5 * STEP
SLIPS = np.where(RNG.random((BATCH, TIME)) < 0.1, RNG.permutation(COUNT.ravel()).reshape(COUNT.shape), COUNT)


@pytest.mark.parametrize(
    ("units", "within", "one_map", "named"),
    [
        # The count grows with the step: over all steps together the clock correlates with it by more than .8.
        ({2: STEP}, (-0.03, 0.03), (0.0, 1.0), ("", "")),
        # Their difference is the count, which a linear probe reads and no single unit does.
        ({1: HIDDEN + COUNT, 3: HIDDEN}, (-0.1, 0.1), (0.0, 0.4), None),
        ({0: MOVING}, (0.95, 1.0), (0.0, 0.5), None),  # its zero moves with the step
        ({1: MOVING, 3: COUNT + 0.3 * NOISE[:, :, 3]}, (0.95, 1.0), (0.5, 1.0), ("1", "3")),
        # Unit 0 is exact until a rare slip far away, unit 1 is a little off everywhere: about half are read exactly.
        ({0: SLIPS, 1: COUNT + 0.7 * NOISE[:, :, 1]}, (0.0, 1.0), (0.6, 1.0), ("1", "0")),
    ],
    ids=["a clock", "in neither", "a moving zero", "two ways", "rare slips"],
)
def test_each_way_reads_and_names_its_own_unit(
    units: dict[int, np.ndarray], within: Any, one_map: Any, named: tuple[str, str] | None
) -> None:
    """Within a step a unit must follow the count, by one map for all steps it must hold it."""
    rows = _rows(probe.single_units(recording_of(with_units(units)), COUNT))
    assert within[0] <= rows[0]["score"] <= within[1]
    assert one_map[0] <= rows[1]["score"] <= one_map[1]
    assert named in (None, (rows[0]["unit"], rows[1]["unit"]))


def test_the_last_input_and_the_time_are_no_memory() -> None:
    """A unit that repeats the input is not above the input itself, and a clock not above the step."""
    x = RNG.normal(size=(BATCH, TIME, 1))
    within = probe.single_units(recording_of(with_units({2: x[:, :, 0]}), x), x[:, :, 0]).summary.iloc[0]
    assert (within["best control"], within["verdict"]) == ("last 4 inputs", "not above every control")
    _, one_map = _rows(probe.single_units(recording_of(with_units({2: STEP})), COUNT))
    assert one_map["best control"] in ("step alone", "shuffled concept")  # shuffled within steps, it tells the time
    assert one_map["verdict"] == "not above every control"


def test_the_best_of_many_units_does_not_follow_by_luck() -> None:
    """Selected and scored on different sequences, the best of 200 units of noise scores nothing."""
    many = np.random.default_rng(5).normal(size=(BATCH, TIME, 200))
    reading = probe.single_units(recording_of(many), COUNT)
    assert reading.summary.iloc[0]["score"] < 0.02
    assert reading.table["r"].max() > 0.05
    assert "shuffled concept" in set(reading.table["network"])


def test_a_category_is_read_by_one_map_only_where_no_step_takes_it_away() -> None:
    """A unit that is on where the category is, and drifts, follows it within steps alone."""
    odd = COUNT % 2 == 1
    drifting = 3.0 * odd + 40.0 * np.arange(TIME)
    within, one_map = probe.single_units(recording_of(with_units({3: drifting})), odd).summary.to_dict("records")
    assert within["unit"] == "3"
    assert within["score"] > 0.95
    assert one_map["score"] < 0.7
    assert probe.single_units(recording_of(with_units({3: 3.0 * odd})), odd).summary["score"].min() > 0.95


def test_categories_are_followed_and_many_values_have_no_one_map() -> None:
    """Balanced accuracy within steps; of sixty values the title says why the second row is missing."""
    inside = COUNT % 4 < 1
    reading = probe.single_units(recording_of(with_units({3: 3.0 * inside}, noise=1)), inside)
    for row in reading.summary.to_dict("records"):
        assert row["unit"] == "3"
        assert row["score"] > 0.85
    assert "held-out balanced accuracy (chance 0.50); with one map for all steps, the same" in reading.title
    many = COUNT + 3 * np.arange(BATCH)[:, None] % 50
    reading = probe.single_units(recording_of(with_units({1: many})), many)
    assert reading.summary["how"].tolist() == ["within steps"]
    assert "values, of which at most 50 are read exactly by one map" in reading.title


def test_no_unit_is_named_where_a_shuffled_concept_is_read_as_well() -> None:
    """Of states that do not vary, and of an arbitrary label of each sequence."""
    still = probe.single_units(recording_of(np.zeros_like(NOISE)), COUNT)
    assert still.summary["unit"].tolist() == ["", ""]
    slow, named = recording_of(NOISE[:, :1] + 0.1 * NOISE), 0
    for seed in range(5):
        label = np.random.default_rng(seed).choice(list("abcdefg"), BATCH)
        named += (probe.single_units(slow, label).summary["unit"] != "").any()
    assert named <= 1


def test_a_unit_is_named_only_where_it_reads_more_than_chance() -> None:
    """A shuffled concept may by luck be read worse than nothing; of noise, in few sequences, that names no unit."""
    named = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise, concept = rng.normal(size=(15, 4, 12)), rng.normal(size=(15, 4))
        reading = probe.single_units(recording_of(noise), concept)
        (row,) = reading.summary.to_dict("records")
        if row["unit"]:
            own = reading.table[reading.table["network"].eq("this network") & reading.table["low"].notna()]
            assert own["low"].item() > 0
            named += 1
    assert named <= 3


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


def test_the_axis_says_what_both_ways_score() -> None:
    """R² within steps, and by one map the share of states that are read exactly."""
    lstm = untrained()
    ax: Any = probe.single_units(probe.record(lstm, BITS), ONES, signals=["cell_state"]).plot()
    assert ax.get_xlabel() == "held-out R²; by one map, the share read exactly"
