"""A layer that loops over its step, an LSTM with a readout, and its step; tests change a method of one of them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import probe

ROWS, TIME, FEATURES, UNITS = 4, 12, 3, 5


class Layer(nn.Module):
    """The layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enters, self.back = nn.Linear(FEATURES, 4 * UNITS), nn.Linear(UNITS, 4 * UNITS)
        self.out = nn.Linear(UNITS, UNITS)

    def first(self, rows: int) -> Any:
        """Return the state before the first step."""
        return torch.zeros(rows, UNITS), torch.zeros(rows, UNITS)

    def advanced(self, x: Tensor, state: Any, order: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        gates = (self.enters(x) + self.back(state[0])).chunk(4, -1)
        i, f, g, o = (gates[place] for place in order)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return self.out(h), (h, c)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        """Return the outputs, (batch, time, unit), zero behind a row's end, and each row's last state."""
        state = self.first(len(x)) if state is None else state
        outputs = []
        for t, now in enumerate(x.unbind(1)):
            y, after = self.advanced(now, state)
            if lengths is not None:
                going = (lengths > t)[:, None]
                y, after = y * going, tuple(torch.where(going, *pair) for pair in zip(after, state, strict=True))
            state = after
            outputs.append(y)
        return torch.stack(outputs, 1), state


class LayerStep(probe.Step):
    """Its step."""

    names: ClassVar[Any] = {"state[0]": "hidden", "state[1]": "cell"}
    given: Any = None

    def inputs(self, x: Any, state: Any = None, lengths: Any = None) -> Tensor:
        """Return the sequences."""
        if lengths is not None:
            raise probe.ProbeError("Give sequences of one length.")
        self.given = state
        return x

    def initial(self, batch: int) -> Any:
        """Return the first state."""
        return self.module.first(batch) if self.given is None else self.given

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        return self.module.advanced(x, state)

    def final(self, returned: Any) -> Any:
        """Return the last state."""
        return returned[1]

    def returned(self, returned: Any, outputs: Tensor, state: Any) -> Any:
        """Return the outputs and the last state."""
        return outputs, state


def going_on(x: Tensor, lengths: Tensor) -> Tensor:
    """Return sequences with a last feature that says which steps a row has."""
    return torch.cat([x, (torch.arange(x.shape[1]) < lengths[:, None]).to(x.dtype)[..., None]], -1)
