"""The exact decompositions of the counter: what planted networks must give, to the number."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from analyses.counter import common
from models import planted
from probe.evidence.measurements import FITTED_HEADS, Network, only
from probe.questions.interventions import unit_shares as questions
from tests.repo import asked_once


@pytest.fixture(scope="module")
def tables() -> Mapping[str, pd.DataFrame]:
    """Return what five questions measure of one network of each role and some planted ones more."""
    # Without distractors where they are not the point: every unit doubles the subsets.
    built = {
        "balance": planted.balance_counter(distractors=0),
        "delay-line": planted.delay_line(distractors=0),
        "geometric": planted.geometric_counter(distractors=0),
    }
    some = [Network(f"planted/{name}", "planted", model) for name, model in built.items()]
    rotated = Network("planted/rotated", "planted", planted.rotated_counter())
    found = {}
    for name in ("unit_shares", "routes", "gate_shares", "bit_effects", "noise_margin"):
        more = asked_once.measure(name, [*some, rotated] if name == "noise_margin" else some)
        found[name] = pd.concat([asked_once.tables()[name], more], ignore_index=True)
    return found


def of(table: pd.DataFrame, metric: str, signal: str = "") -> dict[str, float]:
    """Return a metric of every network."""
    rows = only(table, metric=metric, signal=signal)
    return dict(zip(rows["network"].str.removeprefix("planted/"), rows["value"], strict=True))


def test_one_unit_two_units_and_a_direction_have_the_shares_of_their_weights(
    tables: Mapping[str, pd.DataFrame],
) -> None:
    """Largest share 1 in one unit, .5 in two; the geometric counter's second unit, which says "started", has none."""
    largest, taking_part = (of(tables["unit_shares"], key) for key in ("largest_unit_share", "unit_participation"))
    assert largest["ones"] == pytest.approx(1, abs=1e-9)
    assert largest["balance"] == pytest.approx(0.5, abs=1e-3)
    assert largest["geometric"] == pytest.approx(1, abs=1e-3)
    assert (taking_part["ones"], taking_part["balance"]) == pytest.approx((1, 2), abs=1e-3)
    negative = of(tables["unit_shares"], "negative_unit_shares")
    assert negative["ones"] == pytest.approx(0, abs=1e-9)
    assert negative["counter/seed-2000"] < 0.1
    assert negative["counter/seed-2000/fitted head"] > 0.6


def test_a_sum_in_a_cell_and_a_memory_that_is_handed_on_have_their_routes(
    tables: Mapping[str, pd.DataFrame],
) -> None:
    """f * c carries all of the ones-counter; the delay line, which forgets at once, goes through its candidates."""
    assert of(tables["routes"], "route_share", "cell_state")["ones"] == pytest.approx(1, abs=1e-9)
    assert of(tables["routes"], "route_share", "cell_state")["delay-line"] == pytest.approx(0, abs=1e-6)
    assert of(tables["routes"], "route_share", "cell_candidate")["delay-line"] == pytest.approx(1, abs=1e-6)


def test_gates_that_never_move_and_gates_that_do_are_told_apart(tables: Mapping[str, pd.DataFrame]) -> None:
    """The ones-counter is written by g and needs no gate; the geometric one shrinks by f and falls with it."""
    gates = {gate: of(tables["gate_shares"], "gate_share", gate) for gate in ("cell_candidate", "forget_gate")}
    constant = of(tables["gate_shares"], "constant_gates_accuracy")
    assert gates["cell_candidate"]["ones"] == pytest.approx(1, abs=1e-9)
    assert gates["forget_gate"]["geometric"] == pytest.approx(1, abs=1e-3)
    assert (constant["ones"], constant["balance"]) == (1, 1)
    assert constant["geometric"] < 0.5
    kept = only(tables["gate_shares"], metric="kept", network="planted/ones", units="0")
    assert kept["value"].tolist() == [1.0] * 10


def test_noise_and_effects_are_those_of_the_page_of_science(tables: Mapping[str, pd.DataFrame]) -> None:
    """Ones .82, balance .94, rotated .99 to .01; a planted counter's answer moves by 1 and 0 to the last digit."""
    accuracy = of(tables["noise_margin"], "noisy_accuracy")
    assert accuracy["ones"] == pytest.approx(0.82, abs=0.01)
    assert accuracy["balance"] == pytest.approx(0.94, abs=0.01)
    assert accuracy["rotated"] == pytest.approx(0.99, abs=0.01)
    assert accuracy["counter/seed-2000"] - accuracy["counter/seed-2000/fitted head"] > 0.2
    assert of(tables["bit_effects"], "largest_effect_sd")["ones"] == pytest.approx(0, abs=2e-3)


def test_what_does_not_answer_with_the_count_is_left_out(tables: Mapping[str, pd.DataFrame]) -> None:
    """An untrained head has no count to share; the one that is read by the best line has."""
    for table in tables.values():
        assert set(table["role"]) == {"trained", *FITTED_HEADS, "planted", "other"}


def test_every_drift_has_the_same_shares() -> None:
    """The theorem: on ten bits no share of a unit, route or gate can tell what a network adds to the count."""
    drifting = [
        Network(f"drift {d}", "planted", planted.drift_counter(d, distractors=2)) for d in (0.0, 0.25, 0.5, 0.8, 1.0)
    ]
    table = questions.measure(common.subjects(drifting))
    assert table[table["metric"] == "unit_share"]["value"].tolist() == pytest.approx([1, 0, 0] * 5, abs=1e-6)
