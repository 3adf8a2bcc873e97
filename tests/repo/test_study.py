"""Whose figures stand for one network, recipes compared by drift, and what is read off the courses of training."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from analyses.counter import common, over_training, study, training_signal
from models.populations import CELLS, CONFIRMING, FIRST, Population
from models.recipes import CODES, DOSES, experiment_recipe
from probe import Finding
from probe.evidence.measurements import Network, measurement, tabulate
from tests.repo.asked_once import ONES

DRIFT = {"": 0.8, "reversed": 0.2, "signed": 0.5, "half-signed": 0.5, "shifted": 0.95}
CODES_OF = {experiment_recipe(code, dose).name: (code, dose) for code in CODES for dose in DOSES}


def measured(metric: str, values: Mapping[str, float], role: str = "other") -> pd.DataFrame:
    """Return a metric of networks by their names."""
    return tabulate(measurement("q", metric, Network(name, role, ONES), value) for name, value in values.items())


@pytest.mark.parametrize(
    ("drifts", "middle"),
    [({1: 0.1, 2: 0.9, 10: 0.5}, 10), ({1: 0.2, 2: 0.8, 3: 0.4, 10: 0.6}, 3), ({1: 0.3, 2: 0.3, 10: 0.3}, 10)],
)
def test_the_network_of_median_drift_is_shown_in_detail(drifts: dict[int, float], middle: int) -> None:
    """Of an even number the lower one, of equal ones by name; a control is none."""
    table = measured("drift", {f"counter/seed-{seed}": value for seed, value in drifts.items()}, "trained")
    control = measured("drift", {"counter/seed-1/fitted head": 0.0, "planted/ones": 0.0}, "fitted head")
    assert common.median_drift(pd.concat([table, control])) == f"counter/seed-{middle}"


def compared(drifts: Mapping[str, float]) -> Finding:
    """Return what is found of networks that misread two strings in a thousand."""
    errors = measured("test_error", dict.fromkeys(drifts, 0.002))
    return training_signal.find({"accuracy": errors, "other_lengths": measured("drift", drifts)})


def test_recipes_are_compared_by_their_drift() -> None:
    """Each recipe with its networks; no verdict about few of them, and none about a recipe that is not there."""
    drifts = {
        f"{recipe}/seed-{seed}": DRIFT[code] - 0.06 * dose + (seed % 10 - 2.5) / 1000
        for recipe, (code, dose) in CODES_OF.items()
        for seed in range(1000, 1006)
    }
    found = compared(drifts)
    (figure,) = found.figures
    assert set(figure.data["recipe"]) == {each.recipe for each in (CONFIRMING, *CELLS)}
    assert set(figure.data["networks"]) == {6}
    assert figure.data["median_drift"].is_monotonic_increasing
    assert {claim.rule.key: (claim.n, claim.verdict, round(claim.value, 6)) for claim in found.claims} == {
        "23a": (6, "undecided", 0.3),
        "23b": (6, "undecided", 0.2),
    }
    assert not compared({name: value for name, value in drifts.items() if name.startswith("counter/")}).claims


def test_a_population_that_is_not_whole_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of its networks would be a choice: seed 0 of a recipe is not its population."""
    few = Population("few", "hidden-1", range(777, 779))
    small = next(each for each in FIRST if each.recipe == "hidden-1")
    monkeypatch.setattr(study, "FIRST", (few, small))
    names = [one.network.name for one in study.recipes().networks]
    assert names == [f"hidden-1/seed-{seed}" for seed in small.seeds]


def test_what_happens_over_training_is_read_off_its_checkpoints() -> None:
    """One counts after 1,000 steps and keeps its code to the end, the other loses it after 500."""
    errors = {0: 0.9, 500: 0.2, 1000: 0.01, 10_000: 0.0, 20_000: 0.0, 30_000: 0.0}
    codes = {"seed-1": dict.fromkeys(errors, 1.0), "seed-2": {t: 1.0 if t <= 500 else 0.3 for t in errors}}
    courses = pd.DataFrame(
        {"network": seed, "steps": steps, "metric": metric, "signal": "", "name": metric, "value": values[steps]}
        for seed in codes
        for metric, values in (("all_error", errors), ("lasting_monotone_accuracy", codes[seed]))
        for steps in errors
    )
    rows = pd.DataFrame(over_training.judged_values(courses)).set_index(["network", "metric"])["value"]
    kept, lost = (rows.loc[f"after-30000-steps/{seed}"] for seed in codes)
    assert (kept["gone_before"], lost["gone_before"], lost["counts_from"]) == (0, 1, 1000)
