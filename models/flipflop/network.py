"""`FlipFlop`: a plain `nn.LSTM`, `nn.GRU` or tanh `nn.RNN` with one linear output for each bit, at every step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from probe.errors import ProbeError, unknown

from ..data import generator
from .task import BITS

#: Layers that a flip-flop can have, by their name in it.
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class FlipFlop(nn.Module):
    """A recurrent layer over three channels, whose hidden state a linear head turns into three numbers a step.

    Args:
        cell: `"lstm"`, `"gru"` or `"rnn"` (tanh); also the layer's name in the module.
        units: of the layer.

    Raises:
        ProbeError: there is no such cell.
    """

    head: nn.Linear

    def __init__(self, cell: str = "lstm", units: int = 16) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ProbeError(unknown("cell", cell, CELLS))
        self.cell = cell
        # Torch fills new modules from the global generator, which stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.add_module(cell, CELLS[cell](BITS, units, batch_first=True))
            self.head = nn.Linear(units, BITS)

    @property
    def layer(self) -> nn.RNNBase:
        """The recurrent layer, whatever its cell."""
        return getattr(self, self.cell)

    def forward(self, x: Float[Tensor, "sequence step 3"]) -> Float[Tensor, "sequence step 3"]:
        """Return three numbers after every step, which start in a state of zeros.

        Args:
            x: the pulses, any length.
        """
        return self.head(self.layer(x)[0])


@torch.no_grad()
def initialise(cell: str, units: int, seed: int) -> FlipFlop:
    """Return an untrained flip-flop: every weight uniform within 1 / sqrt(units), as torch draws them.

    Args:
        cell: a key of `CELLS`.
        units: of the layer.
        seed: 0 or more; another seed gives other weights.

    Raises:
        ProbeError: there is no such cell, or the seed is negative.
    """
    draws, model = generator(seed, "flip-flop weights"), FlipFlop(cell, units)
    for weight in model.parameters():
        weight.uniform_(-(units**-0.5), units**-0.5, generator=draws)
    return model.eval()
