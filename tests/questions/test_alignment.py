"""The alignment question on a GRU of two features, and on a tally whose direction is known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.causal.alignment import Search, search
from probe.methods.causal.alignment_controls import halves, mean_gradient, pairs_among
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import along
from probe.methods.causal.support import OffSupport
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.plots.style import style
from probe.questions.interventions import alignment

LENGTH = 5
BITS = (torch.arange(4**LENGTH)[:, None] >> torch.arange(2 * LENGTH - 1, -1, -1)) & 1
X = BITS.view(-1, LENGTH, 2).float()
WINS = (X[:, :, 0] > X[:, :, 1]).cumsum(1)


class Tally(nn.Module):
    """One unit of four adds 0.1 where feature 0 is the larger; the answer is read off its hidden state."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.lstm = nn.LSTM(2, 4, batch_first=True, dtype=torch.float64)
        x, h, b, b_hh = (p.detach().view(4, 4, -1) for p in self.lstm.parameters())
        for values in (x, h, b, b_hh):
            values[:, 0] = 0
        h[:, :, 0] = 0
        x[0, 0] = torch.tensor([30.0, -60.0])
        b[:, 0, 0] = torch.tensor([-15.0, 40.0, math.atanh(0.1), 40.0])

    def forward(self, x: Tensor):
        """Return scores: the nearer a level, the higher."""
        h = self.lstm(x.double())[0]
        return -1e5 * (h[:, -1, :1] - torch.tanh(0.1 * torch.arange(LENGTH + 1))) ** 2


class Reader(nn.Module):
    """A GRU inside another module, its last state read by a head of classes or of one number."""

    def __init__(self, classes: int = LENGTH + 1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.encoder = nn.GRU(2, 4, batch_first=True)
            self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor):
        """Return scores (batch, class), or one number a row."""
        return self.head(self.encoder(x)[0][:, -1]).squeeze(-1)


def answer(output: Tensor):
    """Return the class with the highest score, or the nearest whole number."""
    return output.argmax(1) if output.dim() == 2 else output.round().long()


def expected(output: Tensor):
    """Return the mean class, or the number."""
    return torch.softmax(output, 1) @ torch.arange(output.shape[1]).to(output) if output.dim() == 2 else output


def control():
    """Return a GRU that nothing trained, with a readout by least squares."""
    model = Reader(1)
    with torch.no_grad():
        states = model.encoder(X)[0][:, -1].numpy()
        ones = np.ones((len(X), 1))
        weight = np.linalg.lstsq(np.column_stack([states, ones]), WINS[:, -1].numpy())[0]
        model.head.weight[0], model.head.bias[0] = torch.as_tensor(weight[:-1]), weight[-1]
    return model


READ: dict[str, Any] = {"answer": answer, "expected": expected}
NETWORKS = [
    Network("tally", "planted", Tally()),
    Network("gru", "trained", Reader(), 1),
    Network("gru/fitted head", "fitted head", control(), 1),
]


@pytest.fixture(scope="module")
def table():
    """Return what is measured with short searches."""
    wrong = {"first": WINS[:, 0].float()}
    return alignment.measure(
        subjects(NETWORKS, X, WINS, **READ), ranks=(1, 2), steps=(1,), iterations=20, wrong=wrong
    )


def value(table: Any, metric: str, network: str, **where: Any) -> float:
    """Return the one value of a metric."""
    rows = table[(table["metric"] == metric) & (table["network"] == network)]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    return rows["value"].item()


def test_the_headline_is_the_first_step_with_enough_prefixes(table: Any):
    """After four steps there are 256 prefixes, after three 64; each network has one headline."""
    for x in (X, X[:10]):
        assert Machine.of(Reader(), x, **READ).clean.headline_step == 3
    own = table[table["metric"] == "few_directions_score"]
    # In the GRU that nothing trained the whole state moves no answer, so that it has no score.
    assert own["network"].tolist() == ["tally", "gru/fitted head"]
    assert set(own["step"]) == {3}


def test_a_tally_is_carried_by_one_direction_and_not_by_random_ones(table: Any):
    """The planted unit gives a score of 1 at every step and rank, random directions far less."""
    scores = table[(table["metric"] == "alignment_score") & (table["network"] == "tally")]
    assert set(zip(scores["step"], scores["at"], scores["kind"], strict=True)) == {
        (1, 1, "raw"),
        (1, 2, "raw"),
        (3, 1, "raw"),
        (3, 2, "raw"),
        (3, 2, "standardised"),
    }
    assert scores["value"].min() > 0.97
    assert value(table, "random_directions_score", "tally") < 0.6
    assert value(table, "few_directions_score", "tally") == value(
        table, "alignment_score", "tally", step=3, at=2, kind="raw"
    )


def test_scores_are_the_mean_over_both_ways_on_prefixes_not_fitted_on(table: Any):
    """Score and distance of the GRU equal those of searches made by hand, each scored on the other half."""
    machine, task = Machine.of(Reader(), X, **READ), Task(WINS)
    scores, distances = [], []
    for half in halves(machine, 3):
        (found,) = search(machine, 3, [Search(2, task, half.train)], iterations=20)
        pairs = pairs_among(machine, 3, half.test)
        scores.append(interchange(pairs, task, found.put))
        distances.append(OffSupport(pairs, task).distance(found.put))
    where: dict[str, Any] = {"step": 3, "at": 2, "kind": "raw"}
    accuracy, shift = (sum(getattr(score, name) for score in scores) / 2 for name in ("iia", "shift"))
    assert value(table, "alignment_accuracy", "gru", **where) == pytest.approx(accuracy, abs=1e-9)
    assert value(table, "alignment_shift", "gru", **where) == pytest.approx(shift, abs=1e-6)
    assert value(table, "alignment_off_support", "gru", **where) == pytest.approx(sum(distances) / 2, abs=1e-6)


def test_a_fitted_head_is_judged_by_its_closed_form(table: Any):
    """Its headline is the score along the mean gradient of its number on both halves; no other network has one."""
    machine, task = Machine.of(NETWORKS[2].model, X, **READ), Task(WINS)
    put = along(mean_gradient(machine, 3))
    both = [interchange(pairs_among(machine, 3, half.test), task, put).score for half in halves(machine, 3)]
    assert value(table, "few_directions_score", "gru/fitted head") == pytest.approx(np.mean(both), abs=1e-12)
    assert value(table, "gradient_score", "gru/fitted head") == pytest.approx(np.mean(both), abs=1e-12)
    assert (table["metric"] == "gradient_score").sum() == 1


def test_the_figures_show_every_subject_with_its_own_look(table: Any):
    """Lines by rank, and random directions beside them."""
    with style():
        ax = alignment.draw(table)
        legend = ax.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [
            "planted",
            "fitted head",
        ]


def test_an_alignment_that_does_not_fit_is_refused():
    """A concept of other steps, a step that is not there."""
    with refused():
        alignment.measure(subjects(NETWORKS[:1], X, WINS[:, :3], **READ))
    with refused():
        alignment.measure(subjects(NETWORKS[:1], X, WINS, **READ), step=9)
