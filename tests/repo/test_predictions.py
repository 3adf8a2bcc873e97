"""What the experiment should show is fixed before its networks are trained, and each prediction can fail."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.counter.predictions import PREDICTIONS, RULES, Cells
from models.recipes import CODES, DOSES, experiment_recipe
from probe import ProbeError

DRIFT = {"": 0.8, "reversed": 0.2, "signed": 0.5, "half-signed": 0.5, "shifted": 0.95}


def experiment(drift: dict[str, float], falling: float = 0.01, moved: float = 0.0) -> Cells:
    """Return twenty networks a cell: drifts by code that fall with the dose; a battery that moves with it."""
    rows = []
    for code, start in drift.items():
        for dose in DOSES:
            name = experiment_recipe(code, dose).name
            for seed in range(20):
                jitter = (seed - 9.5) / 1000
                values = {("drift", ""): start - falling * dose + jitter}
                values |= {("last_step_r_squared", ""): 0.9 - moved * dose, ("worst_class_mean_ratio", ""): 1.0}
                values |= {("erased_excess", ""): 0.0, ("direction_score", "ols"): 0.3}
                rows += [
                    {"network": f"{name}/seed-{seed}", "metric": metric, "signal": "", "kind": kind, "value": value}
                    for (metric, kind), value in values.items()
                ]
    return Cells(pd.DataFrame(rows))


def held(cells: Cells) -> set[str]:
    """Return the predictions that held."""
    return {each.key for each in PREDICTIONS if each.number(cells) in each.held_if}


def test_all_predictions_hold_in_a_world_as_predicted() -> None:
    """A mirrored code, symmetric ones, a drift that grows with the code and falls with the dose."""
    assert held(experiment(DRIFT)) == {each.key for each in PREDICTIONS}
    assert len(PREDICTIONS) == 10


def test_each_prediction_fails_where_the_world_is_otherwise() -> None:
    """One thing changed at a time, and the predictions about it are the ones that fail."""
    every = {each.key for each in PREDICTIONS}
    assert every - held(experiment(DRIFT | {"reversed": 0.4})) == {"E1"}
    assert every - held(experiment(DRIFT | {"signed": 0.6})) == {"E2a"}
    assert every - held(experiment(DRIFT | {"half-signed": 0.4})) == {"E2b"}
    assert every - held(experiment(DRIFT | {"shifted": 0.7})) == {"E3"}
    assert every - held(experiment(DRIFT, falling=-0.01)) == {"E4a", "E4b"}
    assert every - held(experiment(DRIFT, moved=0.01)) == {"E5a"}


def test_a_cell_that_was_not_measured_is_named() -> None:
    """No prediction is held against networks that are not there."""
    few = experiment({"": 0.8})
    with pytest.raises(ProbeError, match="'drift' was not measured on 'code-reversed'"):
        PREDICTIONS[0].number(few)
    assert set(CODES) == set(DRIFT)
    assert {rule.key for rule in RULES} == {"23a", "23b"}
