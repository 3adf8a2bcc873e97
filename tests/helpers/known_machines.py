"""Networks whose states are known by hand, run over every sequence of two features, for causal experiments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from probe.evidence.measurements import Network
from probe.methods.machines import Machine
from probe.subjects.subject import Subject

LENGTH = 5
CLASSES = LENGTH + 1


class Tally(nn.Module):
    """An LSTM whose first unit adds the same for each win and whose others run idle.

    Args:
        idle: random units beside the first, which nobody reads.
        loud: the deviation of their weights.
        gain: what a win adds to the cell; the larger, the more curved is h = tanh(c).
    """

    def __init__(self, idle: int = 0, gain: float = 0.1, loud: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.lstm = nn.LSTM(2, 1 + idle, batch_first=True)
        generator = torch.Generator().manual_seed(3)
        units = 1 + idle
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(std=loud, generator=generator)
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                gates = self.lstm.get_parameter(name).view(4, units, -1)
                gates[:, 0] = 0
                if name == "weight_hh_l0":
                    gates[:, :, 0] = 0
            self.lstm.get_parameter("weight_ih_l0").view(4, units, 2)[2, 0, 0] = math.atanh(gain)
            self.lstm.get_parameter("bias_ih_l0").view(4, units)[:, 0] = torch.tensor([40.0, 40.0, 0.0, 40.0])

    def forward(self, x: Tensor) -> Tensor:
        """Return scores: the nearer the first unit to a level, the higher."""
        h = self.lstm(x)[0][:, -1, :1]
        return -1e5 * (h - torch.tanh(self.gain * torch.arange(CLASSES).to(h))) ** 2


class Reader(nn.Module):
    """A random GRU, or another layer, whose last hidden state is read by a linear head."""

    def __init__(self, kind: str = "gru", units: int = 3, seed: int = 1) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](2, units, batch_first=True)
            self.head = nn.Linear(units, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (batch, class)."""
        return self.head(6 * self.rnn(x)[0][:, -1])


def every_sequence(length: int = LENGTH) -> Tensor:
    """Return all sequences of wins and losses, (2^length, length, 2), the first step the highest bit."""
    bits = (torch.arange(2**length)[:, None] >> torch.arange(length - 1, -1, -1)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


def won(x: np.ndarray) -> np.ndarray:
    """Return how often feature 0 was the larger so far, of one sequence."""
    return (x[:, 0] > x[:, 1]).cumsum()


def answer(scores: Tensor) -> Tensor:
    """Return the class with the highest score."""
    return scores.argmax(1)


def expected(scores: Tensor) -> Tensor:
    """Return the mean class."""
    return torch.softmax(scores, 1) @ torch.arange(CLASSES).to(scores)


X = every_sequence()
#: How often the first feature was the larger so far.
WINS = (X[:, :, 0] > X[:, :, 1]).cumsum(1)
#: Wins minus losses: another concept, with negative values.
LEAD = 2 * WINS - torch.arange(1, LENGTH + 1)
READ: dict[str, Any] = {"answer": answer, "expected": expected}


def machine_of(model: nn.Module, x: Tensor = X) -> Machine:
    """Return a model as a machine over every sequence."""
    return Machine.of(model, x, **READ)


def subjects(networks: Iterable[Network], x: Tensor = X, concept: Any = WINS, **read: Any) -> list[Subject]:
    """Return networks with what a question asks of them: `X`, `WINS` and `READ` if not said otherwise."""
    return [Subject.of(network, x, concept, **(READ | read)) for network in networks]
