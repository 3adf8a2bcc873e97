"""Shares of units, of gates, and of the routes by which a difference goes on: of LSTMs by hand, and of a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from counters_by_hand import balance, by_input_gate, handed
from known_machines import LEAD, WINS, Reader, Tally, X, machine_of, subjects
from tables_read import by, value, values
from torch import nn

from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.gates import gate_table
from probe.methods.decomposition.routes import route_table
from probe.methods.decomposition.shapley import pooled_shares
from probe.methods.decomposition.units import unit_table
from probe.questions.interventions import gate_shares, routes, unit_shares
from probe.questions.states import single_units

GATES = ("input_gate", "forget_gate", "cell_candidate", "output_gate")


def measured(of: Any, model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network, by one of the questions."""
    return of.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def is_all(found: dict[str, float], whole: str) -> bool:
    """Return whether one has the whole share, and each of the others none."""
    return found == pytest.approx(dict.fromkeys(found, 0.0) | {whole: 1.0}, abs=1e-12)


def test_a_tally_is_written_by_its_candidate_and_a_win_that_opens_the_input_gate_by_that() -> None:
    """Share 1 of g at every step, with gates that never move every answer is right, and all that is written is kept.

    Of the other i has all; with it at its mean of one half every sequence ends at tanh(5 x .05), nearest to 3 wins.
    """
    table = measured(gate_shares, Tally())
    assert is_all(by("signal", table, "gate_share"), "cell_candidate")
    for step in (1, 2, 3, 4):
        assert is_all(by("signal", table, "gate_share_at_step", step=step), "cell_candidate")
    assert tuple(by("signal", table, "gate_share")) == GATES
    assert value(table, "constant_gates_accuracy") == 1
    assert by("step", table, "kept") == dict.fromkeys(range(5), 1.0)
    opened = measured(gate_shares, by_input_gate())
    assert is_all(by("signal", opened, "gate_share"), "input_gate")
    assert value(opened, "constant_gates_accuracy") == pytest.approx(10 / 32)


def test_a_tally_is_carried_by_its_unit_alone_and_a_balance_by_two_alike() -> None:
    """Nobody works against the one unit, and one takes part; wins in one and losses in the other have a half each."""
    table = measured(unit_shares, Tally(idle=2), step=3)
    assert is_all(by("units", table, "unit_share"), "0")
    assert value(table, "negative_unit_shares") == pytest.approx(0, abs=1e-12)
    for metric in ("largest_unit_share", "correlated_unit_share"):
        assert by("units", table, metric) == pytest.approx({"0": 1})
    assert values(table, "unit_participation") == pytest.approx(values(table, "whole_difference")) == [1]
    two = measured(unit_shares, balance(), step=3)
    assert values(two, "unit_share") == pytest.approx([0.5, 0.5], abs=1e-6)
    assert value(two, "unit_participation") == pytest.approx(2, abs=1e-5)


def test_a_tally_stays_in_its_cell_and_a_count_that_is_handed_over_goes_through_the_candidate() -> None:
    """All goes through f * c, or, with the forget gate shut, is written again by what the candidate reads of h."""
    table = measured(routes, Tally(idle=2), step=2)
    assert set(by("signal", table, "route_share")) == {"cell_state", *GATES}
    assert is_all(by("signal", table, "route_share"), "cell_state")
    assert value(table, "whole_difference") == pytest.approx(1)
    own: dict[str, Any] = {"answer": torch.round, "expected": lambda output: output}
    table = routes.measure(subjects([Network("it", "trained", handed())], **own), step=2)
    assert is_all(by("signal", table, "route_share"), "cell_candidate")


def test_shares_of_a_gru_with_another_concept_are_those_of_its_tables() -> None:
    """r, z and n pooled over all steps but the first; units and routes of all pairs that differ two steps before."""
    model = Reader("gru", 4)
    machine, pairs = machine_of(model), changed_at(X, LEAD, 1, 3)
    table = measured(gate_shares, model, LEAD)
    assert list(by("signal", table, "gate_share")) == ["reset_gate", "update_gate", "candidate"]
    tables = [gate_table(machine, changed_at(X, LEAD, k, k), k) for k in range(1, 5)]
    whole = sum(np.average(rows[:, -1] - rows[:, 0], weights=weight) for rows, weight in tables)
    added = np.sum([pooled_shares(*one).values * pooled_shares(*one).whole for one in tables], axis=0)
    assert values(table, "gate_share") == pytest.approx(added / whole, abs=1e-12)
    assert len(values(table, "kept")) == 4 * 5
    assert len(values(table, "constant_gates_accuracy")) == 1

    table = measured(routes, model, LEAD, step=3)
    found = by("signal", table, "route_share")
    assert list(found) == ["hidden_state", "reset_gate", "update_gate", "candidate"]
    assert list(found.values()) == pytest.approx(pooled_shares(*route_table(machine, pairs, 3)).values, abs=1e-12)
    assert sum(found.values()) == pytest.approx(1)

    table = measured(unit_shares, model, LEAD, step=3)
    shares = np.array(values(table, "unit_share"))
    assert shares == pytest.approx(pooled_shares(*unit_table(machine, pairs, 3)).values, abs=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert value(table, "largest_unit_share") == shares.max()
    assert value(table, "negative_unit_shares") == pytest.approx(-shares[shares < 0].sum())
    assert value(table, "unit_participation") == pytest.approx(1 / (shares**2).sum())
    # The unit of claim 1a: the largest absolute correlation within steps.
    best = single_units.measure(subjects([Network("it", "trained", model)], concept=LEAD))
    (unit,) = by("units", best, "largest_correlation")
    assert by("units", table, "correlated_unit_share") == {unit: shares[int(unit)]}


def test_a_plain_rnn_has_one_place_and_one_route() -> None:
    """It has no gate to freeze."""
    plain = measured(gate_shares, Reader("rnn"), LEAD)
    assert by("signal", plain, "gate_share") == pytest.approx({"hidden_state": 1})
    assert set(plain["metric"]) == {"gate_share", "gate_share_at_step"}
    table = measured(routes, Reader("rnn"), LEAD, step=3)
    assert by("signal", table, "route_share") == pytest.approx({"hidden_state": 1})


@pytest.mark.parametrize("question", [unit_shares, routes], ids=["units", "routes"])
def test_options_choose_steps(question: Any) -> None:
    """Two before the step is the default; another changed step gives another difference."""
    model = Reader("lstm")
    whole = [value(measured(question, model, step=3, **more), "whole_difference") for more in ({}, {"changed": 1})]
    assert whole[0] == whole[1] != value(measured(question, model, step=3, changed=0), "whole_difference")
