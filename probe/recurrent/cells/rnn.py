"""The equations of the plain RNN (Elman 1990): h' = tanh(W x + U h + b), or relu in place of tanh."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..signals import Signal
from .cell import HIDDEN, Cell, Formula, Weights

_a = Signal.HIDDEN_STATE_PREACTIVATION


class RNNCell(Cell):
    """torch's plain cell.

    Attributes:
        activation: tanh or relu in torch; any function in `probe.recurrent.CustomRNN`.
    """

    def __init__(self, weights: Weights, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        self.weights = weights
        self.units = len(weights.W)
        self.activation = activation
        self.formulas = (
            Formula(_a, (), lambda moment: moment.given[_a]),
            Formula(HIDDEN, (_a,), lambda _, a: activation(a)),
        )

    def size(self, signal: Signal) -> int:
        """Return how many units a signal has."""
        return self.units

    def given(
        self, inputs: Float[Tensor, "*lead gates"], previous: Float[Tensor, "*lead state"]
    ) -> dict[Signal, Tensor]:
        """Return the pre-activation."""
        return {_a: inputs + self.recurrent(previous)}
