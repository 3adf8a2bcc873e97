"""The modules of our own, with options that reach every equation; what they compute is that of reference.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

INPUTS, UNITS, BATCH, TIME = 3, 5, 4, 7


@dataclass(frozen=True)
class Kind:
    """A module and its options."""

    module: type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **more: Any) -> Any:
        """Return a module in double precision whose weights are large enough to reach every bend of its functions."""
        module = self.module(INPUTS, UNITS, **self.options, **more).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn_like(parameter))
        return module

    def __str__(self) -> str:
        return "-".join([self.module.__name__, *(f"{name}={value}" for name, value in self.options.items())])


LSTMS = [
    Kind(CustomLSTM),
    Kind(CustomLSTM, {"peepholes": True}),
    Kind(CustomLSTM, {"learned_initial_state": True, "bias": False}),
    Kind(CustomLSTM, {"gate_activation": "hard_sigmoid_keras2", "output_activation": "relu"}),
    Kind(CustomLSTM, {"gate_activation": "hard_sigmoid_keras3", "activation": "linear"}),
    Kind(CustomLSTM, {"peepholes": True, "gate_activation": "hard_sigmoid_keras2", "output_activation": "linear"}),
]
GRUS = [
    Kind(CustomGRU, {"reset": "before"}),
    Kind(CustomGRU, {"reset": "after"}),
    Kind(CustomGRU, {"reset": "before", "gate_activation": "hard_sigmoid_keras3", "learned_initial_state": True}),
    Kind(CustomGRU, {"reset": "after", "gate_activation": "hard_sigmoid_keras2", "activation": "relu"}),
    Kind(CustomGRU, {"reset": "before", "activation": "linear", "bias": False}),
]
RNNS = [
    Kind(CustomRNN),
    Kind(CustomRNN, {"activation": "sigmoid", "learned_initial_state": True}),
    Kind(CustomRNN, {"activation": "hard_sigmoid_keras2", "bias": False}),
]
KINDS = LSTMS + GRUS + RNNS


def inputs() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, INPUTS, dtype=torch.float64)


def states_of(kind: Kind) -> Any:
    """Return initial states as a module takes them."""
    states = [torch.randn(1, BATCH, UNITS, dtype=torch.float64) for _ in range(kind.module.states)]
    return tuple(states) if len(states) > 1 else states[0]
