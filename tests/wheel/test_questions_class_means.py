"""Class means in place of states: on a tally whose classes are points, and on a GRU of two features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import LENGTH, READ, WINS, Reader, Tally, X, machine_of, subjects
from torch import Tensor, nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.causal.class_means import classes_at
from probe.methods.causal.task import Task
from probe.plots.style import style
from probe.questions.interventions import class_means

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
            self.rnn.get_parameter("weight_ih_l0").copy_(torch.tensor([[1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of 0, 1 and 2 that the sign of the state decides: 2 after a win, else 1."""
        h = self.rnn(x)[0][:, -1]
        return torch.cat([torch.full_like(h, -9), -h, h], 1)


def mean_class(scores: Tensor) -> Tensor:
    """Return the mean of the three classes."""
    return torch.softmax(scores, 1) @ torch.arange(3).to(scores)


def test_a_network_that_holds_something_else_loses_what_that_decides() -> None:
    """After two steps the class of one win has a mean of zero: the last bit is lost, and both orders answer alike."""
    x = X[::8, :2]  # all four sequences of two
    wins = WINS[::8, :2]
    read = {
        "answer": READ["answer"],
        "expected": lambda scores: torch.softmax(scores, 1) @ torch.arange(3.0).double(),
    }
    table = class_means.measure(subjects([Network("last", "trained", LastBit(), 0)], x, wins, **read), steps=[1])
    # Own: loss-win answers 2 and win-loss 1, of which the second is right. At a state of zero the scores tie at 1.
    assert of(table, "class_mean_accuracy").tolist() == [1]
    assert of(table, "class_mean_ratio").tolist() == [2]
    own = torch.tensor([1.0]).double().tanh()
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
    table = class_means.measure(subjects([wrong], concept=WINS - 100), steps=[2, -1])
    assert set(table["metric"]) == {"class_mean_accuracy", "class_mean_answer_change"}
    assert set(table["step"]) == {2, LENGTH - 1}
    with pytest.raises(ProbeError, match="no class_mean_ratio"):
        class_means.draw(table)
    with pytest.raises(ProbeError, match="steps=7 lies outside"):
        class_means.measure(subjects([wrong]), steps=[7])


def test_the_figure_shows_medians_and_each_planted_network() -> None:
    """Trained networks and controls are lines of medians; planted networks a line each with one label."""
    networks = [Network(f"gru-{seed}", "trained", Reader("gru", seed=seed), seed) for seed in (5, 6)]
    planted = [tally(), Network("again", "planted", Tally())]
    table = class_means.measure(subjects([*networks, *planted]))
    with style():
        ax = class_means.draw(table, threshold=0.95)
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}
    ratios = table[(table["metric"] == "class_mean_ratio") & (table["role"] == "trained")]
    assert lines["trained"].tolist() == pytest.approx(ratios.groupby("step")["value"].median().tolist())
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "planted"]
    assert sum(line.get_marker() == "^" for line in ax.lines) == 2
