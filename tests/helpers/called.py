"""A small model that can be called in several ways, for tests of contexts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import probe

INPUTS, UNITS, BATCH, TIME = 3, 5, 4, 6


class Reader(nn.Module):
    """A GRU with a head, which can be called in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(INPUTS, UNITS, batch_first=True)
        self.idle = nn.GRU(INPUTS, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return two numbers a row."""
        return self.head(self.rnn(x)[0][:, -1])

    def predict(self, x: Tensor, times: int = 1) -> Tensor:
        """Return what `forward` does, without calling it."""
        return torch.stack([self.head(self.rnn(x)[0][:, -1]) for _ in range(times)]).mean(0)


EDIT = probe.clamp("hidden_state", 2.0, layer="rnn[0]", steps=1)


def in_a_thread(function: Callable[[], Any]) -> None:
    """Start a thread, and wait for it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def edited(model: nn.Module, x: Tensor) -> Tensor:
    """Return the model's output under the edit."""
    return probe.record(model, x, edits=[EDIT]).output
