"""Errors by group and by label, on a network that answers what the test wants."""

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import Tensor, nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.questions.answers import accuracy
from probe.subjects.computed.answers import answers_to
from probe.subjects.subject import Subject

LABELS = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3])


class Fixed(nn.Module):
    """Gives the answers that it was made with, whatever it reads."""

    def __init__(self, answers: Tensor):
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return nn.functional.one_hot(self.answers, 4).float() + 0 * x.sum()


def answer(logits: Tensor):
    """Return the class with the highest score."""
    return logits.argmax(1)


def asked(networks: list[Network], x: Tensor, labels: Tensor = LABELS) -> list[Subject]:
    """Return networks that should answer labels, whatever stands before the last step."""
    return subjects(networks, x, labels[:, None].expand(x.shape[:2]), answer=answer, expected=answer)


def value(table: pd.DataFrame, metric: str, network: str = "right", label: int | None = None):
    """Return the one value of a metric of a network."""
    found = table[(table["metric"] == metric) & (table["network"] == network)]
    found = found[found["at"].isna() if label is None else found["at"] == label]
    assert len(found) == 1
    return found["value"].item()


@pytest.fixture
def networks():
    """Return one that is always right, and its own initialisation, which always answers 2."""
    return [
        Network("right", "trained", Fixed(LABELS), 4),
        Network("twos", "own initialisation", Fixed(torch.full((8,), 2)), 4),
    ]


@pytest.fixture
def table(networks: list[Network]):
    """Return errors; the first network was not trained on the labels 0 and 3."""
    rows = {
        "right": {"train": [1, 2, 3], "test": [0, 4, 5, 7]},
        "twos": {"train": [0, 1], "test": [2, 3, 4, 5, 6, 7]},
    }
    return accuracy.measure(asked(networks, torch.zeros(8, 5, 2)), groups=lambda subject: rows[subject.network.name])


def test_errors_are_shares_of_each_networks_own_rows(table: pd.DataFrame):
    """Every network is scored on the rows that its own groups name."""
    assert value(table, "test_error") == 0
    assert value(table, "test_error", "twos") == pytest.approx(2 / 6)
    assert value(table, "train_error", "twos") == 1


def test_errors_by_label_are_over_all_rows_and_balance_to_their_mean(table: pd.DataFrame):
    """A label with one row counts as much as one with four."""
    assert [value(table, "error_by_label", "twos", label) for label in range(4)] == [1, 1, 0, 1]
    assert value(table, "balanced_error", "twos") == 0.75
    assert value(table, "balanced_error") == 0


def test_the_floor_is_what_nobody_could_have_learned(table: pd.DataFrame):
    """Test rows whose label never occurred in training set the floor, whatever is answered."""
    assert value(table, "test_floor") == 0.5
    assert value(table, "test_floor", "twos") == pytest.approx(5 / 6)
    assert value(table, "train_floor") == 0


def test_a_network_without_training_rows_has_no_floor(networks: list[Network]):
    """A planted network was trained on nothing, so that no label was withheld from it."""
    table = accuracy.measure(asked(networks, torch.zeros(8, 1, 1)), groups=lambda _: {"all": range(8)})
    assert "all_floor" not in set(table["metric"])
    named = accuracy.measure(
        asked(networks, torch.zeros(8, 1, 1)), groups=lambda _: {"all": range(8)}, trained_on="all"
    )
    assert value(named, "all_floor") == 0


@pytest.mark.parametrize("rows", [[], [0, 8], [-1]])
def test_a_group_without_rows_or_beyond_the_batch_is_refused(networks: list[Network], rows: list[int]):
    """An empty group has no error, and a negative row would silently count from the end."""
    with pytest.raises(ProbeError, match="'test' must name at least one row from 0 to 7"):
        accuracy.measure(asked(networks, torch.zeros(8, 1, 1)), groups=lambda _: {"test": rows})


class Reader(nn.Module):
    """A GRU over two features whose last hidden state is read by a linear head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.head = nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return self.head(self.rnn(x)[0][:, -1])


class Wins(nn.Module):
    """Answers how often feature 0 was the larger."""

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return nn.functional.one_hot((x[:, :, 0] > x[:, :, 1]).sum(1), 5).float()


def test_the_automaton_of_the_answers_is_counted_where_all_sequences_are_asked():
    """The count of wins in four steps needs 15 states; a GRU's own table is counted by its distinct suffix rows."""
    bits = (torch.arange(16)[:, None] >> torch.arange(3, -1, -1)) & 1
    x = torch.stack([bits, 1 - bits], -1).float()
    both = [Network("wins", "planted", Wins()), Network("gru", "trained", Reader())]
    every = {"all": range(16)}
    table = accuracy.measure(asked(both, x, bits.sum(1)), groups=lambda _: every)
    assert value(table, "automaton_states", "wins") == 15
    given, _ = answers_to(asked(both, x, bits.sum(1))[1], x)
    rows = [len(np.unique(given.reshape(2**layer, -1), axis=0)) for layer in range(5)]
    assert len(set(given.tolist())) > 1
    assert value(table, "automaton_states", "gru") == sum(rows)
    some = accuracy.measure(asked(both, x[1:], bits.sum(1)[1:]), groups=lambda _: {"all": range(15)})
    assert "automaton_states" not in set(some["metric"])
