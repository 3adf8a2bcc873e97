"""Class means, directions, pushes, interchange, ablation: on a tally, a latch, and a GRU of two features.

What they measure of planted counters is computed again in tests/repo/oracle_changes.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from answering import answer
from known_machines import LEAD, WINS, Reader, Tally, X, machine_of, subjects
from refusing import refused
from studied import bits, planted, study_of
from tables_read import by, rows, value, values
from torch import nn

from probe import Readout, Study
from probe.evidence.measurements import Network
from probe.methods.causal.ablation import Resampling
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import DIRECTIONS, gradient_directions
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.methods.readouts import Answers
from probe.questions.interventions import class_means, directions, interchange, steering, unit_ablation
from probe.recurrent.signals import Signal
from probe.studies.prepare import prepare
from probe.subjects.answers import task_of
from probe.subjects.controls import fitted_heads
from probe.subjects.ends import machine_of as machine_of_study
from probe.subjects.plans import affordable_pairs, search_of
from probe.subjects.subject import Subject

#: All sequences of eight bits.
BITS = np.array(list(itertools.product((0.0, 1.0), repeat=8)))[:, :, None]
#: Those that end as they begin.
CLOSED = BITS[BITS[:, 0, 0] == BITS[:, -1, 0]]


def test_a_tally_answers_from_class_means_as_from_its_own_states() -> None:
    """The unit that is read has the same value in all states of a class; after one step no class has two states."""
    table = class_means.measure(subjects([Network("tally", "planted", Tally(2), 0)]))
    for metric in ("class_mean_ratio", "balanced_class_mean_ratio", "class_mean_accuracy"):
        assert by("step", table, metric) == {1: 1, 2: 1, 3: 1}
    assert values(table, "class_mean_answer_change") == pytest.approx([0, 0, 0], abs=1e-6)
    assert value(table, "worst_class_mean_ratio") == 1


def test_on_a_gru_ratios_are_those_of_the_states_put_in_one_by_one() -> None:
    """Another layer and head: each number from the definition, with single prefixes left out."""
    model, task = Reader("gru", units=4, seed=5), Task(WINS)
    table = class_means.measure(subjects([Network("gru", "trained", model, 0)], layer="rnn[0]"))
    machine, ratios = machine_of(model), {}
    for step in (1, 2, 3):
        classes, by_value = classes_at(machine, task, step), dict[int, list[tuple[bool, bool]]]()
        for row in (row for row in range(32) if int(WINS[row, step]) not in (0, step + 1)):
            mean = torch.as_tensor(classes.means[int(WINS[row, step])])[None]
            hit = int(machine.answers(mean, torch.tensor([row]), step).chosen) == WINS[row, -1]
            own = machine.clean.answers.chosen[row] == WINS[row, -1]
            by_value.setdefault(int(WINS[row, step]), []).append((bool(hit), bool(own)))
        right, own = np.mean([pair for pairs in by_value.values() for pair in pairs], axis=0)
        assert value(table, "class_mean_accuracy", step=step) == pytest.approx(right)
        ratios[step] = right / own
        balanced = np.mean([np.mean(pairs, axis=0) for pairs in by_value.values()], axis=0)
        assert value(table, "balanced_class_mean_ratio", step=step) == pytest.approx(balanced[0] / balanced[1])
    assert by("step", table, "class_mean_ratio") == pytest.approx(ratios)
    worst = min(ratios, key=lambda step: ratios[step])
    assert by("step", table, "worst_class_mean_ratio") == pytest.approx({worst: ratios[worst]})
    assert len(set(ratios.values())) > 1
    assert set(table["layer"]) == {"rnn[0]"}


def test_scores_and_ratios_that_do_not_exist_are_left_out() -> None:
    """No right answer leaves no ratio, a head that answers alike no way to go, and a single class no direction."""
    model = Reader("gru")
    network = Network("gru", "own initialisation", model, 0)
    table = class_means.measure(subjects([network], concept=WINS - 100))
    assert set(table["metric"]) == {"class_mean_accuracy", "class_mean_answer_change"}
    with torch.no_grad():
        model.head.weight.zero_()
    table = directions.measure(subjects([network]), step=2)
    assert not table["metric"].str.endswith("score").any()
    assert values(table, "direction_shift") == pytest.approx([0] * len(DIRECTIONS), abs=1e-9)
    constant = directions.measure(subjects([network], concept=torch.zeros_like(WINS)), step=2)
    assert not constant["metric"].str.startswith("direction").any()
    asked = subjects([Network("gru", "trained", Reader("gru", 4), 0)], concept=LEAD)
    drawn, every = (directions.measure(asked, step=3, **more) for more in ({"most": 50, "most_of_unit": 60}, {}))
    assert not np.allclose(drawn["value"].head(20), every["value"].head(20))


def test_a_tally_scores_one_along_every_direction_and_in_its_one_unit() -> None:
    """Its states lie on one curve of one unit: all kinds of direction move the answer by what they should."""
    table = directions.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    scores = by("kind", table, "direction_score")
    assert set(scores) == set(DIRECTIONS)
    assert scores["ols"] == pytest.approx(1)
    assert by("units", table, "unit_score") == pytest.approx({"0": 1, "1": 0, "2": 0}, abs=1e-9)
    assert by("units", table, "best_unit_score") == pytest.approx({"0": 1})
    assert values(table, "unit_shift") == pytest.approx([1, 0, 0], abs=1e-6)


def test_a_tally_goes_where_it_is_pushed() -> None:
    """Its cell is linear in the count, so both ways give the answer of another count, at every dose."""
    table = steering.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    for kind, count in (("class_mean", 7), ("linear", 13)):
        assert value(table, "steered_exact", kind=kind) == 1
        assert value(table, "steered_shift", kind=kind) == pytest.approx(1, abs=1e-6)
        doses = by("at", table, "dose_response", kind=kind)
        assert len(doses) == count
        assert [doses[dose] for dose in range(-3, 4)] == pytest.approx(range(-3, 4), abs=1e-6)
    # Where the answer should not follow the concept at all, a tally that follows it is wrong, and has no shift.
    stays = subjects([Network("tally", "planted", Tally())], combine=lambda source, base, final: final)
    table = steering.measure(stays, step=2)
    assert value(table, "steered_exact", kind="class_mean") == 0
    assert not len(rows(table, "steered_shift"))


def test_a_curved_code_follows_class_means_and_not_the_slope() -> None:
    """At the last step the tally is read off h = tanh(c): at .6 a win, a straight push misses."""
    table = steering.measure(subjects([Network("curved", "trained", Tally(gain=0.6), 0)]), step=-1)
    assert value(table, "steered_exact", kind="class_mean") == 1
    assert value(table, "steered_exact", kind="linear") < 0.9
    assert value(table, "steered_off_support", kind="class_mean") == pytest.approx(0, abs=1e-6)
    assert value(table, "steered_off_support", kind="linear") > 0.05


def seen(x: np.ndarray) -> np.ndarray:
    """Return whether a one was read so far."""
    return (x[:, 0].cumsum() > 0).astype(int)


def of_latch(concept: Any = seen, answers: Any = (0, 1), inputs: Any = BITS, **more: Any) -> Subject:
    """Return a network whose first unit goes from about -1 to about 1 at the first one, and stays."""
    rnn: Any = nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.mul_(0.01)
        rnn.weight_hh_l0[0], rnn.bias_hh_l0[0] = torch.tensor([3.0, 0.0]), 0.0
        rnn.weight_ih_l0[0], rnn.bias_ih_l0[0] = torch.tensor([8.0]), -1.0
    readout = Readout("seen", function=lambda h: torch.stack([-h[:, 0], h[:, 0]], 1), answers=answers)
    (subject,) = prepare(Study(rnn, inputs, {"seen": concept}, readout=readout, **more))
    return subject


def test_the_answer_of_a_latch_follows_its_own_function_and_not_a_sum() -> None:
    """What was seen and is pushed to unseen is seen again if a one follows, which adding would not give."""
    subject = of_latch()
    assert value(steering.measure([subject], step=4), "steered_exact", kind="class_mean") == 1
    every, unseen = torch.arange(len(subject.x)), torch.zeros(len(subject.x)).double()
    later = subject.x[:, 5:, 0].double().max(1).values
    assert torch.equal(task_of(subject).with_value(unseen, every, 4), later)
    # Where nobody says what is right after a push, a sum is not taken for granted.
    as_array = of_latch(np.array([seen(one) for one in BITS]))
    assert "nobody says its value where another" in str(steering.question(as_array).why_not(as_array))
    closed = of_latch(inputs=CLOSED, valid=lambda x: x[0, 0] == x[-1, 0])
    assert "cannot occur by valid" in str(steering.question(closed).why_not(closed))
    # Whether the input is the first one again does not decide what follows.
    with refused():
        steering.measure([of_latch(lambda x: (x[:, 0] == x[0, 0]).astype(int))], step=4)


def test_the_unit_that_holds_the_concept_is_followed_and_a_control_is_not() -> None:
    """A tally of one unit beside two idle ones, and another network on the same pairs, which alone is not asked."""
    asked = subjects([Network("t", "trained", Tally(2), 0), Network("f", "fitted head", Reader("gru"), 0)])
    found = answer(interchange.question(asked[0]), asked)
    own, control = (found.measurements[found.measurements["role"] == role] for role in ("trained", "fitted head"))
    assert (value(own, "followed", kind="nothing"), value(own, "followed", kind="whole")) == (0, 1)
    assert min(values(own, "followed", kind="searched")) > 0.97
    assert value(own, "followed", units="0") == pytest.approx(1)
    assert np.mean(values(own, "followed", kind="random")) < 0.6
    assert set(control["metric"]) == {"followed", "shift", "accuracy"}
    assert "With 1 unit chosen by the concept (0), the best part" in found.notes["answer"]
    (random,) = subjects([Network("r", "trained", Reader("gru"), 0)])
    assert "The answers are mostly wrong" in str(interchange.question(random).why_not(random))


def test_a_function_of_the_study_is_called_for_few_pairs() -> None:
    """Each right answer is a call, so that pairs are drawn; an array with a rule is not called."""
    study, every = study_of(planted()), torch.arange(160)
    readout: Any
    (called,), readout = prepare(study), study.readout
    added = Readout("ones", weight=readout.weight, bias=readout.bias, combine="added")
    (given,) = prepare(study_of(planted(), concepts={"ones": bits()[:, :, 0].cumsum(1)}, readout=added))
    assert affordable_pairs(called, 3, 4, most=2**15) == called.budget.called_pairs
    assert affordable_pairs(given, 3, 4, most=2**15) == 2**15
    found: Any = search_of(called, 3, 1, task_of(called), every).pairs
    assert 0 < len(found) <= called.budget.called_pairs
    assert search_of(given, 3, 1, task_of(given), every).pairs is None


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
    assert unit_ablation.kept_by_number(table)["value"].tolist() == pytest.approx([same, 1, 1, 1])


def test_on_a_gru_units_are_kept_in_the_order_in_which_they_add_most() -> None:
    """The first is the best alone, the second the best beside it by fewer draws; no score where all answer alike."""
    model = Reader("gru", units=4, seed=5)
    own_answers, concept = model(X).argmax(1), torch.zeros_like(WINS)
    concept[:, -1] = own_answers  # what the network answers, so that its own accuracy is 1
    table = unit_ablation.measure(subjects([Network("gru", "trained", model)], concept=concept), draws=8)
    machine = machine_of(model)
    resampling = Resampling(machine, draws=8)

    def accuracy(kept: list[int], draws: int = 8) -> float:
        gone = [column for unit in range(4) if unit not in kept for column in machine.dynamics.unit(unit)]
        found = resampling.answers(gone, draws).chosen.view(32, -1)
        return float((found == own_answers[:, None]).double().mean())

    alone = {unit: accuracy([unit]) for unit in range(4)}
    best = max(alone, key=lambda unit: alone[unit])
    second = max((unit for unit in range(4) if unit != best), key=lambda unit: accuracy([best, unit], 1))
    assert value(table, "best_kept_accuracy", units=str(best)) == pytest.approx(alone[best])
    assert value(table, "best_kept_accuracy", units=f"{best} {second}") == pytest.approx(accuracy([best, second]))
    with torch.no_grad():
        model.head.weight.zero_()
    table = unit_ablation.measure(subjects([Network("same", "own initialisation", model)]), draws=4)
    assert not len(rows(table, "best_single_unit_score"))


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
    shifted = torch.arange(100.0).double() + float(np.std(np.arange(100.0))) / 2
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


def with_a_line(**more: Any) -> tuple[Study, nn.Linear]:
    """Return a study of an LSTM that nobody trained, whose answer is a line through its last hidden state."""
    torch.manual_seed(0)
    line = nn.Linear(12, 1)
    lstm = nn.LSTM(1, 12, batch_first=True)
    concept = {"ones": lambda x: x[:, 0].cumsum()}
    return Study(lstm, bits(300, 10), concept, readout=Readout("ones", function=line, **more)), line


def test_the_direction_of_a_line_needs_no_search() -> None:
    """After the last step the answer moves along the line's own weight, and along nothing else of the state."""
    study, line = with_a_line()
    machine = machine_of_study(prepare(study)[0])
    last = machine.clean.inputs.shape[1] - 1
    (found,) = gradient_directions(machine, torch.arange(50), last, 1).T
    weight = line.weight.detach()[0].double().numpy()
    of_hidden = found[machine.dynamics.columns(Signal.HIDDEN_STATE)]
    assert np.abs(of_hidden @ weight) == pytest.approx(np.linalg.norm(weight))
    assert np.linalg.norm(found) == pytest.approx(1)


def test_a_control_whose_search_fails_is_no_contrast() -> None:
    """One step before the end a fitted head's answer follows two directions, whether or not a search finds them."""
    study, _ = with_a_line(interchange_step=-2)
    (subject,) = prepare(study)
    (fitted, *_) = fitted_heads(subject)
    again = dataclasses.replace(fitted, network=dataclasses.replace(fitted.network, name="again"))
    table = interchange.measure([fitted, again])
    searched, steepest = (
        value(table, "followed", role="fitted head", network="again", kind=kind) for kind in ("searched", "steepest")
    )
    assert steepest > 0.9
    assert steepest > searched
