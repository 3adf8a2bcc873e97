"""The erasure question on a GRU of two features, and on a sum whose floor is known."""

from typing import Any

import numpy as np
import pytest
import torch
from known_machines import subjects
from refusing import refused
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.causal.alignment import Search, search
from probe.methods.causal.alignment_controls import halves
from probe.methods.causal.erasure import leace, one_hot, projected_out
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.plots.style import style
from probe.questions.interventions import erasure

LENGTH = 5
BITS = (torch.arange(4**LENGTH)[:, None] >> torch.arange(2 * LENGTH - 1, -1, -1)) & 1
X = BITS.view(-1, LENGTH, 2).float()
WINS = (X[:, :, 0] > X[:, :, 1]).cumsum(1)


class Sum(nn.Module):
    """An RNN whose first unit adds .01 for each win in its linear range; the answer is read off it."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.rnn = nn.RNN(3, 8, batch_first=True, dtype=torch.float64)
        x, h, *biases = (parameter.detach() for parameter in self.rnn.parameters())
        x[0], x[:, 2], h[0], h[:, 0] = 0, 0, 0, 0
        x[0, 2], h[0, 0] = 0.01, 1
        for bias in biases:
            bias.zero_()

    def forward(self, x: Tensor):
        """Return scores: the nearer a level, the higher."""
        wins = (x[:, :, :1] > x[:, :, 1:]).to(x)
        h = self.rnn(torch.cat([x, wins], 2).double())[0]
        return -1e5 * (h[:, -1, :1] - 0.01 * torch.arange(LENGTH + 1)) ** 2


class Reader(nn.Module):
    """A GRU that nothing trained inside another module, read by least squares; the nearer a number, the higher."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(2)
            self.encoder = nn.GRU(2, 6, batch_first=True, dtype=torch.float64)
            states = self.encoder(X.double())[0][:, -1].numpy()
        read = np.linalg.lstsq(np.column_stack([states, np.ones(len(X))]), WINS[:, -1].numpy())[0]
        self.read = nn.Parameter(torch.as_tensor(read))

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        found = self.encoder(x.double())[0][:, -1] @ self.read[:-1] + self.read[-1]
        return -((found[:, None] - torch.arange(LENGTH + 1)) ** 2)


def expected(output: Tensor):
    """Return the mean class."""
    return torch.softmax(output, 1) @ torch.arange(output.shape[1]).to(output)


READ: dict[str, Any] = {"answer": lambda output: output.argmax(1), "expected": expected}
NETWORKS = [Network("sum", "planted", Sum()), Network("gru", "trained", Reader(), 1)]


@pytest.fixture(scope="module")
def table():
    """Return every metric of both networks, (network, metric)."""
    frame = erasure.measure(subjects(NETWORKS, X, WINS, **READ), iterations=60)
    assert set(frame["step"]) == {3}
    return frame


def values(table: Any, network: str):
    """Return a network's metrics."""
    return table[table["network"] == network].set_index("metric")["value"]


def test_the_floor_is_the_best_constant_answer_given_the_suffix(table: Any):
    """Of four wins, each of probability 1/4, one is the most frequent: 4 (1/4) (3/4)^3; a floor for every suffix."""
    assert values(table, "sum")["floor"] == pytest.approx(4 * 0.25 * 0.75**3)
    assert values(table, "gru")["floor"] == values(table, "sum")["floor"]


def test_a_sum_answers_at_the_floor_without_its_concept(table: Any):
    """One number holds it in a line, so that erasing the line erases all."""
    own = values(table, "sum")
    assert own["own_accuracy"] == 1
    assert own["erased_rank"] == 4
    for metric in ("erased_accuracy", "scalar_erased_accuracy", "in_sample_erased_accuracy"):
        assert own[metric] < own["floor"] + 0.05, metric


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_accuracy_is_that_of_runs_from_held_out_states_erased_by_hand(table: Any, network: Network):
    """Everything is fitted on the distinct prefixes of one half and applied to every row of the other, both ways."""
    machine, task = Machine.of(network.model, X, **READ), Task(WINS)
    ways, first = halves(machine, 3), machine.clean.prefixes[3].rows
    found = search(machine, 3, [Search(2, task, half.train) for half in ways], iterations=60)
    scores: dict[str, list[float]] = {"erased": [], "scalar_erased": [], "projected": []}
    for half, alignment in zip(ways, found, strict=True):
        fitted = first[torch.isin(first, half.train)]
        states, concept = machine.clean.states[fitted, 3].detach().numpy(), WINS[fitted, 3].double().numpy()
        erasers = leace(states, one_hot(concept)), leace(states, concept)
        for name, eraser in zip(scores, (*erasers, projected_out(states, alignment.basis.numpy())), strict=True):
            erased = torch.as_tensor(eraser(machine.clean.states[half.test, 3].detach().numpy()))
            with torch.no_grad():
                chosen = machine.readout.read(
                    machine.dynamics.advance(erased, machine.clean.inputs[half.test, 4:])
                ).argmax(1)
            scores[name].append(float((chosen == WINS[half.test, -1]).double().mean()))
    own = values(table, network.name)
    for name, both in scores.items():
        assert own[f"{name}_accuracy"] == pytest.approx(np.mean(both), abs=1e-12)
    for name in ("erased", "shuffled", "projected"):
        assert own[f"{name}_excess"] == max(own[f"{name}_accuracy"] - own["floor"], 0)


def test_shuffled_labels_are_another_erasure(table: Any):
    """They cost less than the concept's own."""
    own = values(table, "sum")
    assert own["shuffled_accuracy"] > own["scalar_erased_accuracy"]
    last = erasure.measure(subjects(NETWORKS[:1], X, WINS, **READ), iterations=1, step=LENGTH - 1)
    assert values(last, "sum")["floor"] == pytest.approx(5 * 0.25 * 0.75**4)


def test_below_the_floor_there_is_no_excess():
    """A network that always answers five is right in 4^-5 of the sequences, and its excess is 0, not less."""
    always = {"answer": lambda output: torch.full((len(output),), LENGTH), "expected": expected}
    own = values(erasure.measure(subjects(NETWORKS[:1], X, WINS, **always), iterations=1), "sum")
    assert own["erased_accuracy"] == own["own_accuracy"] == 0.25**LENGTH
    assert own["erased_excess"] == 0


def test_the_figure_has_a_column_for_each_erasure_and_the_floor(table: Any):
    """Dots for both roles in every column."""
    with style():
        ax = erasure.draw(table)
    named = [" ".join(label.get_text().split()) for label in ax.get_xticklabels()]
    assert named == [" ".join(name.split()) for name in erasure.COLUMNS.values()]
    heights = [height for line in ax.lines for height in np.asarray(line.get_ydata()).tolist()]
    assert values(table, "sum")["floor"] in heights


def test_a_concept_that_cannot_be_erased_is_refused():
    """One that is constant at the step, and one of other steps."""
    with refused():
        erasure.measure(subjects(NETWORKS[:1], X, torch.zeros(len(X), LENGTH), **READ))
    with refused():
        erasure.measure(subjects(NETWORKS[:1], X, WINS[:, :3], **READ))
