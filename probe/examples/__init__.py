"""Two small trained networks with what they read and hold, to try things on: `counter` and `flipflop`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ProbeError, unknown

__all__ = ["Example", "Network", "counter", "flipflop"]

#: Layers that a network can have, by their name in it.
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Network(nn.Module):
    """A recurrent layer of torch with a linear head on its hidden states.

    Args:
        cell: `"lstm"`, `"gru"` or `"rnn"` (tanh); also the layer's name in the module.
        inputs: numbers that it reads at each step.
        units: of the layer.
        outputs: numbers that the head gives.
        last: whether it answers after the last step alone.

    Raises:
        ProbeError: there is no such cell.
    """

    head: nn.Linear

    def __init__(self, cell: str, inputs: int, units: int, outputs: int, *, last: bool) -> None:
        super().__init__()
        if cell not in LAYERS:
            raise ProbeError(unknown("cell", cell, LAYERS))
        self.cell, self.last = cell, last
        # Torch fills new modules from the global generator, which stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.add_module(cell, LAYERS[cell](inputs, units, batch_first=True))
            self.head = nn.Linear(units, outputs)

    @property
    def layer(self) -> nn.RNNBase:
        """The recurrent layer, whatever its cell."""
        return getattr(self, self.cell)

    def scores(self, x: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch time output"]:
        """Return the head's numbers after every step, (batch, time, output)."""
        return self.head(self.layer(x)[0])

    def forward(self, x: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch *time output"]:
        """Return the head's numbers after every step, (batch, time, output), or after the last, (batch, output).

        Args:
            x: (batch, time, input), any length; it starts in a state of zeros.
        """
        return self.head(self.layer(x)[0][:, -1]) if self.last else self.scores(x)


class Example(NamedTuple):
    """A trained network, what it reads, and what its states may hold: the first three arguments of `probe.Study`.

    Attributes:
        model: the network, float32, in evaluation mode.
        inputs: (batch, time, input), float32.
        concepts: by name, whole numbers (batch, time).
    """

    model: Network
    inputs: Float[Tensor, "batch time input"]
    concepts: dict[str, Tensor]


def counter() -> Example:
    """Return an LSTM of 12 units that was trained to count, with all 1,024 strings of ten bits.

    After the last bit it scores each count of ones from 0 to 10, so it returns (batch, 11). Row r of the inputs
    spells r in binary. It misreads six of them, the zeros and the ones among them. The concept is `ones so far`,
    (1024, 10).
    """
    return _example("counter", Network("lstm", 1, 12, 11, last=True))


def flipflop() -> Example:
    """Return a GRU of 16 units that holds the last pulse of each of three channels, with 24 sequences of 40 steps.

    A pulse is 1 or -1, and most inputs are 0. It returns a number for each channel after every step. The concepts are
    `bit 1`, `bit 2` and `bit 3`: 1 or -1, (24, 40). What it answers about the first of them is
    `probe.Readout("bit 1", function=lambda h: model.head(h.float())[..., 0], kind="number")`.

    Reference:
        Sussillo & Barak 2013, Opening the black box, section 3.1.
    """
    return _example("flipflop", Network("gru", 3, 16, 3, last=False))


def _example(name: str, model: Network) -> Example:
    """Return an example with the weights, inputs and concepts of its file."""
    kinds: dict[str, dict[str, Tensor]] = {"model": {}, "inputs": {}, "concepts": {}}
    for key, tensor in load_file(Path(__file__).with_name(f"{name}.safetensors")).items():
        kind, _, rest = key.partition("/")
        kinds[kind][rest] = tensor
    model.load_state_dict(kinds["model"])
    concepts = {each: values.long() for each, values in sorted(kinds["concepts"].items())}
    return Example(model.eval(), kinds["inputs"][""].float(), concepts)
