"""Who is asked what in the counter's study, whose figures stand for one network, and recipes compared by drift."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from analyses.counter import QUESTIONS, common, study, training_signal
from models.populations import CELLS, CONFIRMING, FIRST, Population
from models.recipes import CODES, DOSES, experiment_recipe
from probe import Finding
from probe.evidence.measurements import Network, measurement, tabulate
from probe.studies.store import Measured, read
from tests.repo.asked_once import ONES

DRIFT = {"": 0.8, "reversed": 0.2, "signed": 0.5, "half-signed": 0.5, "shifted": 0.95}
CODES_OF = {experiment_recipe(code, dose).name: (code, dose) for code in CODES for dose in DOSES}


def test_judged_counters_and_planted_networks_are_asked_everything_and_others_less() -> None:
    """Of other recipes the errors and the drift; of smaller ones and of those asked at every step, more."""
    asked = {member: tuple(each.tables) for part in study.STUDIES for member, each in stored(part).items()}
    more = {study.EVERY_STEP: ("one_cell", "moving_zero"), **dict.fromkeys(study.SMALLER, ("moving_zero",))}
    for member, tables in asked.items():
        recipe = member.partition("/")[0]
        wanted = (*study.BRIEF, *more.get(recipe, ()))
        if member in stored("judged"):
            wanted = QUESTIONS
        elif member in stored("training"):
            wanted = study.ON_THE_WAY
        # A head that was not trained is not asked how it withstands noise.
        assert set(wanted) - set(tables) == ({"noise_margin"} if member.endswith("initialisation") else set()), member
        assert set(tables) <= set(wanted)


def stored(part: str) -> Mapping[str, Measured]:
    """Return what was measured, by network."""
    return read(study.FOLDER / f"{part}.csv.xz")


@pytest.mark.parametrize(
    ("drifts", "middle"),
    [
        ({1: 0.5, 2: 0.1, 10: 0.9}, 1),
        ({1: 0.1, 2: 0.9, 10: 0.5}, 10),
        ({1: 0.2, 2: 0.8, 3: 0.4, 10: 0.6}, 3),
        ({1: 0.3, 2: 0.3, 10: 0.3}, 10),
    ],
)
def test_the_network_of_median_drift_is_shown_in_detail(drifts: dict[int, float], middle: int) -> None:
    """Of an even number the lower one, of equal ones by name; a control is none."""
    table = measured("drift", {f"counter/seed-{seed}": value for seed, value in drifts.items()}, "trained")
    control = measured("drift", {"counter/seed-1/fitted head": 0.0, "planted/ones": 0.0}, "fitted head")
    assert common.median_drift(pd.concat([table, control])) == f"counter/seed-{middle}"


def measured(metric: str, values: Mapping[str, float], role: str = "other") -> pd.DataFrame:
    """Return a metric of networks by their names."""
    return tabulate(measurement("q", metric, Network(name, role, ONES), value) for name, value in values.items())


def compared(drifts: Mapping[str, float]) -> Finding:
    """Return what is found of networks that misread two strings in a thousand."""
    errors = dict.fromkeys(drifts, 0.002)
    return training_signal.find(
        {"accuracy": measured("test_error", errors), "other_lengths": measured("drift", drifts)}
    )


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
    assert figure.alt.endswith(" to 0.95 (code-shifted).")
    assert len(figure.svg.encode()) <= 25_000
    assert {claim.rule.key: (claim.n, claim.verdict, round(claim.value, 6)) for claim in found.claims} == {
        "23a": (6, "undecided", 0.3),
        "23b": (6, "undecided", 0.2),
    }
    assert not compared({name: value for name, value in drifts.items() if name.startswith("counter/")}).claims


def test_a_population_that_is_not_whole_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of its networks would be a choice: seed 0 of a recipe is not its population."""
    few = Population("few", "hidden-1", range(777, 779))
    assert study.is_whole(CONFIRMING)
    assert not study.is_whole(few)
    small = next(each for each in FIRST if each.recipe == "hidden-1")
    monkeypatch.setattr(study, "FIRST", (few, small))
    names = [one.network.name for one in study.recipes().networks]
    assert names == [f"hidden-1/seed-{seed}" for seed in small.seeds]
