"""Measuring again: what differs is named, what only rounding moved is not, and each group comes in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses import accuracy, common, measured, study, verify
from probe.measurements import Network, measurement, tabulate

NETWORK = common.planted_networks(("ones-alone",))[0]


def table(*values: float, metric: str = "share", first: int = 0) -> pd.DataFrame:
    """Return values of a metric, one a step."""
    return tabulate(
        measurement("accuracy", metric, NETWORK, value, signal="cell_state", step=step)
        for step, value in enumerate(values, start=first)
    )


def test_what_is_equal_or_moved_by_rounding_is_the_same() -> None:
    """A millionth of the metric's largest value; missing numbers and infinities are equal to themselves."""
    old = table(100.0, 1e-7, float("nan"), float("inf"), -float("inf"))
    new = table(100.0 * (1 + 9e-7), 5e-5, float("nan"), float("inf"), -float("inf"))
    assert verify.differences("accuracy", old, new) == []
    assert verify.differences("accuracy", table(0.0, 2e-9), table(1e-9, -1e-9)) == []
    assert verify.differences("accuracy", table(), table()) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(100.0, 100.0002), (0.0, 2e-6), (1.0, float("nan")), (float("nan"), 1.0), (float("inf"), -float("inf"))],
)
def test_a_value_that_moved_is_named_with_both_numbers(before: float, after: float) -> None:
    """Question, version, metric, network, place, old and new, and what to do about it."""
    (fault,) = verify.differences("accuracy", table(before, metric="share"), table(after, metric="share"))
    assert fault.startswith(
        "accuracy (version 1) moved in 1 of 1 values: share of planted/ones-alone signal cell_state"
    )
    assert f"step 0: {before:.9g} before, {after:.9g} now" in fault
    assert "raise VERSION in analyses/accuracy.py and run `make study`; otherwise find what moved it" in fault


def test_each_metric_has_its_own_scale_and_the_largest_moves_come_first() -> None:
    """A large metric beside it hides no move of a small one."""
    old = pd.concat([table(1e6, metric="large"), table(1.0, 2.0, 3.0, 4.0)], ignore_index=True)
    moved = old.assign(value=old["value"] + np.array([0.0, 0.1, 0.2, 0.4, 0.3]))
    (fault,) = verify.differences("accuracy", old, moved)
    assert "moved in 4 of 5 values" in fault
    assert [fault.index(f"step {step}:") for step in (2, 3, 1)] == sorted(
        fault.index(f"step {step}:") for step in (1, 2, 3)
    )
    assert "step 0:" not in fault


def test_a_large_value_of_another_network_hides_nothing() -> None:
    """What an untrained network explains of a law may be -1824, and its trained network's -0.001."""
    old = pd.concat([table(-0.001), table(-1824.0).assign(network="other")], ignore_index=True)
    (fault,) = verify.differences("accuracy", old, old.assign(value=[0.0004, -1824.0]))
    assert "share of planted/ones-alone signal cell_state step 0: -0.001 before, 0.0004 now" in fault


@pytest.mark.parametrize("changed", [{"subject": "trained"}, {"seed": 5}, {"network": "other"}])
def test_whose_a_value_is_belongs_to_it(changed: dict[str, Any]) -> None:
    """Rules are judged by subject and paired by seed: a value under another one is another value."""
    (fault,) = verify.differences("accuracy", table(1.0, 2.0), table(1.0, 2.0).assign(**changed))
    assert "lacks share of planted/ones-alone" in fault


def test_rows_that_went_or_came_are_named() -> None:
    """A table with other rows is another table, whatever its values are."""
    (fault,) = verify.differences("accuracy", table(1.0, 2.0, first=1), table(1.0, 2.0))
    assert "lacks share of planted/ones-alone signal cell_state step 2" in fault
    assert "has the new share of planted/ones-alone signal cell_state step 0: 2 rows are stored, 2 were" in fault
    (fault,) = verify.differences("accuracy", table(1.0, 2.0), table(1.0, 2.0).iloc[::-1].reset_index(drop=True))
    assert "has its rows in another order or number" in fault


def test_what_hangs_on_the_last_bit_is_compared_where_the_arithmetic_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start that reaches another fixed point on another processor is no change of the formula; here it is one."""
    group = study.Group("hidden-1", "seed-1000")
    sensitive = (("automaton_states", ""), ("test_error", "no such signal"))
    monkeypatch.setattr(accuracy, "SENSITIVE", sensitive, raising=False)
    measure = accuracy.measure

    def moved(networks: Sequence[Network]) -> pd.DataFrame:
        found = measure(networks)
        return found.assign(value=found["value"].where(found["metric"] != "automaton_states", 77.0))

    monkeypatch.setattr(accuracy, "measure", moved)
    elsewhere = verify.again(group)
    assert (elsewhere.left_out, elsewhere.faults) == (1, ())
    read = measured.read

    def here(path: Path) -> dict[str, measured.Measured]:
        made = {"arithmetic": measured.arithmetic()}
        found = read(path)
        return {name: replace(each, made=dict.fromkeys(each.tables, made)) for name, each in found.items()}

    monkeypatch.setattr(measured, "read", here)
    same = verify.again(group)
    assert same.left_out == 0
    assert "automaton_states of hidden-1/seed-1000: " in same.faults[0]
    assert measured.arithmetic() == measured.environment()["arithmetic"]


@pytest.mark.parametrize("name", ["alignment", "dynamics"])
def test_what_is_said_to_hang_on_the_last_bit_is_there(name: str) -> None:
    """A name that no row has would leave nothing out; and not all of a question may be left out."""
    (group,) = study.groups("counter", [1000])
    stored = measured.read(measured.FOLDER / "counter.csv.xz")[group.member].tables[name]
    for metric, signal in import_module(f"analyses.{name}").SENSITIVE:
        assert ((stored["metric"] == metric) & (stored["signal"].eq(signal) | (signal == ""))).any()
    assert 0 < len(verify.settled(name, stored)) < len(stored)


def test_the_panel_has_each_kind_of_network_and_the_others_come_in_turn() -> None:
    """Every group is one of the study's; another commit draws others, and the same one the same."""
    every = study.groups(study.EVERY)
    assert set(verify.PANEL) <= set(every)
    assert {question for group in verify.PANEL for question in group.questions} == set(study.QUESTIONS)
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
    gather = measured.gather

    def moved(*arguments: object) -> dict[str, pd.DataFrame]:
        tables = gather(*arguments)  # pyright: ignore[reportArgumentType]
        return {name: each.assign(value=each["value"] * 1.01) for name, each in tables.items()}

    monkeypatch.setattr(measured, "gather", moved)
    assert verify.main([]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("moved ")
    assert "error: hidden-1/seed-1000: accuracy (version 1) moved in" in said.err
    assert verify.main(["--no-such"]) == 2
