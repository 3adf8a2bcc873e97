"""Recurrent cells and loops as people write them by hand, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

FEATURES, UNITS = 3, 4


class Leaky(nn.Module):
    """A cell with one vector."""

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.enters, self.back = nn.Linear(features, UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor, h: Any) -> Any:
        """Return the next state."""
        return 0.7 * h + 0.3 * torch.tanh(self.enters(x) + (self.back(h) if isinstance(h, Tensor) else h))


class OwnLSTM(nn.Module):
    """A hand-written LSTM cell, with the state as a pair, or as nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(FEATURES + UNITS, 4 * UNITS)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return the next state."""
        h, c = (x.new_zeros(len(x), UNITS), x.new_zeros(len(x), UNITS)) if state is None else state
        i, f, g, o = self.gates(torch.cat([x, h], -1)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class TwoArguments(OwnLSTM):
    """The same with h and c as two arguments."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:  # pyright: ignore
        """Return the next h and c."""
        return super().forward(x, (h, c))


class WithOutput(OwnLSTM):
    """The same with an output of its own before the state: `y, (h, c) = cell(x, (h, c))`."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return the output and the next state."""
        h, c = super().forward(x, state)
        return torch.sin(3 * h), (h, c)


class LikeTorch(OwnLSTM):
    """The same as `h, (h, c) = cell(x, (h, c))`."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return h and the next state."""
        h, c = super().forward(x, state)
        return h, (h, c)


class NormGRU(nn.Module):
    """The LayerNorm GRU of Dreamer, whose state is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(FEATURES + UNITS, 3 * UNITS, bias=False), nn.LayerNorm(3 * UNITS)

    def forward(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output and the next state."""
        (h,) = state
        reset, cand, update = self.norm(self.layer(torch.cat([inputs, h], -1))).chunk(3, -1)
        update = torch.sigmoid(update - 1)
        output = update * torch.tanh(torch.sigmoid(reset) * cand) + (1 - update) * h
        return output, [output]


class Zoneout(Leaky):
    """A cell whose units stay as they are at random while it is trained."""

    def forward(self, x: Tensor, h: Any) -> Any:
        """Return the next state."""
        new = super().forward(x, h)
        return torch.where(torch.rand_like(h) < 0.1, h, new) if self.training else 0.9 * new + 0.1 * h


class WithMemory(Leaky):
    """A cell whose state is a dict of a vector and a matrix."""

    def forward(self, x: Tensor, state: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what is read from memory, and the next state."""
        h = super().forward(x, state["h"])
        key = torch.softmax(self.enters(x), -1)
        memory = 0.9 * state["memory"] + key[:, :, None] * h[:, None, :]
        return (memory * key[:, :, None]).sum(1), {"h": h, "memory": memory}


def zeros(cell: nn.Module, rows: int) -> Any:
    """Return the state before the first step."""
    h = torch.zeros(rows, UNITS)
    if isinstance(cell, WithMemory):
        return {"h": h, "memory": torch.zeros(rows, UNITS, UNITS)}
    if isinstance(cell, (OwnLSTM, nn.LSTMCell)):
        return (h, h.clone())
    return [h] if isinstance(cell, NormGRU) else h


class Loop(nn.Module):
    """A cell in a Python loop over (batch, time, feature).

    `begin` makes the first state of an input; `between` is done to each part of the state before a step; `changed` is
    an edit of what the cell returned, before anybody reads it.
    """

    def __init__(self, cell: nn.Module, begin: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.cell, self.begin = cell, begin or (lambda x: zeros(cell, len(x)))
        self.between: Callable[[Tensor, int], Tensor] = lambda part, step: part
        self.changed: Callable[[int, Any], Any] = lambda step, state: state

    def forward(self, x: Tensor) -> Tensor:
        """Return the output at every step, (batch, time, unit): the state where the cell returns none."""
        state, outputs = self.begin(x), []
        for step, now in enumerate(x.unbind(1)):
            y, state = self.called(now, state, step)
            outputs.append(y)
        return torch.stack(outputs, 1)

    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        """Return an output and the next state."""
        before = pytree.tree_map_only(Tensor, lambda part: self.between(part, step), state)
        returned = self.cell(x, *before) if isinstance(self.cell, TwoArguments) else self.cell(x, before)
        if isinstance(self.cell, (WithOutput, LikeTorch, NormGRU, WithMemory)):
            y, state = returned
            after = self.changed(step, state)
            moved = isinstance(self.cell, (LikeTorch, NormGRU)) and after is not state
            return (after[0] if moved else y), after
        state = self.changed(step, returned)
        return (state[0] if isinstance(state, tuple) else state), state


def parts(state: Any, cell: nn.Module) -> dict[str, Tensor]:
    """Return the parts of a state by what probe calls them, of a cell of torch the one that its next step reads."""
    if isinstance(cell, nn.RNNCellBase):
        return {"hidden_state": state[0] if isinstance(state, tuple) else state}
    if isinstance(state, dict):
        return {f"state.{name}": part for name, part in state.items()}
    if isinstance(state, (tuple, list)):
        return {f"state[{place}]": part for place, part in enumerate(state)}
    return {"state": state}


def with_part(state: Any, number: int, value: float) -> Any:
    """Return a state with one of its parts set to a number."""
    leaves, form = pytree.tree_flatten(state)
    leaves[number] = torch.full_like(leaves[number], value)
    return pytree.tree_unflatten(leaves, form)
