"""LSTMs written down by hand for the exact decompositions: what each must give is known."""

from __future__ import annotations

import math

import torch
from known_machines import CLASSES, LENGTH
from torch import Tensor, nn

OPEN = 40.0


class ByHand(nn.Module):
    """An LSTM of two features with all weights zero and all gates open, until something is set."""

    def __init__(self, units: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.lstm = nn.LSTM(2, units, batch_first=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.of("bias_ih_l0")[[0, 1, 3]] = OPEN

    def of(self, name: str) -> Tensor:
        """Return a parameter as (gate, unit, ...), the gates in torch's order i f g o."""
        return self.lstm.get_parameter(name).view(4, self.lstm.hidden_size, -1)


class Balance(ByHand):
    """Two units: the first holds the wins, the second the losses; their difference is read."""

    def __init__(self) -> None:
        super().__init__(2)
        with torch.no_grad():
            self.of("weight_ih_l0")[2] = math.atanh(0.02) * torch.eye(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores: the nearer the difference to a level, the higher."""
        h = self.lstm(x)[0][:, -1].double()
        wins = torch.arange(CLASSES).to(h)
        levels = torch.tanh(0.02 * wins) - torch.tanh(0.02 * (LENGTH - wins))
        return -1e6 * (h[:, :1] - h[:, 1:] - levels) ** 2


class ByInputGate(ByHand):
    """One unit whose candidate is the same whatever comes: a win opens the input gate, a loss shuts it."""

    def __init__(self) -> None:
        super().__init__(1)
        with torch.no_grad():
            self.of("bias_ih_l0")[2] = math.atanh(0.1)
            self.of("bias_ih_l0")[0] = -OPEN
            self.of("weight_ih_l0")[0, 0, 0] = 2 * OPEN

    def forward(self, x: Tensor) -> Tensor:
        """Return scores: the nearer the unit to a level, the higher."""
        h = self.lstm(x)[0][:, -1].double()
        return -1e5 * (h - torch.tanh(0.1 * torch.arange(CLASSES).to(h))) ** 2


class Handed(ByHand):
    """A count that is written anew at each step: nothing is kept in the cell, h goes into the candidate."""

    def __init__(self) -> None:
        super().__init__(1)
        with torch.no_grad():
            self.of("bias_ih_l0")[1] = -OPEN
            self.of("weight_ih_l0")[2, 0, 0] = 0.02
            self.of("weight_hh_l0")[2] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden state as a number of wins, one a row."""
        return self.lstm(x)[0][:, -1, 0].double() / 0.02
