"""The counter: an unmodified `nn.LSTM` or `nn.GRU` with one linear head on its last hidden state."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from probe.errors import ProbeError, unknown

from .tasks import encode

#: Layers that a counter can have, by their name in it.
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Counter(nn.Module):
    """A recurrent layer over bits with a head that scores each possible count.

    Args:
        hidden_size: units of the layer.
        n_classes: possible answers, 0 to n_classes - 1.
        cell: `"lstm"` or `"gru"`; also the layer's name in the module.

    Raises:
        ProbeError: there is no such cell.
    """

    lstm: nn.LSTM
    gru: nn.GRU
    head: nn.Linear

    def __init__(self, hidden_size: int = 12, n_classes: int = 11, cell: str = "lstm") -> None:
        super().__init__()
        if cell not in LAYERS:
            raise ProbeError(unknown("cell", cell, LAYERS))
        self.cell = cell
        self.add_module(cell, LAYERS[cell](1, hidden_size, batch_first=True))
        self.head = nn.Linear(hidden_size, n_classes)

    @property
    def layer(self) -> nn.LSTM | nn.GRU:
        """The recurrent layer, whatever its cell."""
        return getattr(self, self.cell)

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, "batch class"]:
        """Return the logits (batch, class), read from the hidden state after the last step.

        Args:
            x: the bits, zeros and ones or in the code that it was trained on, (batch, time, 1), any length.
        """
        hidden, _ = self.layer(x)
        return self.head(hidden[:, -1])

    def scores(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, "batch time class"]:
        """Return the logits after every step, (batch, time, class); the last are those of the call."""
        hidden, _ = self.layer(x)
        return self.head(hidden)


class Coded(nn.Module):
    """A network that reads another code, fed with zeros and ones.

    Args:
        model: the network.
        zero: what it reads for a 0.
        one: what it reads for a 1.
    """

    def __init__(self, model: nn.Module, *, zero: float, one: float) -> None:
        super().__init__()
        self.model = model
        self.zero, self.one = zero, one

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Tensor:
        """Return what the network returns for bits in its own code.

        Args:
            x: zeros and ones, (batch, time, 1).
        """
        return self.model(encode(x, zero=self.zero, one=self.one))


def blank_counter(hidden_size: int = 12, n_classes: int = 11, cell: str = "lstm") -> Counter:
    """Return a counter whose weights are about to be set; torch, which fills it, leaves the global random state."""
    with torch.random.fork_rng(devices=[]):
        return Counter(hidden_size, n_classes, cell)


def freeze_second_bias(model: Counter) -> Counter:
    """Keep `bias_hh` out of training and return the counter.

    TensorFlow's cells have one bias. Torch adds two; were both trained, their sum would move twice as fast under
    Adam.
    """
    model.layer.get_parameter("bias_hh_l0").requires_grad_(False)
    return model


def answer(output: Float[Tensor, "batch *class"]) -> Int64[Tensor, " batch"]:
    """Return the count with the highest score (a in docs/science.md); of one number a row, the nearest count."""
    return output.argmax(dim=1) if output.dim() == 2 else output.round().long()


def expected_answer(output: Float[Tensor, "batch *class"]) -> Float[Tensor, " batch"]:
    """Return the mean count under the network's own probabilities, y = sum_k k p_k; of one number a row, that number.

    The argmax hides an intervention that moves the answer by a quarter of a count; y shows it.
    """
    if output.dim() == 1:
        return output
    counts = torch.arange(output.shape[1], dtype=output.dtype)
    # Over the few numbers of each row torch's softmax would take several times as long.
    return torch.softmax(output.T, dim=0).T @ counts
