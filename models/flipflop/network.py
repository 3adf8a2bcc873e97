"""`FlipFlop`: a plain `nn.LSTM`, `nn.GRU` or tanh `nn.RNN` with one linear output for each bit, at every step."""

from __future__ import annotations

import torch

from probe.examples import Network

from ..data import generator
from .task import BITS


class FlipFlop(Network):
    """A recurrent layer over three channels, with a head that gives three numbers after every step.

    Args:
        cell: `"lstm"`, `"gru"` or `"rnn"` (tanh); also the layer's name in the module.
        units: of the layer.

    Raises:
        ProbeError: there is no such cell.
    """

    def __init__(self, cell: str = "lstm", units: int = 16) -> None:
        super().__init__(cell, BITS, units, BITS, last=False)


@torch.no_grad()
def initialise(cell: str, units: int, seed: int) -> FlipFlop:
    """Return an untrained flip-flop: every weight uniform within 1 / sqrt(units), as torch draws them.

    Args:
        cell: `"lstm"`, `"gru"` or `"rnn"`.
        units: of the layer.
        seed: 0 or more; another seed gives other weights.

    Raises:
        ProbeError: there is no such cell, or the seed is negative.
    """
    draws, model = generator(seed, "flip-flop weights"), FlipFlop(cell, units)
    for weight in model.parameters():
        weight.uniform_(-(units**-0.5), units**-0.5, generator=draws)
    return model.eval()
