"""Layers of torch with a head on the last state, and all short sequences of two features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from probe.methods.causal.task import Task

LENGTH = 5


class Reader(nn.Module):
    """A recurrent layer whose last hidden state is read by a linear head, or as one number."""

    def __init__(self, kind: str, classes: int | None = LENGTH + 1, units: int = 3, **options: Any) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](2, units, batch_first=True, **options)
            self.head = nn.Linear(units, classes or 1)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (batch, class), or numbers (batch,)."""
        out = self.head(self.rnn(x)[0][:, -1])
        return out if self.classes else out[:, 0]


def answer(output: Tensor) -> Tensor:
    """Return the class with the highest score, or the nearest whole number."""
    return output.argmax(1) if output.dim() == 2 else output.round().long()


def expected(output: Tensor) -> Tensor:
    """Return the mean class, or the number."""
    return torch.softmax(output, 1) @ torch.arange(output.shape[1]).double() if output.dim() == 2 else output


def every_sequence() -> Tensor:
    """Return all sequences of two features, (1024, 5, 2), the first feature in the higher bits."""
    bits = (torch.arange(4**LENGTH)[:, None] >> torch.arange(2 * LENGTH - 1, -1, -1)) & 1
    return bits.view(-1, LENGTH, 2).float()


X = every_sequence()
COUNT = X[:, :, 0].cumsum(1)
TASK = Task(COUNT)
READ: dict[str, Any] = {"answer": answer, "expected": expected}
