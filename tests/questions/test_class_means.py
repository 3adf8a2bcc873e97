"""Questions that put class means in place of states, and of directions.

- Class means in place of states: on a tally whose classes are points, and on a GRU of two features.
- The question of directions: on a tally whose answers are known, and on a GRU of two features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LEAD, LENGTH, READ, WINS, Reader, Tally, X, machine_of, subjects
from matplotlib.axes import Axes
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.directions import DIRECTIONS
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import all_pairs, along, columns
from probe.methods.causal.support import OffSupport
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.plots.style import style
from probe.questions.interventions import class_means, directions

ALL = list(range(LENGTH - 1))


def tally(role: str = "planted") -> Network:
    """Return the planted network."""
    return Network("tally", role, Tally(2), 0)


def of(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return a metric's values by step."""
    return table[table["metric"] == metric].set_index("step")["value"]


def test_a_tally_answers_from_class_means_as_from_its_own_states() -> None:
    """The unit that is read has the same value in all states of a class; after one step no class has two states."""
    table = class_means.measure(subjects([tally()]))
    for metric in ("class_mean_ratio", "balanced_class_mean_ratio", "class_mean_accuracy"):
        assert of(table, metric).to_dict() == {1: 1, 2: 1, 3: 1}
    assert of(table, "class_mean_answer_change").tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert table[table["metric"] == "worst_class_mean_ratio"]["value"].tolist() == [1]


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
    x = torch.cat([X[::8, :2], torch.zeros(4, 1, 2)], 1)
    wins = WINS[::8, [0, 1, 1]]
    read = {
        "answer": READ["answer"],
        "expected": lambda scores: torch.softmax(scores, 1) @ torch.arange(3.0).double(),
    }
    table = class_means.measure(subjects([Network("last", "trained", LastBit(), 0)], x, wins, **read))
    # Own: loss-win answers 2 and win-loss 1, of which the second is right. At a state of zero the scores tie at 1.
    assert of(table, "class_mean_accuracy").tolist() == [1]
    assert of(table, "class_mean_ratio").tolist() == [2]
    own = (5 - torch.tensor([5.0]).double().tanh()).tanh().tanh()
    scores = torch.tensor([[-9.0, -1, 1], [-9, 1, -1]]).double()
    scores[:, 1:] *= own
    change = (mean_class(scores) - mean_class(torch.tensor([[-9.0, 0, 0]]).double())).abs().mean()
    assert of(table, "class_mean_answer_change").tolist() == pytest.approx([float(change)])


def test_on_a_gru_ratios_are_those_of_the_states_put_in_one_by_one() -> None:
    """Another layer and head: each number from the definition, with single prefixes left out."""
    model, task = Reader("gru", units=4, seed=5), Task(WINS)
    table = class_means.measure(subjects([Network("gru", "trained", model, 0)], layer="rnn[0]"))
    machine = machine_of(model)
    ratios = {}
    for step in (1, 2, 3):
        classes = classes_at(machine, task, step)
        right, own, by_value = [], [], {}
        for row in range(32):
            value = int(WINS[row, step])
            if value in (0, step + 1):
                continue
            mean = torch.as_tensor(classes.means[value])[None]
            hit = int(machine.answers(mean, torch.tensor([row]), step).chosen) == WINS[row, -1]
            right.append(bool(hit))
            own.append(bool(machine.clean.answers.chosen[row] == WINS[row, -1]))
            by_value.setdefault(value, []).append((right[-1], own[-1]))
        assert of(table, "class_mean_accuracy")[step] == pytest.approx(np.mean(right))
        ratios[step] = np.mean(right) / np.mean(own)
        assert of(table, "class_mean_ratio")[step] == pytest.approx(ratios[step])
        balanced = np.mean([np.mean(pairs, axis=0) for pairs in by_value.values()], axis=0)
        assert of(table, "balanced_class_mean_ratio")[step] == pytest.approx(balanced[0] / balanced[1])
    worst = table[table["metric"] == "worst_class_mean_ratio"]
    assert worst["value"].item() == pytest.approx(min(ratios.values()))
    assert worst["step"].item() == min(ratios, key=lambda step: ratios[step])
    assert len(set(ratios.values())) > 1
    assert set(table["layer"]) == {"rnn[0]"}


def test_no_ratio_where_nothing_was_right() -> None:
    """A network without a right answer has an accuracy and no ratio."""
    wrong = Network("gru", "own initialisation", Reader("gru"), 0)
    table = class_means.measure(subjects([wrong], concept=WINS - 100))
    assert set(table["metric"]) == {"class_mean_accuracy", "class_mean_answer_change"}
    assert set(table["step"]) == {1, 2, 3}
    with refused():
        class_means.draw(table)


def test_the_figure_shows_medians_and_each_planted_network() -> None:
    """Trained networks and controls are lines of medians; planted networks a line each with one label."""
    networks = [Network(f"gru-{seed}", "trained", Reader("gru", seed=seed), seed) for seed in (5, 6)]
    planted = [tally(), Network("again", "planted", Tally())]
    table = class_means.measure(subjects([*networks, *planted]))
    with style():
        ax = class_means.draw(table)
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}
    ratios = table[(table["metric"] == "class_mean_ratio") & (table["role"] == "trained")]
    assert lines["trained"].tolist() == pytest.approx(ratios.groupby("step")["value"].median().tolist())
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "planted"]
    assert sum(line.get_marker() == "^" for line in ax.lines) == 2


def lead(scores: Tensor) -> Tensor:
    """Return the lead of -5 to 5 that the highest of six scores stands for."""
    return 2 * scores.argmax(1) - 5


def expected_lead(scores: Tensor) -> Tensor:
    """Return the mean lead."""
    return 2 * READ["expected"](scores) - 5


LEADS: dict[str, Any] = {"answer": lead, "expected": expected_lead}


def test_a_tally_scores_one_along_every_direction_and_in_its_one_unit() -> None:
    """Its states lie on one curve of one unit: all kinds of direction move the answer by what they should."""
    table = directions.measure(subjects([Network("tally", "planted", Tally(2))]), step=2)
    scores = table[table["metric"] == "direction_score"].set_index("kind")["value"]
    assert set(scores.index) == set(DIRECTIONS)
    assert scores["ols"] == pytest.approx(1)
    units = table[table["metric"] == "unit_score"].set_index("units")["value"]
    assert units.to_dict() == pytest.approx({"0": 1, "1": 0, "2": 0}, abs=1e-9)
    best = table[table["metric"] == "best_unit_score"]
    assert (best["units"].item(), best["value"].item()) == ("0", pytest.approx(1))
    assert table[table["metric"] == "unit_shift"]["value"].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert set(table["step"]) == {2}


def test_on_a_gru_each_number_is_that_of_the_experiment() -> None:
    """Another layer, concept and answer: scores, shifts and distances equal those computed one by one."""
    model = Reader("gru", units=4)
    network = Network("gru", "trained", model, 0)
    table = directions.measure(subjects([network], concept=LEAD, layer="rnn[0]", **LEADS), step=3)
    machine, task = Machine.of(model, X, **LEADS), Task(LEAD)
    pairs = all_pairs(machine, 3)
    classes = classes_at(machine, task, 3)
    for kind in DIRECTIONS:
        put = along(DIRECTIONS[kind](classes))
        rows = table[table["kind"] == kind].set_index("metric")["value"]
        scores = interchange(pairs, task, put)
        assert rows["direction_iia"] == scores.iia
        assert rows["direction_score"] == pytest.approx(scores.score)
        assert rows["direction_shift"] == pytest.approx(scores.shift)
        assert rows["direction_off_support"] == pytest.approx(OffSupport(pairs, task).distance(put))
    unit = interchange(pairs, task, columns(machine.dynamics.unit(2)))
    rows = table[table["units"] == "2"].set_index("metric")["value"]
    assert rows["unit_iia"] == unit.iia
    assert rows["unit_off_support"] > 0
    assert set(table["layer"]) == {"rnn[0]"}
    drawn = directions.measure(subjects([network], concept=LEAD, **LEADS), step=3, most=50, most_of_unit=60)
    assert not np.allclose(drawn["value"].head(20), table["value"].head(20))


def test_scores_that_do_not_exist_are_left_out() -> None:
    """A head that answers the same to everything has no way to go, and a single class no direction."""
    model = Reader("gru")
    with torch.no_grad():
        model.head.weight.zero_()
    network = Network("same", "own initialisation", model, 0)
    table = directions.measure(subjects([network]), step=2)
    assert not table["metric"].str.endswith("score").any()
    assert (table[table["metric"] == "direction_shift"]["value"].abs() < 1e-9).all()
    constant = directions.measure(subjects([network], concept=torch.zeros_like(WINS)), step=2)
    assert not constant["metric"].str.startswith("direction").any()
    with refused():
        directions.draw(table)


def test_a_step_beyond_the_input_and_another_concepts_shape_are_refused() -> None:
    """The message says what there is."""
    network = [Network("gru", "trained", Reader("gru"), 0)]
    with refused():
        directions.measure(subjects(network), step=5)
    with refused():
        directions.measure(subjects(network, concept=WINS[:, 1:]), step=2)


def test_the_figure_shows_every_network() -> None:
    """Each role has its marker, and the rule's bound is a line."""
    networks = [Network("tally", "trained", Tally(2), 0), Network("gru", "fitted head", Reader("gru"), 0)]
    table = directions.measure(subjects(networks), step=2)
    wide = directions.scores_by_kind(table)
    assert wide["kind"].tolist()[:7] == [*DIRECTIONS, "unit"]
    best = wide[(wide["network"] == "tally") & (wide["kind"] == "unit")]
    assert best["score"].item() == pytest.approx(1)
    with style():
        ax: Axes = directions.draw(table, threshold=0.5)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "fitted head"]
    drawn = [value for line in ax.lines for value in np.atleast_1d(np.asarray(line.get_ydata(), float)).tolist()]
    assert np.isin(wide["score"], drawn).all()
    assert [0.5, 0.5] in [np.asarray(line.get_ydata(), float).tolist() for line in ax.lines]
