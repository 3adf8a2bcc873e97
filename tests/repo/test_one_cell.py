"""Whether one cell passes all tests of a running count: what planted networks must give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.counter import common, one_cell, study
from models import planted
from probe.evidence import Range
from probe.evidence.measurements import Network, only
from probe.methods.probing.monotone import each_unit_read, monotone_predictions
from probe.methods.probing.splits import folds
from probe.studies.store import read
from tests.repo import asked_once

#: Without idle units where they are not the point: every unit doubles the subsets. The last has eight cells.
BUILT = {
    "zeros": planted.zeros_counter(distractors=1),
    "drift": planted.drift_counter(0.5, distractors=1),
    "balance": planted.balance_counter(distractors=0),
    "geometric": planted.geometric_counter(distractors=0),
    "delay-line": planted.delay_line(distractors=0),
    "decoy": planted.decoy_counter(),
    "rotated": planted.rotated_counter(),
}


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    """Return a counter with its controls, the ones-counter, and other planted networks."""
    ones = Network("planted/ones", "planted", asked_once.ONES)
    return [
        *common.with_controls("counter", 2000),
        ones,
        *(Network(f"planted/{name}", "planted", model) for name, model in BUILT.items()),
    ]


@pytest.fixture(scope="module")
def table(networks: list[Network]) -> pd.DataFrame:
    """Return what was measured of them."""
    return one_cell.QUESTION.ask(common.subjects(networks))


def most(table: pd.DataFrame, target: str) -> dict[str, float]:
    """Return the most tests that one cell of each planted network passes."""
    rows = only(table, metric="most_tests", role="planted", kind=target)
    return dict(zip(rows["network"].str.removeprefix("planted/"), rows["value"], strict=True))


def values(table: pd.DataFrame, network: str, kind: str) -> list[float]:
    """Return a test's value of each cell."""
    return only(table, metric="cell_test", network=network, kind=kind)["value"].tolist()


def test_a_cell_that_counts_passes_all_tests_for_what_it_counts(table: pd.DataFrame) -> None:
    """The ones-counter for the ones, the zeros-counter for the zeros, each for its own program; not for another's."""
    ones, zeros, own = (most(table, target) for target in ("ones", "zeros", "drift"))
    assert (ones["ones"], zeros["zeros"], zeros["geometric"]) == (5, 5, 5)
    assert [own[name] for name in ("ones", "zeros", "drift", "geometric")] == [5] * 4
    assert max(ones["zeros"], ones["drift"], zeros["ones"], zeros["drift"], ones["geometric"]) <= 3
    cell = only(table, metric="most_tests", network="planted/ones", kind="ones")["units"]
    assert cell.tolist() == ["0"]
    for kind in ("read ones", "lasts ones", "carries", "moves", "suffices"):
        # Ten ones have one prefix; where that is held out the map has never seen them.
        assert values(table, "planted/ones", kind)[0] == pytest.approx(1, abs=1e-3)


def test_tests_that_different_cells_pass_are_no_count(table: pd.DataFrame) -> None:
    """The decoy's cells pass all five tests for the ones between them, and no cell more than three.

    Two cells in balance hold the ones and the zeros, eight rotated ones hold the ones, and none of them is enough.
    """
    ones, zeros, own = (most(table, target) for target in ("ones", "zeros", "drift"))
    for kind, bound in ((one_cell.kind_of(test, "ones"), bound) for test, bound in one_cell.BOUNDS.items()):
        assert max(values(table, "planted/decoy", kind)) >= bound
    assert ones["decoy"] == 3
    # Its answer comes from the cell that counts zeros, which is one.
    assert (zeros["decoy"], own["decoy"]) == (5, 5)
    for name in ("balance", "rotated", "delay-line"):
        assert max(ones[name], zeros[name], own[name]) < 5
    passed = only(table, metric="all_tests", role="planted", kind="ones")
    assert passed[passed["value"] == 1]["network"].tolist() == ["planted/ones"]


def test_before_training_only_cells_are_read(table: pd.DataFrame) -> None:
    """An untrained head's answers are no count: nothing is asked of them, and no program is fitted to them."""
    before = only(table, role="own initialisation")
    assert set(before["metric"]) == {"cell_test", "cells_read", "best_read"}
    assert set(before["kind"]) == {"read ones", "lasts ones", "read zeros", "lasts zeros", ""}
    # The fitted head reads the same cells, on the same splits.
    heads = only(table, role="fitted head")
    for kind in ("read ones", "lasts zeros"):
        assert only(before, kind=kind)["value"].tolist() == only(heads, kind=kind)["value"].tolist()


def test_splits_are_each_networks_own() -> None:
    """By its seed, which a network shares with its controls, or by its name."""
    a, b, c = (Network(name, "planted", BUILT["zeros"], pair) for name, pair in (("a", "7"), ("b", "7"), ("c", "")))
    assert common.split_seed(a) == common.split_seed(b) == 7
    assert common.split_seed(c) == 112844655  # CRC-32 of "c"


def test_the_same_numbers_come_from_other_questions(table: pd.DataFrame, networks: list[Network]) -> None:
    """Shares, interchange of units, units alone and the drift: the stored numbers of other questions."""
    trained, name = networks[:1], "counter/seed-2000"
    stored = read(study.FOLDER / "judged.csv.xz")["counter/seed-2000"].tables
    for question, metric, kind in (("unit_shares", "unit_share", "carries"), ("directions", "unit_score", "moves")):
        rows = only(stored[question], metric=metric, network=name)
        assert values(table, name, kind) == pytest.approx(rows["value"].tolist(), abs=1e-6)
    best = only(stored["unit_ablation"], metric="best_single_unit_score", network=name)["value"].item()
    assert max(values(table, name, "suffices")) == pytest.approx(best, abs=1e-6)
    drift = only(stored["other_lengths"], metric="drift", network=name)["value"].item()
    assert one_cell.drift_of(common.subjects(trained)[0]) == pytest.approx(drift, abs=1e-6)


def test_maps_are_fitted_on_the_other_parts_alone() -> None:
    """A unit that falls with the value is read; noise is not, though a map of all states would hold it by heart."""
    rng = np.random.default_rng(0)
    value = rng.integers(0, 5, 400).astype(float)
    states = np.column_stack([-value, rng.normal(size=400), np.zeros(400)])
    splits, weight = [folds(400, 4, seed=seed) for seed in range(3)], np.full(400, 1 / 400)
    read = each_unit_read(states, value, splits, weight)
    assert read[0] == pytest.approx(1)
    assert max(read[1:]) < 0.3
    predicted = monotone_predictions(states, value, weight, np.array([[-2.0, 0, 0], [-9.0, 0, 0]]))
    assert predicted[:, 0] == pytest.approx([2, 4])  # level beyond what it has seen
    assert predicted[0, 2] == pytest.approx(value.mean())


def test_half_of_the_networks_decide() -> None:
    """For each target; and whether training takes the ones out of cells is about the best cell of a network."""
    *shares, taken_out = one_cell.QUESTION.rules
    assert [(rule.signal, rule.metric, rule.statistic) for rule in shares] == [
        (target, "all_tests", "share") for target in ("ones", "zeros", "drift")
    ]
    assert all(rule.established_if == Range.at_least(0.5) for rule in shares)
    assert (taken_out.metric, taken_out.established_if) == ("best_read", Range.below(0.9))
