"""Class means in place of states, and interchange along directions: on a tally, a network of one bit, and a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_machines import LEAD, READ, WINS, Reader, Tally, X, machine_of, subjects
from tables_read import by, value, values
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import DIRECTIONS
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import all_pairs, along, columns
from probe.methods.causal.support import OffSupport
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.questions.interventions import class_means, directions


def test_a_tally_answers_from_class_means_as_from_its_own_states() -> None:
    """The unit that is read has the same value in all states of a class; after one step no class has two states."""
    table = class_means.measure(subjects([Network("tally", "planted", Tally(2), 0)]))
    for metric in ("class_mean_ratio", "balanced_class_mean_ratio", "class_mean_accuracy"):
        assert by("step", table, metric) == {1: 1, 2: 1, 3: 1}
    assert values(table, "class_mean_answer_change") == pytest.approx([0, 0, 0], abs=1e-6)
    assert value(table, "worst_class_mean_ratio") == 1


class LastBit(nn.Module):
    """A plain RNN that holds the last bit alone and answers the count wherever that decides it: 1 or 0."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 1, batch_first=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[5.0, -5.0]]))
            self.rnn.get_parameter("weight_hh_l0").fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of 0, 1 and 2 that the sign of the state decides: 2 after a win, else 1."""
        h = self.rnn(x)[0][:, -1]
        return torch.cat([torch.full_like(h, -9), -h, h], 1)


def mean_class(scores: Tensor) -> Tensor:
    """Return the mean of the three classes."""
    return torch.softmax(scores, 1) @ torch.arange(3).to(scores)


def test_a_network_that_holds_something_else_loses_what_that_decides() -> None:
    """After two steps the class of one win has a mean of zero: the last bit is lost, and both orders answer alike."""
    # All four sequences of two, and a step of neither.
    x, wins = torch.cat([X[::8, :2], torch.zeros(4, 1, 2)], 1), WINS[::8, [0, 1, 1]]
    table = class_means.measure(subjects([Network("last", "trained", LastBit(), 0)], x, wins, expected=mean_class))
    # Own: loss-win answers 2 and win-loss 1, of which the second is right. At a state of zero the scores tie at 1.
    assert values(table, "class_mean_accuracy") == [1]
    assert values(table, "class_mean_ratio") == [2]
    scores = torch.tensor([[-9.0, -1, 1], [-9, 1, -1]]).double()
    scores[:, 1:] *= (5 - torch.tensor([5.0]).double().tanh()).tanh().tanh()
    change = (mean_class(scores) - mean_class(torch.tensor([[-9.0, 0, 0]]).double())).abs().mean()
    assert values(table, "class_mean_answer_change") == pytest.approx([float(change)])


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


def test_a_tally_scores_one_along_every_direction_and_in_its_one_unit() -> None:
    """Its states lie on one curve of one unit: all kinds of direction move the answer by what they should."""
    table = directions.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    scores = by("kind", table, "direction_score")
    assert set(scores) == set(DIRECTIONS)
    assert scores["ols"] == pytest.approx(1)
    assert by("units", table, "unit_score") == pytest.approx({"0": 1, "1": 0, "2": 0}, abs=1e-9)
    assert by("units", table, "best_unit_score") == pytest.approx({"0": 1})
    assert values(table, "unit_shift") == pytest.approx([1, 0, 0], abs=1e-6)
    assert set(table["step"]) == {2}


def test_on_a_gru_each_number_is_that_of_the_experiment() -> None:
    """Another layer, concept and answer: scores, shifts and distances equal those computed one by one."""
    model = Reader("gru", units=4)
    leads: dict[str, Any] = {
        "answer": lambda scores: 2 * scores.argmax(1) - 5,
        "expected": lambda scores: 2 * READ["expected"](scores) - 5,
    }
    asked = subjects([Network("gru", "trained", model, 0)], concept=LEAD, layer="rnn[0]", **leads)
    table = directions.measure(asked, step=3)
    machine, task = Machine.of(model, X, **leads), Task(LEAD)
    pairs = all_pairs(machine, 3)
    puts = {("kind", kind): along(DIRECTIONS[kind](classes_at(machine, task, 3))) for kind in DIRECTIONS}
    for (column, name), put in (puts | {("units", "2"): columns(machine.dynamics.unit(2))}).items():
        scores, metric = interchange(pairs, task, put), {"kind": "direction", "units": "unit"}[column]
        wanted = {"iia": scores.iia, "score": scores.score, "shift": scores.shift}
        wanted["off_support"] = OffSupport(pairs, task).distance(put)
        found = {name_: value(table, f"{metric}_{name_}", **{column: name}) for name_ in wanted}
        assert found == pytest.approx(wanted)
    assert set(table["layer"]) == {"rnn[0]"}
    drawn = directions.measure(asked, step=3, most=50, most_of_unit=60)
    assert not np.allclose(drawn["value"].head(20), table["value"].head(20))


def test_the_figures_data_are_the_scores_by_kind() -> None:
    """The best unit stands beside the directions."""
    networks = [Network("tally", "trained", Tally(2), 0), Network("gru", "fitted head", Reader("gru"), 0)]
    wide = directions.scores_by_kind(directions.measure(subjects(networks), step=2))
    assert wide["kind"].tolist()[:7] == [*DIRECTIONS, "unit"]
    best = wide[(wide["network"] == "tally") & (wide["kind"] == "unit")]
    assert best["score"].item() == pytest.approx(1)
