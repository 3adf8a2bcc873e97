"""The counter: an unmodified `nn.LSTM` whose last hidden state is read by one linear head."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class Counter(nn.Module):
    """An LSTM over bits with a head that scores each possible count.

    Args:
        hidden_size: units of the LSTM.
        n_classes: possible answers, 0 to n_classes - 1.
    """

    def __init__(self, hidden_size: int = 12, n_classes: int = 11) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, n_classes)

    def forward(self, x: Float[Tensor, "batch time 1"]) -> Float[Tensor, "batch class"]:
        """Return the logits (batch, class), read from the hidden state after the last step.

        Args:
            x: zeros and ones, (batch, time, 1), any length.
        """
        hidden, _ = self.lstm(x)
        return self.head(hidden[:, -1])


def blank_counter(hidden_size: int = 12, n_classes: int = 11) -> Counter:
    """Return a counter whose weights are about to be set, leaving the global random state alone.

    Torch fills every new module from the global generator; without the fork, loading a network would
    change the random numbers of the program that loads it.
    """
    with torch.random.fork_rng(devices=[]):
        return Counter(hidden_size, n_classes)


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
    return torch.softmax(output, dim=1) @ counts
