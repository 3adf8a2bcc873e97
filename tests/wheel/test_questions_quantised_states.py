"""Running on class means, on networks of two features that count wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import Tensor, nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.methods.abstraction.quantised import class_means, quantised_run
from probe.methods.machines import Machine
from probe.plots.style import style
from probe.questions.states import quantised_states

LENGTH = 5
BITS = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH - 1, -1, -1)) & 1
X = torch.stack([BITS, 1 - BITS], -1).float()
WINS = BITS.cumsum(1)


class Reader(nn.Module):
    """A recurrent layer over two features whose last hidden state is read by a linear head."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM | nn.RNN] = nn.GRU, seed: int = 1):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = kind(2, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a row, (batch, 1)."""
        return self.head(self.rnn(x)[0][:, -1])


class Wins(nn.Module):
    """A plain RNN of one unit that adds .001 for each win, read off exactly."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 1, batch_first=True)
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").fill_(1)
            self.rnn.get_parameter("weight_ih_l0")[0, 0] = 0.001

    def forward(self, x: Tensor) -> Tensor:
        """Return the wins, (batch, 1)."""
        return self.rnn(x)[0][:, -1] * 1000


READ: dict[str, Any] = {"answer": lambda y: y[:, 0].round().long(), "expected": lambda y: y[:, 0]}


def measure(*networks: Network) -> pd.DataFrame:
    """Measure networks against the count of wins."""
    return quantised_states.measure(subjects(networks, X, WINS, **READ))


def value(table: pd.DataFrame, metric: str, network: str, kind: str = "") -> float:
    """Return the one value of a metric of a network."""
    found = table[(table["metric"] == metric) & (table["network"] == network) & (table["kind"] == kind)]
    assert len(found) == 1
    return found["value"].item()


def test_a_counter_of_wins_keeps_everything_on_its_class_means() -> None:
    """It has 21 states by step and 6 over all steps, is right on both, and is on the right one after each step."""
    table = measure(Network("wins", "planted", Wins()))
    assert value(table, "own_accuracy", "wins") == 1
    for name, size in (("by_step", 21), ("over_steps", 6)):
        assert value(table, "states", "wins", name) == size
        assert value(table, "quantised_accuracy", "wins", name) == 1
        assert value(table, "answers_kept", "wins", name) == 1
        assert value(table, f"accuracy_kept_{name}", "wins") == 1
        right = table[(table["metric"] == "right_class") & (table["kind"] == name)]
        assert right["step"].tolist() == list(range(LENGTH))
        assert right["value"].tolist() == [1] * LENGTH


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_any_recurrent_layer_is_scored_against_its_own_accuracy(kind: type[nn.GRU | nn.LSTM | nn.RNN]) -> None:
    """The numbers are those of the run that the library makes; the ratio is over what the network gets itself."""
    model = Reader(kind)
    table = measure(Network("net", "trained", model, 1))
    machine = Machine.of(model, X, **READ)
    own = (machine.clean.answers.chosen == WINS[:, -1]).double().mean().item()
    assert 0 < own < 1
    for name in ("by_step", "over_steps"):
        run = quantised_run(machine, class_means(machine, WINS, by_step=name == "by_step"))
        found = (run.answers.chosen == WINS[:, -1]).double().mean().item()
        assert value(table, "quantised_accuracy", "net", name) == found
        assert value(table, f"accuracy_kept_{name}", "net") == pytest.approx(found / own)
    assert table["value"].notna().all()


def test_a_network_that_is_never_right_keeps_nothing_that_could_be_counted() -> None:
    """There is no row for it, since a share of nothing is no number."""
    model = Wins()
    read = READ | {"answer": lambda y: y[:, 0].long() + 9}
    table = quantised_states.measure(subjects([Network("off", "other", model)], X, WINS, **read))
    assert value(table, "own_accuracy", "off") == 0
    assert not table["metric"].str.startswith("accuracy_kept").any()


def test_a_concept_that_is_not_aligned_is_refused() -> None:
    """The message gives both shapes."""
    with pytest.raises(ProbeError, match=r"shape \(32, 4\)"):
        quantised_states.measure(subjects([Network("n", "other", Wins())], X, WINS[:, :4], **READ))


def test_the_figure_shows_each_network_under_the_number_of_states() -> None:
    """The labels carry the sizes measured, the dots the shares."""
    table = measure(Network("wins", "planted", Wins()), Network("net", "trained", Reader(), 1))
    with style():
        ax = quantised_states.draw(table, threshold=0.95)
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert [label.split(":")[0] for label in labels] == ["21 states", "6 states"]
        dots = {line.get_label(): line for line in ax.get_lines()}
        assert np.allclose(dots["planted"].get_ydata(), 1)
        assert dots["planted"].get_marker() != dots["trained"].get_marker()
    with pytest.raises(ProbeError, match="no quantised run"):
        quantised_states.draw(table[table["metric"] == "own_accuracy"])
