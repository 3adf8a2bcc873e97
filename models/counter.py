"""The counter: an unmodified `nn.LSTM` or `nn.GRU` with one linear head on its last hidden state."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from probe.examples import Network

from .tasks import encode


class Counter(Network):
    """A recurrent layer over bits with a head that scores each possible count after the last step.

    Args:
        hidden_size: units of the layer.
        n_classes: possible answers, 0 to n_classes - 1.
        cell: `"lstm"` or `"gru"`; also the layer's name in the module.

    Raises:
        ProbeError: there is no such cell.
    """

    lstm: nn.LSTM
    gru: nn.GRU

    def __init__(self, hidden_size: int = 12, n_classes: int = 11, cell: str = "lstm") -> None:
        super().__init__(cell, 1, hidden_size, n_classes, last=True)


class Coded(nn.Module):
    """A network that reads another code, fed with zeros and ones.

    Args:
        model: the network.
        zero: what it reads for a 0.
        one: what it reads for a 1.
        other: what it reads for a third symbol, 2, where there is one.
    """

    def __init__(self, model: nn.Module, *, zero: float, one: float, other: float | None = None) -> None:
        super().__init__()
        self.model = model
        self.zero, self.one, self.other = zero, one, other

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Tensor:
        """Return what the network returns for bits in its own code.

        Args:
            x: zeros and ones, or symbols from 0 to 2, (batch, time, 1).
        """
        return self.model(encode(x, zero=self.zero, one=self.one, other=self.other))


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
