"""Questions about patched states on networks whose mechanism was written down, and on one that was trained."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.__main__ import limit_threads
from analyses.counter import common, drawn
from probe.questions.interventions import class_means as means_question
from probe.questions.interventions import directions as directions_question
from probe.questions.interventions import steering as steering_question
from probe.questions.interventions import unit_ablation as ablation_question
from probe.subjects.subject import Subject

PLANTED = ("ones", "ones-alone", "balance", "rotated", "geometric", "decoy", "illusion", "delay-line")


@pytest.fixture(scope="module")
def planted() -> list[Subject]:
    """Return the planted networks that tell the questions apart, with what is asked of them."""
    limit_threads()
    return common.subjects(common.planted_networks(PLANTED))


def by_network(table: pd.DataFrame, metric: str, **where: str) -> dict[str, float]:
    """Return a metric's value of each planted network, by its short name."""
    rows = table[table["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    names = [str(name).removeprefix("planted/") for name in rows["network"]]
    return dict(zip(names, rows["value"], strict=True))


def test_interchange_along_a_probe_is_fooled_by_no_decoy(planted: list[Subject]) -> None:
    """Least squares finds linear carriers and, of the decoy, the unit that nothing reads; that unit scores 0."""
    settings = drawn.DIRECTIONS.settings
    table = directions_question.measure(planted, **settings, most=2**14, most_of_unit=2**12)
    ols = by_network(table, "direction_score", kind="ols")
    assert {name: ols[name] for name in ("ones", "ones-alone", "balance", "illusion")} == pytest.approx(
        dict.fromkeys(("ones", "ones-alone", "balance", "illusion"), 1.0), abs=1e-3
    )
    assert ols["decoy"] < 0.01
    assert by_network(table, "unit_score", units="11")["decoy"] == 0
    best = by_network(table, "best_unit_score")
    assert [best[name] for name in ("ones", "geometric", "decoy")] == [1, 1, 1]
    assert best["rotated"] < 0.05
    assert 0.15 < best["balance"] < 0.35
    units = table[table["metric"] == "best_unit_score"].set_index("network")["units"]
    assert (units["planted/ones"], units["planted/decoy"]) == ("0", "0")
    far = by_network(table, "unit_off_support", units="0")
    assert far["ones-alone"] == pytest.approx(0, abs=1e-9)


def test_class_means_are_enough_for_every_planted_network(planted: list[Subject]) -> None:
    """Even the delay line, whose means of last bits sum to the count: the claim is no sign of a count alone."""
    table = means_question.measure(planted)
    assert by_network(table, "worst_class_mean_ratio") == dict.fromkeys(PLANTED, 1.0)
    assert by_network(table, "worst_balanced_class_mean_ratio") == dict.fromkeys(PLANTED, 1.0)


def test_a_straight_push_fails_where_the_code_is_curved(planted: list[Subject]) -> None:
    """Between class means every network goes by one; along the slope the geometric code does not."""
    table = steering_question.measure(planted, **drawn.STEERING.settings)
    assert by_network(table, "steered_exact", kind="class_mean") == dict.fromkeys(PLANTED, 1.0)
    linear = by_network(table, "steered_exact", kind="linear")
    straight = {name: share for name, share in linear.items() if name not in ("geometric", "decoy")}
    assert straight == pytest.approx(dict.fromkeys(straight, 1.0))
    assert linear["geometric"] == linear["decoy"] == pytest.approx(0.8755, abs=1e-3)
    assert by_network(table, "steered_off_support", kind="class_mean")["ones-alone"] == pytest.approx(0, abs=1e-9)


def test_ablation_finds_the_units_that_count(planted: list[Subject]) -> None:
    """One carrier scores 1 alone, two share, and of ten delayed bits each costs half of the answers or more."""
    table = ablation_question.measure(planted, draws=4)
    score = by_network(table, "best_single_unit_score")
    assert [score[name] for name in ("ones", "ones-alone", "geometric", "decoy", "illusion")] == [1] * 5
    assert max(score["rotated"], score["delay-line"]) < 0.1
    costly = by_network(table, "costly_units")
    assert {name: costly[name] for name in ("ones", "balance", "decoy", "delay-line")} == {
        "ones": 1,
        "balance": 2,
        "decoy": 1,
        "delay-line": 10,
    }
