"""Measuring again: what differs is named, what only rounding moved is not, and each group comes in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.counter import QUESTIONS, accuracy, common, study, verify
from probe.evidence.measurements import Network, measurement, tabulate
from probe.studies import store

NETWORK = common.planted_networks(("ones-alone",))[0]
KEY_STEP = verify.KEY.index("step")


def table(*values: float, metric: str = "share", first: int = 0) -> pd.DataFrame:
    """Return values of a metric, one a step."""
    return tabulate(
        measurement("accuracy", metric, NETWORK, value, signal="cell_state", step=step)
        for step, value in enumerate(values, start=first)
    )


def test_what_is_equal_or_a_millionth_away_is_the_same() -> None:
    """Missing numbers and infinities are equal to themselves, and so are two empty tables."""
    old = table(100.0, 1e-9, float("nan"), float("inf"), -float("inf"))
    new = table(100.0 * (1 + 9e-7), 1e-9 * (1 - 9e-7), float("nan"), float("inf"), -float("inf"))
    assert verify.differences(old, new).empty
    assert verify.differences(table(), table()).empty


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (100.0, 100.0002),
        (0.0, 1e-12),
        (1e-12, 2e-12),
        (1.0, float("nan")),
        (float("nan"), 1.0),
        (1.0, float("inf")),
        (float("inf"), 1.0),
        (float("inf"), -float("inf")),
    ],
)
def test_a_value_that_moved_is_found_however_small_it_is(before: float, after: float) -> None:
    """A millionth of the value itself, not of what stands beside it."""
    found = verify.differences(table(1e6, before), table(1e6, after))
    assert np.array_equal(found.to_numpy(dtype=float), [[before, after]], equal_nan=True)


def test_the_farthest_come_first() -> None:
    """Relative to each value: 0.2 of 1 is farther than 100 of a million."""
    old = table(1e6, 1.0, 2.0, 3.0)
    moved = verify.differences(old, old.assign(value=old["value"] + np.array([100.0, 0.1, 0.4, 0.0])))
    assert [key[KEY_STEP] for key in moved.index] == ["2", "1", "0"]


@pytest.mark.parametrize("changed", [{"role": "trained"}, {"pair": "5"}, {"network": "other"}, {"signal": "h"}])
def test_whose_a_value_is_belongs_to_it(changed: dict[str, Any]) -> None:
    """Rules are judged by role and by pair: a value under another one is another value."""
    found = verify.differences(table(1.0, 2.0), table(1.0, 2.0).assign(**changed))
    assert sorted(found.isna().sum()) == [2, 2]


def test_a_value_that_went_or_came_is_one_that_moved() -> None:
    """Of values with one name the second one is another than the first."""
    assert list(verify.differences(table(1.0, 2.0), table(1.0))["after"]) == [None]
    assert list(verify.differences(table(1.0), table(1.0, 2.0))["before"]) == [None]
    twice = pd.concat([table(1.0), table(2.0)], ignore_index=True)
    assert verify.differences(twice, twice).empty
    assert list(verify.differences(twice, table(1.0))["before"]) == [2.0]
    assert len(verify.differences(twice, twice.iloc[::-1])) == 2


def test_a_value_may_lie_ten_times_as_far_away_as_rounding_moves_its_metric() -> None:
    """The farthest of several counts, of values of one metric, signal and network, and of no other."""
    old = pd.concat([table(1.0), table(1.0, metric="other")], ignore_index=True)
    new = old.assign(value=[1.01, 1.01])
    near = [new.assign(value=[1.0112, 1.01]), new.assign(value=[1.01, 1.0112]), new]
    assert [key[0] for key in verify.differences(old, new).index] == ["accuracy"] * 2
    for known, metrics in ((near[:1], ["other"]), (near[1:], ["share"]), (near, []), (near[2:], ["share", "other"])):
        assert [key[verify.KEY.index("metric")] for key in verify.differences(old, new, known).index] == metrics
    assert verify.differences(table(1.0, 2.0), table(1.01, 2.0), [table(1.01, 2.002)]).empty
    assert len(verify.differences(table(0.0), table(float("nan")), [table(0.0)])) == 0
    assert len(verify.differences(table(0.0), table(float("nan")), [table(float("nan"))])) == 1
    assert len(verify.differences(table(1.0, 2.0), table(1.0), [table(1.0, 3.0)])) == 0
    assert len(verify.differences(table(1.0, 2.0), table(1.0), [table(1.0)])) == 1


def test_rounding_moves_each_weight_to_a_neighbour_and_a_zero_nowhere() -> None:
    """What is measured beside the network is the network but for the last bit; the network itself is left alone."""
    layer = torch.nn.Linear(40, 3)
    with torch.no_grad():
        layer.bias.zero_()
    weight = layer.weight.detach().clone()
    (moved,), (other,) = (verify.rounded([replace(NETWORK, model=layer)], seed) for seed in (0, 1))
    assert layer.weight.equal(weight)
    assert moved.name == NETWORK.name
    there = moved.model.state_dict()
    assert there["bias"].count_nonzero() == 0
    apart = (there["weight"] - weight).abs()
    assert apart.min() > 0
    assert torch.all(apart <= torch.finfo(torch.float32).eps * weight.abs())
    assert 0.2 < (there["weight"] > weight).float().mean() < 0.8
    assert not there["weight"].equal(other.model.state_dict()["weight"])


def test_a_measurement_that_rounding_decides_is_told_from_a_changed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that hangs on the last bit of the weights may differ; one that does not may not."""
    group = study.Group("hidden-1", "seed-1000")
    measure = accuracy.measure
    metrics = {"chaotic": "automaton_states", "steady": "test_error"}

    def changed(networks: Sequence[Network], *, by: float, where: str) -> pd.DataFrame:
        found = measure(networks)
        last_bits = sum(each.double().sum().item() for each in networks[0].model.parameters()) * 1e9 % 1
        away = {"chaotic": last_bits, "steady": by}[where]
        return found.assign(value=found["value"].where(found["metric"] != metrics[where], 7 + away))

    monkeypatch.setattr(accuracy, "measure", partial(changed, by=0.0, where="chaotic"))
    stored = store.gather
    before = measure(group.networks())
    old = {"accuracy": before.assign(value=before["value"].where(before["metric"] != "automaton_states", 7.5))}
    monkeypatch.setattr(store, "gather", lambda *arguments: {**stored(*arguments), **old})
    found = verify.again(group)
    assert (found.rounded > 0, found.faults) == (True, ())
    monkeypatch.setattr(accuracy, "measure", partial(changed, by=1.0, where="steady"))
    monkeypatch.setattr(store, "gather", stored)
    (fault,) = verify.again(group).faults
    assert fault.startswith("hidden-1/seed-1000: accuracy (version 1) moved in 1 of ")
    assert "values: test_error of hidden-1/seed-1000: " in fault
    assert " before, 8 now. If what accuracy computes was changed on purpose, raise VERSION in analyses/" in fault


def test_the_panel_has_each_kind_of_network_and_the_others_come_in_turn() -> None:
    """Every group is one of the study's; another commit draws others, and the same one the same."""
    every = study.groups(study.EVERY)
    assert set(verify.PANEL) <= set(every)
    assert {question for group in verify.PANEL for question in group.questions} == set(QUESTIONS)
    others = [group for group in every if group not in verify.PANEL]
    drawn = verify.rolling("abc", others)
    assert len(drawn) == -(-len(others) // 100)
    assert drawn == verify.rolling("abc", others[::-1])
    assert drawn != verify.rolling("abd", others)
    assert len({group for number in range(500) for group in verify.rolling(str(number), others)}) > 0.9 * len(others)


def test_a_group_that_is_as_it_was_is_said_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command measures, prints a line a group and how long it took, and fails where a value moved."""
    small = study.Group("hidden-1", "seed-1000")
    monkeypatch.setattr(verify, "PANEL", (small,))
    monkeypatch.setattr(verify, "rolling", lambda commit, among: [])
    assert verify.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the same ")
    assert "s of processor time for the panel of 1, 0 s for the others" in out
    gather = store.gather

    def moved(*arguments: object) -> dict[str, pd.DataFrame]:
        tables = gather(*arguments)  # pyright: ignore[reportArgumentType]
        return {name: each.assign(value=each["value"] * 1.01) for name, each in tables.items()}

    monkeypatch.setattr(store, "gather", moved)
    assert verify.main([]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("moved ")
    assert "error: hidden-1/seed-1000: accuracy (version 1) moved in" in said.err
    assert verify.main(["--no-such"]) == 2
