"""Whose figures stand for one network, and which populations are in the study."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from analyses.counter import common, study
from models import planted
from models.populations import FIRST, Population
from probe.evidence.measurements import Network, measurement, tabulate

ONES = planted.ones_counter()


def measured(metric: str, values: Mapping[str, float], role: str = "other") -> pd.DataFrame:
    """Return a metric of networks by their names."""
    return tabulate(measurement("q", metric, Network(name, role, ONES), value) for name, value in values.items())


def test_the_network_of_median_drift_is_shown_in_detail() -> None:
    """Of an even number the lower one, of equal ones by name; a control is none."""
    control = measured("drift", {"counter/seed-1/fitted head": 0.0, "planted/ones": 0.0}, "fitted head")
    for drifts, middle in (({1: 0.2, 2: 0.8, 3: 0.4, 10: 0.6}, 3), ({1: 0.3, 2: 0.3, 10: 0.3}, 10)):
        table = measured("drift", {f"counter/seed-{seed}": value for seed, value in drifts.items()}, "trained")
        assert common.median_drift(pd.concat([table, control])) == f"counter/seed-{middle}"


def test_a_population_that_is_not_whole_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of its networks would be a choice: seed 0 of a recipe is not its population."""
    few = Population("few", "hidden-1", range(777, 779))
    small = next(each for each in FIRST if each.recipe == "hidden-1")
    monkeypatch.setattr(study, "FIRST", (few, small))
    names = [one.network.name for one in study.recipes().networks]
    assert names == [f"hidden-1/seed-{seed}" for seed in small.seeds]
