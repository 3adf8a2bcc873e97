"""The fitted head: an untrained network whose head alone is fitted to the task, a control for answers."""

from __future__ import annotations

import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .counter import Counter
from .data import Strings


class FittedHead(nn.Module):
    """A recurrent layer whose last hidden state one line turns into a number: y = v . h + b.

    `models.counter.answer` rounds it to the nearest count, `expected_answer` takes it as it is.

    Args:
        layer: the layer, copied; it keeps its name.
        cell: the layer's name.
    """

    def __init__(self, layer: nn.LSTM | nn.GRU, cell: str = "lstm") -> None:
        super().__init__()
        self.cell = cell
        self.add_module(cell, copy.deepcopy(layer))
        with torch.random.fork_rng(devices=[]):
            self.head = nn.Linear(layer.hidden_size, 1)

    @property
    def layer(self) -> nn.LSTM | nn.GRU:
        """The recurrent layer, whatever its cell."""
        return getattr(self, self.cell)

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, " batch"]:
        """Return a number a row, (batch,), read from the hidden state after the last step.

        Args:
            x: the bits in the code that the network reads, (batch, time, 1), any length.
        """
        hidden, _ = self.layer(x)
        return self.head(hidden[:, -1])[:, 0]


@torch.no_grad()
def fit_head(untrained: Counter, strings: Strings) -> FittedHead:
    """Return a network before training with a fitted head: its recurrent weights untouched, a least-squares line.

    Args:
        untrained: the network before training; its own random head is not used.
        strings: what it was trained on afterwards; the state is read after each string's own last step.

    Returns:
        The control in evaluation mode, with the weights' type; the line is fitted in float64.

    Reference:
        docs/science.md, "Definitions", controls: y = v . h_10 + b by least squares on the 500 training strings.
    """
    hidden = copy.deepcopy(untrained.layer).double()(strings.x.double())[0]
    ends = hidden.shape[1] if strings.lengths is None else strings.lengths
    states = hidden[torch.arange(len(hidden)), torch.as_tensor(ends) - 1].numpy()
    # numpy, not torch.linalg: the latter differs between identical processes.
    columns = np.column_stack([states, np.ones(len(states))])
    line = np.linalg.lstsq(columns, strings.last_labels.numpy().astype(float), rcond=None)[0]
    control = FittedHead(untrained.layer, untrained.cell)
    control.head.weight.copy_(torch.as_tensor(line[:-1]))
    control.head.bias.copy_(torch.as_tensor(line[-1:]))
    return control.to(untrained.head.weight.dtype).eval()
