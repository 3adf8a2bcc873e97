"""Whether one cell passes all tests of a running count.

What planted networks give stands in the committed measurements, which test_planted_expected.py compares with what was
built.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.counter import study
from probe.evidence.measurements import only
from probe.methods.probing.monotone import each_unit_read, monotone_predictions
from probe.methods.probing.splits import folds
from probe.studies.store import read


def values(table: pd.DataFrame, network: str, kind: str) -> list[float]:
    """Return a test's value of each cell."""
    return only(table, metric="cell_test", network=network, kind=kind)["value"].tolist()


def test_the_numbers_are_those_of_other_questions() -> None:
    """Shares, interchange of units, units alone; before training cells are read, and nothing is asked of answers."""
    stored, name = read(study.FOLDER / "judged.csv.xz")["counter/seed-2000"].tables, "counter/seed-2000"
    own = stored["one_cell"]
    for question, metric, kind in (("unit_shares", "unit_share", "carries"), ("directions", "unit_score", "moves")):
        rows = only(stored[question], metric=metric, network=name)
        assert values(own, name, kind) == pytest.approx(rows["value"].tolist(), abs=1e-6)
    best = only(stored["unit_ablation"], metric="best_single_unit_score", network=name)["value"].item()
    assert max(values(own, name, "suffices")) == pytest.approx(best, abs=1e-6)
    before, heads = (only(own, role=role) for role in ("own initialisation", "fitted head"))
    assert set(before["kind"]) == {"read ones", "lasts ones", "read zeros", "lasts zeros", ""}
    # The fitted head reads the same cells, on the same splits.
    for kind in ("read ones", "lasts zeros"):
        assert only(before, kind=kind)["value"].tolist() == only(heads, kind=kind)["value"].tolist()


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
