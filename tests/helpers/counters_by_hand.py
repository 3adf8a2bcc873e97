"""LSTMs written down by hand for the exact decompositions: what each must give is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from known_machines import CLASSES, LENGTH
from torch import Tensor, nn

OPEN = 40.0
COUNTS = torch.arange(CLASSES).double()


class ByHand(nn.Module):
    """An LSTM of two features with weights of zero and open gates but where said; `read` takes the last h.

    Args:
        units: how many.
        read: from h (batch, unit) to the output.
        given: parameter, gate in torch's order i f g o -> its value for all units.
    """

    def __init__(self, units: int, read: Callable[[Tensor], Tensor], **given: dict[int, Tensor | float]) -> None:
        super().__init__()
        self.read, self.lstm = read, nn.LSTM(2, units, batch_first=True)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                parameter.zero_()
                gates = parameter.view(4, units, -1)
                if name == "bias_ih_l0":
                    gates[[0, 1, 3]] = OPEN
                for gate, value in given.get(name.removesuffix("_l0"), {}).items():
                    gates[gate] = value

    def forward(self, x: Tensor) -> Tensor:
        """Return what is read."""
        return self.read(self.lstm(x)[0][:, -1].double())


def balance() -> ByHand:
    """Return two units: the first holds the wins, the second the losses; their difference is read."""
    levels = torch.tanh(0.02 * COUNTS) - torch.tanh(0.02 * (LENGTH - COUNTS))
    given: dict[int, Tensor | float] = {2: math.atanh(0.02) * torch.eye(2)}
    return ByHand(2, lambda h: -1e6 * (h[:, :1] - h[:, 1:] - levels) ** 2, weight_ih=given)


def by_input_gate() -> ByHand:
    """Return one unit whose candidate is the same whatever comes: a win opens the input gate, a loss shuts it."""
    return ByHand(
        1,
        lambda h: -1e5 * (h - torch.tanh(0.1 * COUNTS)) ** 2,
        bias_ih={0: -OPEN, 2: math.atanh(0.1)},
        weight_ih={0: torch.tensor([2 * OPEN, 0.0])},
    )


def handed() -> ByHand:
    """Return a count that is written anew at each step: nothing is kept in the cell, h goes into the candidate."""
    write: dict[int, Tensor | float] = {2: torch.tensor([0.02, 0.0])}
    return ByHand(1, lambda h: h[:, 0] / 0.02, bias_ih={1: -OPEN}, weight_ih=write, weight_hh={2: 1.0})
