"""The activation functions of gates, candidates and outputs, by name.

A bare `hard_sigmoid` is no name here, since Keras 2 and Keras 3 mean two functions by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ProbeError, unknown

Activation = Callable[[Tensor], Tensor]


def hard_sigmoid_keras2(a: Tensor) -> Tensor:
    """Return clip(0.2 a + 0.5, 0, 1): Keras before version 3, Theano, and ONNX's HardSigmoid with its defaults."""
    return (0.2 * a + 0.5).clamp(0, 1)


def hard_sigmoid_keras3(a: Tensor) -> Tensor:
    """Return relu6(a + 3) / 6: Keras from version 3 on."""
    return (a + 3).clamp(0, 6) / 6


def linear(a: Tensor) -> Tensor:
    """Return a copy of what is given: no function at all."""
    return a.clone()


ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid_keras2": hard_sigmoid_keras2,
    "hard_sigmoid_keras3": hard_sigmoid_keras3,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "linear": linear,
}


def check_activation(argument: str, name: object) -> None:
    """Raise ProbeError where there is no function of a name; the message lists those that exist.

    Args:
        argument: what asked for it, such as `gate_activation`, for the message.
        name: one of `ACTIVATIONS`.
    """
    if name not in tuple(ACTIVATIONS):
        raise ProbeError(unknown(argument, name, ACTIVATIONS))


@dataclass(frozen=True)
class Activations:
    """The functions of one cell.

    Attributes:
        gate: of i, f and o, or of r and z.
        candidate: of g or n.
        output: of the cell state, where it becomes the hidden state.
    """

    gate: Activation = torch.sigmoid
    candidate: Activation = torch.tanh
    output: Activation = torch.tanh


#: What torch's own cells compute.
STANDARD = Activations()
