"""A plain recurrent network of formulas by hand: as a layer of torch's, as a loop over its cell, and as a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import probe

KINDS = ("torch", "loop", "step")


class Layer(nn.Module):
    """A layer of somebody's own: relu(W x + U h)."""

    def __init__(self, enters: Tensor, back: Tensor) -> None:
        super().__init__()
        self.enters, self.back = nn.Parameter(enters), nn.Parameter(back)

    def advanced(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return torch.relu(x @ self.enters.T + h @ self.back.T)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states, (batch, time, unit)."""
        h, states = x.new_zeros(len(x), len(self.back)), []
        for now in x.unbind(1):
            h = self.advanced(now, h)
            states.append(h)
        return torch.stack(states, 1)


class LayerStep(probe.Step):
    """Its step."""

    def inputs(self, x: Tensor) -> Tensor:
        """Return the sequences."""
        return x

    def initial(self, batch: int) -> Tensor:
        """Return the first state."""
        return torch.zeros(batch, len(self.module.back))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the next state, which are one."""
        after = self.module.advanced(x, state)
        return after, after

    def returned(self, returned: Any, outputs: Tensor, state: Tensor) -> Tensor:
        """Return the states."""
        return outputs


probe.register(Layer, LayerStep)


class Planted(nn.Module):
    """A network of such formulas as a layer of torch's, a loop or a layer of somebody's own; it answers a unit."""

    def __init__(self, kind: str, back: Tensor, enters: Tensor | None = None) -> None:
        super().__init__()
        enters = torch.eye(len(back))[:, :1] if enters is None else enters
        options: Any = {"nonlinearity": "relu", "bias": False}
        if kind == "step":
            self.rnn = Layer(enters, back)
        else:
            sizes = enters.shape[1], len(back)
            self.rnn = (
                nn.RNNCell(*sizes, **options) if kind == "loop" else nn.RNN(*sizes, batch_first=True, **options)
            )
            for parameter, value in zip(self.rnn.parameters(), (enters, back), strict=True):
                parameter.data.copy_(value)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last unit after each step, (batch, time)."""
        if not isinstance(self.rnn, nn.RNNCell):
            found = self.rnn(x)
            return (found[0] if isinstance(found, tuple) else found)[:, :, -1]
        h, states = x.new_zeros(len(x), self.rnn.hidden_size), []
        for now in x.unbind(1):
            h = self.rnn(now, h)
            states.append(h[:, -1])
        return torch.stack(states, 1)
