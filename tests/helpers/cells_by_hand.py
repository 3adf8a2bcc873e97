"""Recurrent cells and loops as people write them by hand, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import probe

FEATURES, UNITS = 3, 4


class Leaky(nn.Module):
    """A cell with one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.enters, self.back = nn.Linear(FEATURES, UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return 0.7 * h + 0.3 * torch.tanh(self.enters(x) + self.back(h))


class OwnLSTM(nn.Module):
    """A hand-written LSTM cell, with the state as a pair, or as nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(FEATURES + UNITS, 4 * UNITS)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        """Return the next state."""
        if state is None:
            state = (x.new_zeros(len(x), UNITS), x.new_zeros(len(x), UNITS))
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], -1)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class TwoArguments(OwnLSTM):
    """The same with h and c as two arguments."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Return the next h and c."""
        return super().forward(x, (h, c))


class WithOutput(OwnLSTM):
    """The same with an output of its own before the state: `y, (h, c) = cell(x, (h, c))`."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return the output and the next state."""
        h, c = super().forward(x, state)
        return self.out(h), (h, c)


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


class Zoneout(nn.Module):
    """A GRU's cell whose units stay as they are at random while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Leaky()

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        new = self.inner(x, h)
        if not self.training:
            return 0.9 * new + 0.1 * h
        return torch.where(torch.rand_like(h) < 0.1, h, new)


class WithMemory(nn.Module):
    """A cell whose state is a dict of a vector and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.key = Leaky(), nn.Linear(FEATURES, UNITS)

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is read from memory, and the next state."""
        h = self.inner(x, state["h"])
        key = torch.softmax(self.key(x), -1)
        memory = 0.9 * state["memory"] + key[:, :, None] * h[:, None, :]
        return (memory * key[:, :, None]).sum(1), {"h": h, "memory": memory}


def zeros(kind: type[nn.Module], rows: int) -> Any:
    """Return the state before the first step."""
    h = torch.zeros(rows, UNITS)
    if kind is WithMemory:
        return {"h": h, "memory": torch.zeros(rows, UNITS, UNITS)}
    if issubclass(kind, OwnLSTM):
        return (h, h.clone())
    return [h] if kind is NormGRU else h


class Loop(nn.Module):
    """A cell in a Python loop over (batch, time, feature), and a readout.

    `changed` is done to what the cell returned, before anybody reads it; `between` to the state between two calls.
    """

    def __init__(self, kind: type[nn.Module], *, begin_with_none: bool = False) -> None:
        super().__init__()
        self.cell, self.readout, self.none = kind(), nn.Linear(UNITS, 2), begin_with_none
        self.changed: Callable[[int, Any], Any] = lambda step, state: state
        self.between: Callable[[Tensor, int], Tensor] = lambda part, step: part
        self.no_grad = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the readout at every step, (batch, time, 2)."""
        state = None if self.none else zeros(type(self.cell), len(x))
        outputs = []
        for step, now in enumerate(x.unbind(1)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.no_grad):
                y, state = self.called(now, state, step)
            outputs.append(self.readout(y))
        return torch.stack(outputs, 1)

    def called(self, x: Tensor, state: Any, step: int) -> tuple[Tensor, Any]:
        """Return what the readout reads, and the next state."""
        state = None if state is None else mapped(lambda part: self.between(part, step), state)
        returned = self.cell(x, *state) if isinstance(self.cell, TwoArguments) else self.cell(x, state)
        if isinstance(self.cell, (WithOutput, LikeTorch, NormGRU, WithMemory)):
            y, state = returned
            after = self.changed(step, state)
            moved = isinstance(self.cell, (LikeTorch, NormGRU)) and after is not state
            return (after[0] if moved else y), after
        state = self.changed(step, returned)
        return (state[0] if isinstance(state, tuple) else state), state


def mapped(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Return a state with a function of each of its parts."""
    if isinstance(state, dict):
        return {name: mapped(function, part) for name, part in state.items()}
    if isinstance(state, (tuple, list)):
        return type(state)(mapped(function, part) for part in state)
    return function(state)


def parts(state: Any) -> dict[str, Tensor]:
    """Return the parts of a state by what probe calls them."""
    if isinstance(state, dict):
        return {f"state.{name}": part for name, part in state.items()}
    if isinstance(state, (tuple, list)):
        return {f"state[{place}]": part for place, part in enumerate(state)}
    return {"state": state}


class BothWays(nn.Module):
    """One cell over a sequence and over the sequence turned round, or twice in a stack."""

    def __init__(self, *, stacked: bool) -> None:
        super().__init__()
        self.cell, self.stacked = Leaky(), stacked
        self.narrow = nn.Linear(UNITS, FEATURES)

    def forward(self, x: Tensor, at: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of both, (batch, time, unit) each; those `at` a sequence and a step are set to 1."""

        def set_at(number: int, step: int, h: Tensor) -> Tensor:
            return torch.ones_like(h) if at == (number, step) else h

        one = two = torch.zeros(len(x), UNITS)
        first, second = [], []
        for step, now in enumerate(x.unbind(1)):
            one = set_at(0, step, self.cell(now, one))
            first.append(one)
            if self.stacked:
                two = set_at(1, step, self.cell(self.narrow(one), two))
                second.append(two)
        if not self.stacked:
            two = torch.zeros(len(x), UNITS)
            for step, now in enumerate(x.flip(1).unbind(1)):
                two = set_at(1, step, self.cell(now, two))
                second.append(two)
        return torch.stack(first, 1), torch.stack(second, 1)


class Twice(nn.Module):
    """A cell that returns one tensor in both places of its state, as JANET does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES + UNITS, UNITS)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the next state."""
        h, c = state
        new = 0.5 * c + torch.tanh(self.inner(torch.cat([x, h], -1)))
        return new, new


class CTRNN(nn.Module):
    """The continuous-time network of neurogym's examples: a loop over a method."""

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        self.alpha, self.hidden_size = alpha, UNITS
        self.input2h, self.h2h = nn.Linear(FEATURES, UNITS), nn.Linear(UNITS, UNITS)

    def recurrence(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the next state."""
        h_new = torch.relu(self.input2h(x) + self.h2h(hidden))
        return hidden * (1 - self.alpha) + h_new * self.alpha

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states, (time, batch, unit), and the last one."""
        hidden = x.new_zeros(x.shape[1], self.hidden_size) if hidden is None else hidden
        output = []
        for now in x:
            hidden = self.recurrence(now, hidden)
            output.append(hidden)
        return torch.stack(output), hidden


class CTRNNStep(probe.Step):
    """Its step."""

    names: ClassVar = {"state": "rate"}
    given: Tensor | None = None

    def inputs(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return the sequences."""
        self.given = hidden
        return x.transpose(0, 1)

    def initial(self, batch: int) -> Any:
        """Return the state before the first step."""
        return torch.zeros(batch, self.module.hidden_size) if self.given is None else self.given

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the state twice."""
        h = self.module.recurrence(x, state)
        return h, h

    def outputs(self, returned: Any) -> Tensor:
        """Return the states."""
        return returned[0].transpose(0, 1)

    def final(self, returned: Any) -> Any:
        """Return the last state."""
        return returned[1]

    def returned(self, returned: Any, outputs: Tensor, state: Any) -> Any:
        """Return the states and the last one."""
        return outputs.transpose(0, 1), state


class LowRank(nn.Module):
    """A network of rank one with noise, as in Dubreuil et al. 2022: one loop in its forward."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.wi, self.wo = nn.Parameter(torch.randn(FEATURES, UNITS)), nn.Parameter(torch.randn(UNITS, 2))
        self.m, self.n = nn.Parameter(torch.randn(UNITS, 1)), nn.Parameter(torch.randn(UNITS, 1))
        self.alpha, self.noise_std = 0.2, noise

    def forward(self, x: Tensor) -> Tensor:
        """Return the readout, (batch, time, 2)."""
        h = torch.zeros(len(x), UNITS)
        output = []
        for now in x.unbind(1):
            h = self.advanced(h, now) + self.noise_std * torch.randn(len(x), UNITS)
            output.append(torch.tanh(h) @ self.wo / UNITS)
        return torch.stack(output, 1)

    def advanced(self, h: Tensor, x: Tensor) -> Tensor:
        """Return the next state without noise."""
        return h + self.alpha * (-h + torch.tanh(h) @ self.n @ self.m.T / UNITS + x @ self.wi)


class LowRankStep(probe.Step):
    """Its step."""

    def inputs(self, x: Tensor) -> Tensor:
        """Return the sequences."""
        return x

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        return torch.zeros(batch, UNITS)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the readout and the next state."""
        h = self.module.advanced(state, x)
        return torch.tanh(h) @ self.module.wo / UNITS, h


class Stack(nn.Module):
    """Cells of two layers in one loop, with their states in one tensor: torchrecurrent's layers are written so."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.narrow = nn.ModuleList([Leaky(), Leaky()]), nn.Linear(UNITS, FEATURES)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the upper layer's states, (batch, time, unit), and the last state of both layers."""
        state = x.new_zeros(2, len(x), UNITS) if state is None else state
        outputs = []
        for now in x.unbind(1):
            lower = self.cells[0](now, state[0])
            state = torch.stack([lower, self.cells[1](self.narrow(lower), state[1])])
            outputs.append(state[1])
        return torch.stack(outputs, 1), state
