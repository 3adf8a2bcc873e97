"""What the counter's questions measured of planted networks, beyond what rules judge: it follows from their weights.

The measurements are the committed ones; what rules judge of them, test_planted_expected.py computes again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables_read import rows, value

from analyses.counter import base_rate, common, crossed, drift_law, estimators, programs, study, width
from models import planted
from models.recipes import BASE_RATES, base_rate_recipe, crossed_recipe
from probe.evidence.measurements import only
from probe.methods.causal.class_means import classes_at
from probe.methods.probing.monotone import each_unit_read, each_unit_read_beside_a_clock
from probe.studies.store import read
from probe.subjects.answers import task_of
from probe.subjects.ends import machine_of

NETWORKS = tuple(planted.battery())


@cache
def committed(question: str, *names: str) -> pd.DataFrame:
    """Return the committed measurements of planted networks, or of others, by their short names."""
    groups = read(study.FOLDER / "judged.csv.xz")
    tables = [groups[name if "/" in name else f"planted/{name}"].tables[question] for name in names or NETWORKS]
    found = pd.concat(tables, ignore_index=True)
    return found.assign(network=found["network"].str.removeprefix("planted/"))


#: What a map reads of a perfect cell after 7 to 10 bits: all but the least and the largest count, when held out.
LATE = 1 - sum(2 / 2**bits for bits in (7, 8, 9, 10)) / 4
#: Question, metric, its other columns -> how near, and what planted networks have.
FACTS: list[tuple[str, str, dict[str, Any], float, dict[str, float]]] = [
    ("programs", "unseen_agreement", {"kind": "ones"}, 0, {"ones": 1, "zeros": 0, "geometric": 0}),
    ("programs", "unseen_agreement", {"kind": "zeros backwards"}, 0, {"zeros": 1, "geometric": 1, "ones": 0}),
    ("programs", "unseen_agreement", {"kind": "balance"}, 1e-12, {"balance": 1, "drift-0.5": 1, "ones": 0.2}),
    ("quantised_states", "states", {"kind": "over_steps"}, 0, {"ones-alone": 11}),
    # The theorem: on ten bits no share of a unit can tell what a network adds to the count.
    ("unit_shares", "unit_share", {"units": "0"}, 1e-6, {f"drift-{d}": 1.0 for d in (0.25, 0.5, 0.8)}),
    ("unit_shares", "unit_participation", {}, 1e-3, {"ones": 1, "zeros": 1, "balance": 2}),
    ("routes", "route_share", {"signal": "cell_candidate"}, 1e-6, {"delay-line": 1, "ones": 0}),
    ("gate_shares", "gate_share", {"signal": "forget_gate"}, 1e-3, {"geometric": 1, "ones": 0}),
    ("directions", "unit_score", {"units": "11"}, 0, {"decoy": 0}),
    ("directions", "best_unit_score", {"units": "0"}, 0.1, {"ones": 1, "decoy": 1, "rotated": 0, "balance": 0.25}),
    ("unit_ablation", "costly_units", {}, 0, {"ones": 1, "balance": 2, "decoy": 1, "delay-line": 10}),
    ("steering", "steered_exact", {"kind": "linear"}, 1e-3, {"ones": 1, "geometric": 0.8755, "decoy": 0.8755}),
    ("erasure", "floor", {}, 1e-6, dict.fromkeys(NETWORKS, 35 / 128)),
    ("accuracy", "automaton_states", {}, 0, dict.fromkeys(NETWORKS, 66)),
    ("estimators", "reading", {"kind": "ols"}, 1e-4, dict.fromkeys(("ones", "zeros", "balance", "decoy"), 1.0)),
    ("moving_zero", "best_stepwise_read", {}, 1e-6, dict.fromkeys(("ones", "drift-0.5", "zeros", "balance"), LATE)),
    ("moving_zero", "best_shifted_read", {}, 1e-3, dict.fromkeys(("ones", "drift-0.5", "zeros", "balance"), 1.0)),
]


@pytest.mark.parametrize(("question", "metric", "where", "near", "wanted"), FACTS)
def test_what_was_measured_follows_from_the_weights(
    question: str, metric: str, where: dict[str, Any], near: float, wanted: dict[str, float]
) -> None:
    """Speeds, programs, states, shares, scores and floors are those that were built in."""
    table = committed(question)
    found = {name: value(table, metric, network=name, **where) for name in wanted}
    assert found == pytest.approx(wanted, abs=near)


def test_a_planted_drift_is_all_that_is_added() -> None:
    """From the state before the first bit on; of a zeros-counter the answer is ten less the zeros, of no other."""
    drifts = {"ones": 0.0, "drift-0.5": 0.5, "zeros": 1.0}
    table = drift_law.measure(common.subjects(common.planted_networks(drifts)))
    for name, d in drifts.items():
        own = only(table, network=f"planted/{name}")
        for metric, wanted in {"start": 10 * d, "fitted_drift": d, "straight_error": 0, "law_error": 0}.items():
            assert value(own, metric) == pytest.approx(wanted, abs=0.05)
        assert (value(own, "ten_less") == 1) is (name == "zeros")
        split = only(own, metric="g_by_first_one")
        assert split["value"].to_numpy(float) == pytest.approx(np.full(9, 2 * d), abs=0.05)
        (network,) = common.planted_networks([name])
        named = replace(network, name=f"{base_rate_recipe(0.2).name}/{name}")
        own = base_rate.measure(common.subjects([named]))
        for metric, wanted in {"start": 10 * d, "drift": d, "own_error": 0, "all_error": 0}.items():
            assert value(own, metric) == pytest.approx(wanted, abs=0.05)


def test_what_rules_judge_of_base_rates_follows_from_start_and_drift() -> None:
    """Of networks that start at the mean of the labels and have the base rate as their drift, and rise by .6."""
    lines: list[dict[str, Any]] = []
    for p in BASE_RATES:
        for early, role in ((True, "other"), (False, "trained")):
            about = {"network": f"{base_rate_recipe(p, early=early).name}/seed-7", "role": role}
            lines += [about | {"metric": metric, "value": of * p} for metric, of in (("start", 10), ("drift", 1))]
    judged = base_rate.by_seed(pd.DataFrame(lines)).set_index("metric")["value"].to_dict()
    right = dict.fromkeys(("start_error", "early_line", "early_rate"), 0) | {"early_half": 0.2}
    assert judged == pytest.approx(right | {"drift_rise": 0.6, "rare_ones": 0.2, "rare_zeros": 0.8})


def test_what_rules_judge_of_crossed_networks_follows_from_their_drifts() -> None:
    """Of drifts that are .2 p + .4 mean + .01 start, and with a third symbol those of equal labels."""
    lines: list[dict[str, Any]] = []
    cells = [(cell, 0.0) for cell in crossed.CROSSED] + [(crossed.ALIKE, third) for third in crossed.THIRD]
    for (p, mean, start), third in cells:
        for seed in range(8, 12):
            value = 0.2 * p + 0.4 * mean + 0.01 * start + 1e-4 * seed
            lines.append(
                {
                    "network": f"{crossed_recipe(p, mean, start, third).name}/seed-{seed}",
                    "metric": "drift",
                    "value": value,
                }
            )
    table = crossed.judged(pd.DataFrame(lines))
    assert not table.duplicated(["metric", "role", "network"]).any()
    own = table[table["role"] == "trained"].groupby("metric")["value"]
    assert own.size()[["labels_rise", "law_all", "nearer_labels"]].tolist() == [9 * 4, 27, 2 * 4]
    found = own.median().to_dict()
    rises = {"labels_rise": 0.12, "numbers_rise": 0.4, "start_rise": 0.1}
    assert {key: found[key] for key in rises} == pytest.approx(rises)
    assert found["law_all"] == pytest.approx(0, abs=1e-9)
    assert min(found[law] for law in ("law_labels", "law_numbers", "law_start", "law_zero")) > 0.01
    assert found["nearer_labels"] > 0.03
    # What no law foretells a cell by is the mean of the other 26.
    beside = table[(table["role"] == "no law") & (table["metric"] == "law_all")].set_index("network")["value"]
    assert beside[crossed_recipe(0.8, 0.5, 10).name] == pytest.approx((0.06 + 0.2 + 0.05) * 27 / 26)


def test_the_relay_index_of_drawn_orders_is_near_that_of_all_subsets() -> None:
    """Within a twentieth, of a planted relay and of a counter."""
    networks = common.planted_networks(["relay"]) + common.of_recipe("counter", [2000])
    drawn = width.measure(common.subjects(networks))["value"].tolist()
    names = ("relay", "counter/seed-2000")
    exact = [value(committed("relay", name), "relay_index", network=name) for name in names]
    assert drawn == pytest.approx(exact, rel=0.05)


def test_all_programs_agree_on_ten_bits() -> None:
    """Of the counters that each of them describes; a delay line's cell knows one bit, whatever its zero."""
    table = only(committed("programs", "ones", "zeros", "balance", "geometric"), metric="agreement")
    assert (table[table["at"] == 10].groupby(["network", "kind"])["value"].sum() == 1).all()
    assert set(table["kind"]) == set(programs.PROGRAMS)
    assert value(committed("moving_zero"), "best_shifted_read", network="delay-line") < 0.7


def test_scores_of_estimators_are_those_of_the_directions() -> None:
    """The same pairs and the same numbers: rule 8's among them."""
    scores, others = (
        rows(committed(name, "counter/seed-2000"), metric, network="counter/seed-2000").set_index("kind")["value"]
        for name, metric in (("estimators", "score"), ("directions", "direction_score"))
    )
    assert scores.to_dict() == others.to_dict()


def of_cells(table: pd.DataFrame, network: str, kind: str) -> list[float]:
    """Return a test's value of each cell."""
    return only(table, metric="cell_test", network=network, kind=kind)["value"].tolist()


def test_the_numbers_are_those_of_other_questions() -> None:
    """Shares, interchange of units, units alone; before training cells are read, and nothing is asked of answers."""
    stored, name = read(study.FOLDER / "judged.csv.xz")["counter/seed-2000"].tables, "counter/seed-2000"
    own = stored["one_cell"]
    for question, metric, kind in (("unit_shares", "unit_share", "carries"), ("directions", "unit_score", "moves")):
        rows = only(stored[question], metric=metric, network=name)
        assert of_cells(own, name, kind) == pytest.approx(rows["value"].tolist(), abs=1e-6)
    best = only(stored["unit_ablation"], metric="best_single_unit_score", network=name)["value"].item()
    assert max(of_cells(own, name, "suffices")) == pytest.approx(best, abs=1e-6)
    before, heads = (only(own, role=role) for role in ("own initialisation", "fitted head"))
    assert set(before["kind"]) == {"read ones", "lasts ones", "read zeros", "lasts zeros", ""}
    # The fitted head reads the same cells, on the same splits.
    for kind in ("read ones", "lasts zeros"):
        assert only(before, kind=kind)["value"].tolist() == only(heads, kind=kind)["value"].tolist()


def test_readings_of_estimators_are_held_out() -> None:
    """A value that the states do not hold is not read, though least squares would fit some of it."""
    (subject,) = common.subjects(common.with_controls("counter", 2000)[:1])
    classes = classes_at(machine_of(subject), task_of(subject), estimators.STEP)
    noise = np.random.default_rng(0).normal(size=classes.concept.shape)
    shuffled = replace(classes, concept=noise, values=np.zeros(1), member=0 * classes.member)
    readings = estimators.held_out_readings(shuffled, seed=0)
    assert max(readings.values()) < 0
    assert "logistic" not in readings  # one class has no direction


def test_a_shift_of_each_step_is_found_and_no_more() -> None:
    """A zero that jumps back and forth is followed, where one map without shifts fails; noise is not read."""
    rng, shift, weight = np.random.default_rng(0), np.array([0, 3.0, -2, 1, 4, -1]), np.full(600, 1 / 600)
    step, count = rng.integers(0, 6, 600), rng.integers(0, 5, 600).astype(float)
    states = np.column_stack([-np.tanh(0.2 * (count + shift[step])), rng.normal(size=600), count * (1 + step)])
    splits = [np.array_split(rng.permutation(600), 4)]
    read = each_unit_read_beside_a_clock(states, count, step, splits, weight)
    assert read[0] > 0.95
    assert each_unit_read(states, count, splits, weight)[0] < 0.6
    assert read[1] < 0.4
    # Where a step doubles the count in the unit, no shift makes one map of all steps.
    assert read[2] < 0.9
    # Whatever the steps are called.
    assert read == pytest.approx(each_unit_read_beside_a_clock(states, count, 10 * step + 3, splits, weight))
