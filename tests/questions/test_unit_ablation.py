"""Resample ablation: on a tally in one unit among idle ones, and on a GRU of two features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import LENGTH, WINS, Reader, Tally, X, machine_of, subjects
from studied import bits
from tables_read import by, rows, value, values
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.causal.ablation import Resampling
from probe.methods.machines import Machine
from probe.methods.readouts import Answers
from probe.questions.interventions import unit_ablation
from probe.studies.prepare import prepare


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


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_answers_are_those_of_each_row_run_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every step the ablated numbers are another prefix's, and the network goes on from the mixed state.

    The first draws are the same whether more follow, and whatever is run together.
    """
    machine = machine_of(Reader(kind), X[[0, 0, 5, 9, 31, 30]])
    resampling, unit = Resampling(machine, draws=3, seed=1), machine.dynamics.unit
    for columns in (list(unit(1)), [*unit(0), *unit(2)], [1], list(range(machine.dynamics.size)), []):
        found = resampling.answers(columns)
        for draw in range(3):
            chosen, expected = by_hand(machine, resampling, columns, draw)
            assert found.chosen.view(6, 3)[:, draw].tolist() == chosen
            assert found.expected.view(6, 3)[:, draw].tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(found.chosen.view(6, 3)[:, 0], machine.clean.answers.chosen)
    every = resampling.answers(unit(0)).expected.view(6, 3)
    assert torch.allclose(resampling.answers(unit(0), draws=2).expected.view(6, 2), every[:, :2], atol=1e-12)
    monkeypatch.setattr("probe.methods.causal.ablation._ROWS", 6)
    assert torch.allclose(resampling.answers(unit(0)).expected.view(6, 3), every, atol=1e-12)


def test_the_other_prefix_is_another_one_each_as_likely() -> None:
    """Never its own; after one step there is one other; with many draws each of the others occurs as often."""
    machine = machine_of(Tally())
    others = Resampling(machine, draws=4000, seed=0).others
    assert [tuple(one.shape) for one in others] == [(2 ** (step + 1), 4000) for step in range(LENGTH)]
    assert not any((one == torch.arange(len(one))[:, None]).any() for one in others)
    assert others[0].unique(dim=1).flatten().tolist() == [1, 0]
    shares = others[1][2].bincount(minlength=4).double() / 4000
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    first, again, other = (Resampling(machine, draws=5, seed=seed).others[3] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_tally_needs_its_one_unit_and_nothing_else() -> None:
    """Without it an answer is right where the drawn prefix has the same count; alone it is always right."""
    table = unit_ablation.measure(subjects([Network("tally", "planted", Tally(2))]))
    drawn = Resampling(machine_of(Tally(2)), draws=32, seed=0).others[-1]
    same = float((WINS[drawn, -1] == WINS[:, -1:]).double().mean())
    assert same == pytest.approx((252 - 32) / (32 * 31), abs=0.03)
    assert (value(table, "own_accuracy"), value(table, "costly_units")) == (1, 1)
    assert value(table, "none_kept_accuracy") == pytest.approx(same)
    assert by("units", table, "unit_drop") == pytest.approx({"0": 1 - same, "1": 0, "2": 0})
    assert by("units", table, "kept_accuracy") == pytest.approx({"0": 1, "1": same, "2": same})
    difference = float((WINS[drawn, -1] - WINS[:, -1:]).abs().double().mean())
    assert value(table, "unit_answer_change", units="0") == pytest.approx(difference, abs=1e-6)
    assert by("units", table, "best_single_unit_score") == pytest.approx({"0": 1})
    kept = unit_ablation.kept_by_number(table)
    assert kept["value"].tolist() == pytest.approx([same, 1, 1, 1])
    assert kept["units"].tolist() == ["", "0", "0 1", "0 1 2"]


def test_on_a_gru_the_table_holds_what_ablations_one_by_one_give() -> None:
    """Another layer: drops, kept units, the greedy order with fewer draws, and the score."""
    model = Reader("gru", units=4, seed=5)
    own_answers, concept = model(X).argmax(1), torch.zeros_like(WINS)
    concept[:, -1] = own_answers  # what the network answers, so that its own accuracy is 1
    asked = subjects([Network("gru", "trained", model, 0)], concept=concept, layer="rnn[0]")
    table, machine = unit_ablation.measure(asked, draws=8), machine_of(model)
    resampling = Resampling(machine, draws=8)

    def accuracy(kept: list[int], draws: int = 8) -> float:
        columns = [column for unit in range(4) if unit not in kept for column in machine.dynamics.unit(unit)]
        found = resampling.answers(columns, draws).chosen.view(32, -1)
        return float((found == own_answers[:, None]).double().mean())

    alone = {unit: accuracy([unit]) for unit in range(4)}
    drops = {str(unit): 1 - accuracy([other for other in range(4) if other != unit]) for unit in range(4)}
    assert value(table, "own_accuracy") == 1
    assert by("units", table, "unit_drop") == pytest.approx(drops)
    assert by("units", table, "kept_accuracy") == pytest.approx({str(unit): kept for unit, kept in alone.items()})
    best = max(alone, key=lambda unit: alone[unit])
    score = (alone[best] - accuracy([])) / (1 - accuracy([]))
    assert by("units", table, "best_single_unit_score") == pytest.approx({str(best): score})
    second = max((unit for unit in range(4) if unit != best), key=lambda unit: accuracy([best, unit], 1))
    assert value(table, "best_kept_accuracy", units=f"{best} {second}") == pytest.approx(accuracy([best, second]))
    assert unit_ablation.kept_by_number(table)["kept"].tolist() == [0, 1, 2, 3, 4]
    assert value(table, "costly_units") == sum(drop > 0.05 for drop in drops.values())
    assert set(table["layer"]) == {"rnn[0]"}
    # Where none of the state does as well as all of it there is nothing to share out.
    with torch.no_grad():
        model.head.weight.zero_()
    table = unit_ablation.measure(subjects([Network("same", "own initialisation", model)]), draws=4)
    assert not len(rows(table, "best_single_unit_score"))
    assert value(table, "costly_units") == 0


def test_accuracy_weighs_sequences_values_or_errors() -> None:
    """Of ten sequences with the answer 1 and eighty with 0, a wrong one may cost eight times as much in the ten."""
    right = np.array([0.0] * 80 + [1.0] * 10)
    given = torch.as_tensor(right).index_fill(0, torch.tensor(89), 0.0)
    answers = Answers(given, given)
    assert unit_ablation.accuracy_of(answers, right) == pytest.approx(89 / 90)
    assert unit_ablation.accuracy_of(answers, right, by_value=True) == pytest.approx(1 - 0.1 / 2)
    # Three values that one sequence has each are counted together, as one value.
    given = torch.tensor([0.0] * 9 + [1.0, 0.0, 0.0])
    rare = unit_ablation.accuracy_of(Answers(given, given), np.array([0.0] * 9 + [1.0, 2.0, 3.0]), by_value=True)
    assert rare == pytest.approx(0.5 + 0.5 / 3)
    # Of numbers without levels an error of half a deviation everywhere leaves .5.
    shifted = torch.arange(100.0).double() + np.std(np.arange(100.0)) / 2
    assert unit_ablation.accuracy_of(Answers(shifted, shifted), np.arange(100.0), levels=False) == pytest.approx(0.5)


def test_units_beyond_a_budget_are_drawn_and_a_stack_names_them_by_layer() -> None:
    """Of 40 units 24 are ablated: 16 that follow the concept most, and 8 random ones, named with their layer."""
    x, readout = bits(30, 5), Readout("ones", weight=np.eye(1, 20), kind="number")
    model = nn.GRU(1, 20, 2, batch_first=True)
    (subject,) = prepare(Study(model, x, {"ones": np.cumsum(x[:, :, 0], 1)}, readout=readout))
    question = unit_ablation.question(subject)
    assert "not clearly more often" in str(question.why_not(subject))
    found = answer(dataclasses.replace(question, needs=()), [subject])
    drops = by("units", found.measurements, "unit_drop")
    assert len(drops) == 24
    assert {unit.rpartition(":")[0] for unit in drops} <= {layer.name for layer in subject.layers}
    assert len(values(found.measurements, "best_kept_accuracy")) == 4
    assert value(found.measurements, "own_accuracy") < 1
    assert "ablated 24 of 40 units" in found.notes["setup"]
