"""Resample ablation: on a tally in one unit among idle ones, and on a GRU of two features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import LENGTH, WINS, Reader, Tally, X, machine_of, subjects
from refusing import refused
from studied import bits
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.causal.ablation import Resampling
from probe.methods.machines import Machine
from probe.methods.readouts import Answers
from probe.plots.style import style
from probe.questions.interventions import unit_ablation
from probe.studies.prepare import prepare
from probe.subjects.subject import Subject


def by_hand(machine: Machine, resampling: Resampling, columns: list[int], draw: int) -> tuple[list[int], list[float]]:
    """Return answers and expected answers of every row of one draw, each row a run of its own."""
    chosen, expected = [], []
    for row in range(len(machine.clean.inputs)):
        state = torch.zeros(1, machine.dynamics.size, dtype=torch.float64)
        for step, prefixes in enumerate(machine.clean.prefixes):
            state = machine.dynamics.advance(state, machine.clean.inputs[row : row + 1, step : step + 1]).clone()
            other = prefixes.rows[resampling.others[step][prefixes.group[row], draw]]
            state[0, columns] = machine.clean.states[other, step, columns]
        found = machine.answers(state)
        chosen.append(int(found.chosen))
        expected.append(float(found.expected))
    return chosen, expected


@pytest.mark.parametrize("rows", [list(range(32)), [0, 0, 5, 9, 31, 30]], ids=["all sequences", "some, one twice"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_answers_are_those_of_each_row_run_alone(kind: str, rows: list[int]) -> None:
    """At every step the ablated numbers are another prefix's, and the network goes on from the mixed state."""
    machine = machine_of(Reader(kind), X[rows])
    resampling = Resampling(machine, draws=3, seed=1)
    for columns in (
        machine.dynamics.unit(1),
        [*machine.dynamics.unit(0), *machine.dynamics.unit(2)],
        [1],
        [*range(machine.dynamics.size)],
        [],
    ):
        found = resampling.answers(columns)
        for draw in range(3):
            chosen, expected = by_hand(machine, resampling, columns, draw)
            assert found.chosen.view(len(rows), 3)[:, draw].tolist() == chosen
            assert found.expected.view(len(rows), 3)[:, draw].tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(found.chosen.view(len(rows), 3)[:, 0], machine.clean.answers.chosen)


def test_the_other_prefix_is_another_one_each_as_likely() -> None:
    """Never its own; after one step there is one other; with many draws each of the others occurs as often."""
    machine = machine_of(Tally())
    others = Resampling(machine, draws=4000, seed=0).others
    assert [tuple(one.shape) for one in others] == [(2 ** (step + 1), 4000) for step in range(LENGTH)]
    for one in others:
        assert not (one == torch.arange(len(one))[:, None]).any()
    assert others[0].unique(dim=1).flatten().tolist() == [1, 0]
    shares = others[1][2].bincount(minlength=4).double() / 4000
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    again, other = Resampling(machine, draws=5, seed=0), Resampling(machine, draws=5, seed=1)
    assert torch.equal(again.others[3], Resampling(machine, draws=5, seed=0).others[3])
    assert not torch.equal(again.others[3], other.others[3])


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_draws_can_be_fewer_and_are_run_in_pieces(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The first draws are the same whether more follow, and whatever is run together."""
    machine = machine_of(Reader(kind))
    resampling = Resampling(machine, draws=7)
    own = machine.dynamics.unit(0)
    every = resampling.answers(own).expected.view(32, 7)
    assert torch.allclose(resampling.answers(own, draws=2).expected.view(32, 2), every[:, :2], atol=1e-12)
    monkeypatch.setattr("probe.methods.causal.ablation._ROWS", 64)
    assert torch.allclose(resampling.answers(own).expected.view(32, 7), every, atol=1e-12)


def one(table: pd.DataFrame, metric: str, units: str = "") -> float:
    """Return one value."""
    return float(table[(table["metric"] == metric) & (table["units"] == units)]["value"].item())


def test_a_tally_needs_its_one_unit_and_nothing_else() -> None:
    """Without it an answer is right where the drawn prefix has the same count; alone it is always right."""
    table = unit_ablation.measure(subjects([Network("tally", "planted", Tally(2))]))
    machine = machine_of(Tally(2))
    drawn = Resampling(machine, draws=32, seed=0).others[-1]
    same = float((WINS[drawn, -1] == WINS[:, -1:]).double().mean())
    assert same == pytest.approx((252 - 32) / (32 * 31), abs=0.03)
    assert one(table, "own_accuracy") == 1
    assert one(table, "none_kept_accuracy") == pytest.approx(same)
    assert [one(table, "unit_drop", unit) for unit in "012"] == pytest.approx([1 - same, 0, 0])
    assert [one(table, "kept_accuracy", unit) for unit in "012"] == pytest.approx([1, same, same])
    difference = float((WINS[drawn, -1] - WINS[:, -1:]).abs().double().mean())
    assert one(table, "unit_answer_change", "0") == pytest.approx(difference, abs=1e-6)
    assert one(table, "costly_units") == 1
    assert one(table, "best_single_unit_score", "0") == pytest.approx(1)
    assert unit_ablation.kept_by_number(table)["value"].tolist() == pytest.approx([same, 1, 1, 1])
    assert unit_ablation.kept_by_number(table)["units"].tolist() == ["", "0", "0 1", "0 1 2"]


def test_on_a_gru_the_table_holds_what_ablations_one_by_one_give() -> None:
    """Another layer: drops, kept units, the greedy order with fewer draws, and the score."""
    model = Reader("gru", units=4, seed=5)
    own_answers = model(X).argmax(1)
    concept = torch.zeros_like(WINS)
    concept[:, -1] = own_answers  # what the network answers, so that its own accuracy is 1
    network = Network("gru", "trained", model, 0)
    table = unit_ablation.measure(subjects([network], concept=concept, layer="rnn[0]"), draws=8)
    machine = machine_of(model)
    resampling = Resampling(machine, draws=8)

    def accuracy(kept: list[int], draws: int = 8) -> float:
        columns = [column for unit in range(4) if unit not in kept for column in machine.dynamics.unit(unit)]
        found = resampling.answers(columns, draws).chosen.view(32, -1)
        return float((found == own_answers[:, None]).double().mean())

    assert one(table, "own_accuracy") == 1
    for unit in range(4):
        rest = [other for other in range(4) if other != unit]
        assert one(table, "unit_drop", str(unit)) == pytest.approx(1 - accuracy(rest))
        assert one(table, "kept_accuracy", str(unit)) == pytest.approx(accuracy([unit]))
    best = max(range(4), key=lambda unit: accuracy([unit]))
    score = (accuracy([best]) - accuracy([])) / (1 - accuracy([]))
    assert one(table, "best_single_unit_score", str(best)) == pytest.approx(score)
    second = max((unit for unit in range(4) if unit != best), key=lambda unit: accuracy([best, unit], 1))
    assert one(table, "best_kept_accuracy", f"{best} {second}") == pytest.approx(accuracy([best, second]))
    assert unit_ablation.kept_by_number(table)["kept"].tolist() == [0, 1, 2, 3, 4]
    drops = [one(table, "unit_drop", str(unit)) for unit in range(4)]
    assert one(table, "costly_units") == sum(drop > 0.05 for drop in drops)
    assert set(table["layer"]) == {"rnn[0]"}


def test_a_network_that_always_answers_the_same_has_no_score() -> None:
    """Where none of the state does as well as all of it there is nothing to share out."""
    model = Reader("gru")
    with torch.no_grad():
        model.head.weight.zero_()
    table = unit_ablation.measure(subjects([Network("same", "own initialisation", model, 0)]), draws=4)
    assert "best_single_unit_score" not in set(table["metric"])
    assert one(table, "costly_units") == 0


def test_draws_that_cannot_be_are_refused() -> None:
    """The message says what is needed."""
    network = [Network("gru", "trained", Reader("gru"), 0)]
    with refused():
        Resampling(machine_of(Tally()), draws=0)
    with refused():
        unit_ablation.measure(subjects(network, concept=WINS[:, 1:]))


def test_the_figure_shows_medians_by_number() -> None:
    """Lines hold the table's numbers, 0 to all units kept."""
    networks = [Network("tally", "trained", Tally(2), 0), Network("gru", "other", Reader("gru"), 0)]
    table = unit_ablation.measure(subjects(networks), draws=4)
    with style():
        kept = unit_ablation.draw_kept(table)
    lines = {line.get_label(): line for line in kept.lines}
    assert np.asarray(lines["trained"].get_xdata()).tolist() == [0, 1, 2, 3]
    assert np.asarray(lines["trained"].get_ydata())[1:].tolist() == [1, 1, 1]


def test_each_value_of_the_right_answer_weighs_the_same_if_that_is_asked_for() -> None:
    """Of ten sequences with the answer 1 and eighty with 0, a wrong one costs eight times as much among the ten."""
    right = np.array([0.0] * 80 + [1.0] * 10)
    given = right.copy()
    given[-1] = 0
    answers = Answers(torch.as_tensor(given), torch.as_tensor(given))
    assert unit_ablation.accuracy_of(answers, right) == pytest.approx(89 / 90)
    assert unit_ablation.accuracy_of(answers, right, by_value=True) == pytest.approx(1 - 0.1 / 2)
    # Three values that one sequence has each are counted together, as one value.
    rare = np.array([0.0] * 9 + [1.0, 2.0, 3.0])
    given = torch.tensor([0.0] * 9 + [1.0, 0.0, 0.0])
    assert unit_ablation.accuracy_of(Answers(given, given), rare, by_value=True) == pytest.approx(0.5 + 0.5 / 3)


def test_numbers_without_levels_are_scored_by_their_error_in_deviations() -> None:
    """An error of half a deviation everywhere leaves .5."""
    right = np.arange(100.0)
    shifted = torch.as_tensor(right + np.std(right) / 2)
    assert unit_ablation.accuracy_of(Answers(shifted, shifted), right, levels=False) == pytest.approx(0.5)


def study_of_stack(units: int) -> Subject:
    """Return two layers on top of each other, with a head that reads a number off the upper one."""
    torch.manual_seed(0)
    weight = np.zeros((1, units))
    weight[0, 0] = 1
    x = bits(40, 6)
    readout = Readout("ones", weight=weight, kind="number")
    (subject,) = prepare(
        Study(nn.GRU(1, units, 2, batch_first=True), x, {"ones": np.cumsum(x[:, :, 0], 1)}, readout=readout)
    )
    return subject


def test_units_beyond_a_budget_are_drawn_and_a_stack_names_them_by_layer() -> None:
    """Of 40 units 24 are ablated: 16 that follow the concept most, and 8 random ones, named with their layer."""
    subject = study_of_stack(20)
    question = unit_ablation.question(subject)
    assert "not clearly more often" in str(question.why_not(subject))
    question = dataclasses.replace(question, needs=())
    table = question.ask([subject])
    drops = table[table["metric"] == "unit_drop"]
    assert len(drops) == 24
    layers = {layer.name for layer in subject.layers}
    assert {unit.rpartition(":")[0] for unit in drops["units"]} <= layers
    assert (table["metric"] == "best_kept_accuracy").sum() == 4
    assert one(table, "own_accuracy") < 1
    found = answer(question, [subject])
    assert "ablated 24 of 40 units" in found.notes["setup"]
