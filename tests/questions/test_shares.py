"""Questions of shares: of gates, units, and routes.

- Which gate lets an input in: the candidate of a tally, the input gate of another, and a GRU's.
- How many units carry a concept: one, two that share alike, or those of a GRU that never counted.
- By which route a difference is carried on: held in a cell, handed over by h, or through a GRU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from counters_by_hand import Balance, ByInputGate, Handed
from known_machines import LEAD, WINS, Reader, Tally, X, expected, machine_of, subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.gates import gate_table
from probe.methods.decomposition.routes import route_table
from probe.methods.decomposition.shapley import pooled_shares
from probe.methods.decomposition.units import unit_table
from probe.plots.style import style
from probe.questions.interventions import gate_shares, routes, unit_shares


def measured(model: nn.Module, concept: torch.Tensor = WINS) -> pd.DataFrame:
    """Return the table of one network."""
    return gate_shares.measure(subjects([Network("it", "trained", model, 0)], concept=concept))


def shares(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each gate."""
    rows = table[table["metric"] == "gate_share"]
    return dict(zip(rows["signal"], rows["value"], strict=True))


def test_a_tally_is_written_by_its_candidate() -> None:
    """Share 1 of g at every step; with gates that never move every answer is right; all that is written is kept."""
    table = measured(Tally())
    wanted = {"input_gate": 0, "forget_gate": 0, "cell_candidate": 1, "output_gate": 0}
    assert shares(table) == pytest.approx(wanted, abs=1e-12)
    by_step = table[table["metric"] == "gate_share_at_step"]
    assert by_step["step"].tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert by_step["value"].tolist() == pytest.approx([0, 0, 1, 0] * 4, abs=1e-12)
    assert table[table["metric"] == "constant_gates_accuracy"]["value"].item() == 1
    kept = table[table["metric"] == "kept"]
    assert (kept["value"].tolist(), kept["step"].tolist()) == ([1.0] * 5, [0, 1, 2, 3, 4])


def test_a_win_that_opens_the_input_gate_is_the_input_gates() -> None:
    """Share 1 of i; with the gate at its mean of one half every sequence ends at tanh(5 x .05), nearest to 3 wins."""
    table = measured(ByInputGate())
    assert shares(table) == pytest.approx(
        {"input_gate": 1, "forget_gate": 0, "cell_candidate": 0, "output_gate": 0}, abs=1e-12
    )
    assert table[table["metric"] == "constant_gates_accuracy"]["value"].item() == pytest.approx(10 / 32)


def test_a_gru_has_its_own_gates_and_a_plain_rnn_one_place() -> None:
    """On another concept: r, z and n, pooled over all steps but the first; an RNN has no gate to freeze."""
    model = Reader("gru", 4)
    table = measured(model, LEAD)
    found = shares(table)
    assert list(found) == ["reset_gate", "update_gate", "candidate"]
    tables = [gate_table(machine_of(model), changed_at(X, LEAD, k, k), k) for k in range(1, 5)]
    whole = sum(np.average(values[:, -1] - values[:, 0], weights=weight) for values, weight in tables)
    added = np.sum([pooled_shares(*one).values * pooled_shares(*one).whole for one in tables], axis=0)
    assert list(found.values()) == pytest.approx((added / whole).tolist(), abs=1e-12)
    assert len(table[table["metric"] == "kept"]) == 4 * 5
    assert len(table[table["metric"] == "constant_gates_accuracy"]) == 1
    plain = measured(Reader("rnn"), LEAD)
    assert shares(plain) == pytest.approx({"hidden_state": 1})
    assert set(plain["metric"]) == {"gate_share", "gate_share_at_step"}


def test_a_concept_that_never_differs_has_no_gate_shares() -> None:
    """There is no pair."""
    with refused():
        measured(Reader("lstm"), torch.zeros_like(WINS))


def test_the_figures_show_shares_and_the_most_lasting_unit() -> None:
    """Dots are the table's values; the line is the unit in which most of the first step is left."""
    networks = [Network(f"n{seed}", "trained", Reader("lstm", 3, seed), seed) for seed in (1, 2, 3)]
    networks.append(Network("tally", "planted", Tally()))
    table = gate_shares.measure(subjects(networks))
    with style():
        ax = gate_shares.draw(table, thresholds={"input_gate": 0.5})
        lasting = gate_shares.draw_kept(table)
    labels = [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()]
    assert labels == ["input gate", "forget gate", "cell candidate", "output gate"]
    dots = next(line for line in ax.lines if line.get_label() == "trained")
    rows = table[(table["metric"] == "gate_share") & (table["signal"] == "input_gate")]
    assert np.asarray(dots.get_ydata()).tolist() == pytest.approx(rows["value"].tolist()[:3])
    lines = {str(line.get_label()): line for line in lasting.lines}
    kept = table[(table["metric"] == "kept") & (table["role"] == "trained") & (table["step"] == 0)]
    best = kept.groupby("network")["value"].max().median()
    assert np.asarray(lines["trained"].get_ydata())[0] == pytest.approx(best)
    assert np.asarray(lines["planted"].get_ydata()).tolist() == [1.0] * 5
    # A table counts steps from 0, and a figure from 1.
    assert np.asarray(lines["planted"].get_xdata()).tolist() == [1, 2, 3, 4, 5]


def units_measured(model: nn.Module, concept: torch.Tensor = WINS, **options: object) -> pd.DataFrame:
    """Return the table of one network, at step 3 unless said otherwise."""
    chosen: dict[str, object] = {"step": 3} | options
    return unit_shares.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **chosen)  # pyright: ignore[reportArgumentType]


def value(table: pd.DataFrame, metric: str) -> float:
    """Return the one value of a metric."""
    return table[table["metric"] == metric]["value"].item()


def test_a_tally_is_carried_by_its_unit_alone() -> None:
    """Beside two idle units the first has share 1, nobody works against it, and one unit takes part."""
    table = units_measured(Tally(idle=2))
    assert table[table["metric"] == "unit_share"]["value"].tolist() == pytest.approx([1, 0, 0], abs=1e-12)
    best = table[table["metric"] == "largest_unit_share"]
    assert (best["units"].item(), best["value"].item()) == ("0", pytest.approx(1))
    assert value(table, "negative_unit_shares") == pytest.approx(0, abs=1e-12)
    assert value(table, "unit_participation") == pytest.approx(1)
    correlated = table[table["metric"] == "correlated_unit_share"]
    assert (correlated["units"].item(), correlated["value"].item()) == ("0", pytest.approx(1))
    assert value(table, "whole_difference") == pytest.approx(1)
    assert set(table["step"]) == {3}


def test_a_balance_is_carried_by_two_alike() -> None:
    """Wins in one unit, losses in the other: shares one half each by symmetry, two units take part."""
    table = units_measured(Balance())
    assert table[table["metric"] == "unit_share"]["value"].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    assert value(table, "unit_participation") == pytest.approx(2, abs=1e-5)


def test_a_gru_with_another_concept_shares_what_its_tables_say() -> None:
    """Wins minus losses on a random GRU: shares sum to 1, and are those of all pairs that differ two steps before."""
    model = Reader("gru", 4)
    table = units_measured(model, LEAD)
    shares = table[table["metric"] == "unit_share"]["value"].to_numpy()
    wanted = pooled_shares(*unit_table(machine_of(model), changed_at(X, LEAD, 1, 3), 3))
    assert shares == pytest.approx(wanted.values, abs=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert value(table, "largest_unit_share") == shares.max()
    assert value(table, "negative_unit_shares") == pytest.approx(-shares[shares < 0].sum())
    assert value(table, "unit_participation") == pytest.approx(1 / (shares**2).sum())


def test_the_correlated_unit_is_that_of_single_units() -> None:
    """The unit of claim 1a: the largest absolute correlation within steps."""
    from probe.questions.states import single_units

    network = subjects([Network("it", "trained", Reader("lstm", 4))], concept=LEAD)
    found = single_units.measure(network)
    best = found[found["metric"] == "largest_correlation"]["units"].item()
    table = unit_shares.measure(network, step=3)
    own = table[table["metric"] == "correlated_unit_share"]
    assert own["units"].item() == best
    shares = table[table["metric"] == "unit_share"].set_index("units")["value"]
    assert own["value"].item() == shares[best]


def test_options_choose_steps() -> None:
    """Two before the step is the default; another changed step gives another difference."""
    model = Reader("gru", 4)
    first = units_measured(model)
    assert value(units_measured(model, changed=1), "whole_difference") == value(first, "whole_difference")
    assert value(units_measured(model, changed=0), "whole_difference") != value(first, "whole_difference")


def test_what_cannot_be_shared_is_refused() -> None:
    """No step, no pair, a concept that does not fit."""
    with refused():
        units_measured(Tally(), step=6)
    with refused():
        units_measured(Tally(), torch.zeros_like(WINS), changed=0)
    with refused():
        units_measured(Tally(), WINS[:, :3])


def test_the_figure_ranks_the_shares() -> None:
    """The line of a role is the median of ranked shares."""
    networks = [Network(f"n{seed}", "trained", Reader("gru", 3, seed), seed) for seed in (1, 2, 3)]
    networks.append(Network("tally", "planted", Tally(idle=1)))
    table = unit_shares.measure(subjects(networks), step=3)
    with style():
        ax = unit_shares.draw(table)
    lines = {str(line.get_label()): line for line in ax.lines}
    shares = table[(table["metric"] == "unit_share") & (table["role"] == "trained")]
    ranked = [np.sort(one["value"])[::-1] for _, one in shares.groupby("network")]
    assert np.asarray(lines["trained"].get_ydata()) == pytest.approx(np.median(ranked, axis=0))
    assert np.asarray(lines["planted"].get_ydata()) == pytest.approx([1, 0], abs=1e-9)


def route_shares(table: pd.DataFrame) -> dict[str, float]:
    """Return the share of each route of the only network."""
    rows = table[table["metric"] == "route_share"]
    return dict(zip(rows["signal"], rows["value"], strict=True))


def test_a_tally_stays_in_its_cell() -> None:
    """All of a difference goes through f * c; h reaches no gate that anything depends on."""
    table = routes.measure(subjects([Network("it", "trained", Tally(idle=2))]), step=2)
    wanted = {"cell_state": 1, "input_gate": 0, "forget_gate": 0, "cell_candidate": 0, "output_gate": 0}
    assert route_shares(table) == pytest.approx(wanted, abs=1e-12)
    assert table[table["metric"] == "whole_difference"]["value"].item() == pytest.approx(1)


def test_a_count_that_is_handed_over_goes_through_the_candidate() -> None:
    """With the forget gate shut all of it is written again by what the candidate reads of h."""
    own: dict[str, Any] = {"answer": lambda output: output.round(), "expected": lambda output: output}
    table = routes.measure(subjects([Network("it", "trained", Handed())], **own), step=2)
    assert route_shares(table) == pytest.approx(
        {"cell_state": 0, "input_gate": 0, "forget_gate": 0, "cell_candidate": 1, "output_gate": 0}, abs=1e-12
    )


def test_a_gru_has_the_routes_of_its_formulas_and_a_plain_rnn_has_one() -> None:
    """On another concept: h through z * h and into r, z and n, in shares that sum to 1; of an RNN 1."""
    model = Reader("gru", 4)
    table = routes.measure(subjects([Network("it", "trained", model)], concept=LEAD), step=3)
    found = route_shares(table)
    assert list(found) == ["hidden_state", "reset_gate", "update_gate", "candidate"]
    assert sum(found.values()) == pytest.approx(1)
    wanted = pooled_shares(*route_table(machine_of(model), changed_at(X, LEAD, 1, 3), 3))
    assert list(found.values()) == pytest.approx(wanted.values.tolist(), abs=1e-12)
    assert set(table["step"]) == {3}
    plain = routes.measure(subjects([Network("it", "trained", Reader("rnn"))], concept=LEAD), step=3)
    assert route_shares(plain) == pytest.approx({"hidden_state": 1})


def test_another_changed_step_gives_another_difference() -> None:
    """Two before the step is the default."""
    network = [Network("it", "trained", Reader("lstm"))]

    def whole(**options: object) -> float:
        table = routes.measure(subjects(network), step=3, **options)  # pyright: ignore[reportArgumentType]
        return table[table["metric"] == "whole_difference"]["value"].item()

    assert whole() == whole(changed=1) != whole(changed=0)


def test_the_last_step_has_no_route() -> None:
    """Its state is read and goes nowhere."""
    with refused():
        routes.measure(subjects([Network("it", "trained", Tally())]), step=-1)
    with refused():
        routes.measure(subjects([Network("it", "trained", Tally())], concept=torch.zeros(2)), step=1)


def test_the_figure_has_a_column_a_route() -> None:
    """Every dot is a value of the table, under its route's name."""

    def doubled(scores: Tensor) -> Tensor:
        return expected(scores)

    networks = [Network("it", "trained", Reader("lstm"), 1), Network("tally", "planted", Tally(idle=1))]
    table = routes.measure(subjects(networks, expected=doubled), step=2)
    with style():
        ax = routes.draw(table)
    assert [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()] == [
        "c through f · c",
        "h into the input gate",
        "h into the forget gate",
        "h into the candidate",
        "h into the output gate",
    ]
    dots = [float(np.asarray(line.get_ydata())[0]) for line in ax.lines if line.get_marker() == "o"]
    rows = table[(table["metric"] == "route_share") & (table["role"] == "trained")]
    assert dots == pytest.approx(rows["value"].tolist())
