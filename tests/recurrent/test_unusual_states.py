"""Right steps of unusual states or numbers: `check_step` lets every one pass, and edits and sweeps run them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from layer_by_hand import FEATURES, UNITS, Layer, LayerStep, check_right, noting
from torch import nn

from probe import Step

RIGHT: list[Any] = []
right = noting(RIGHT)


class _Counting(Layer):
    """Counts its steps in whole numbers, and decays with them."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, UNITS), torch.zeros(rows, dtype=torch.int64)

    def advanced(self, x: Any, state: Any) -> Any:
        h = self.moved(x, state[0]) / (1 + state[1][:, None] % 3)
        return self.out(h), (h, state[1] + 1)


@right(_Counting)
class _WholeNumber(LayerStep):
    pass


class _Latching(Layer):
    """Holds which units were ever above a threshold."""

    def first(self, rows: Any) -> Any:
        return {"h": torch.zeros(rows, UNITS), "seen": torch.zeros(rows, UNITS, dtype=torch.bool)}

    def advanced(self, x: Any, state: Any) -> Any:
        h = self.moved(x, state["h"] * state["seen"])
        return self.out(h), {"h": h, "seen": state["seen"] ^ (h > 0)}


@right(_Latching)
class _TruthValue(LayerStep):
    names: ClassVar = {"state.h": "hidden", "state.seen": "seen"}


class _Automaton(Layer):
    """Looks its next state up in a table."""

    table: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.tensor([[1, 0], [2, 1], [0, 2]]))

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, dtype=torch.int64)

    def advanced(self, x: Any, state: Any) -> Any:
        after = self.table[state, (x[:, 0] > 0).long()]
        return torch.nn.functional.one_hot(after, 3) * self.out.weight[0, :3], after


@right(_Automaton)
class _Index(LayerStep):
    pass


class _Wide(Layer):
    """Returns float64, computed in float32."""

    def advanced(self, x: Any, state: Any) -> Any:
        y, h = super().advanced(x, state)
        return y.double(), h


@right(_Wide)
class _WideOutput(LayerStep):
    pass


class _Cut(Layer):
    """Detaches its output."""

    def advanced(self, x: Any, state: Any) -> Any:
        y, h = super().advanced(x, state)
        return y.detach(), h


@right(_Cut)
class _CutOutput(LayerStep):
    pass


class _Untrained(Layer):
    """Runs without autograd."""

    @torch.no_grad()
    def forward(self, x: Any) -> Any:
        return super().forward(x)


@right(_Untrained)
class _WithoutAutograd(LayerStep):
    @torch.no_grad()
    def step(self, x: Any, state: Any) -> Any:
        return super().step(x, state)


@right(_Untrained)
class _WithAutograd(LayerStep):
    pass


class _CutBetween(Layer):
    """Detaches its state at every step."""

    def advanced(self, x: Any, state: Any) -> Any:
        return super().advanced(x, state.detach())


@right(_CutBetween)
class _CutState(LayerStep):
    pass


class _Nested(Layer):
    """Holds a nest of tuples and lists."""

    def first(self, rows: Any) -> Any:
        zeros = torch.zeros(rows, UNITS)
        return ([zeros, (zeros.clone(), zeros.clone())],)

    def advanced(self, x: Any, state: Any) -> Any:
        (one, (two, three)) = state[0]
        h = self.moved(x, one) - 0.5 * two + 0.1 * three
        return self.out(h), ([h, (one, two)],)


@right(_Nested)
class _Nest(LayerStep):
    pass


class _Turning(Layer):
    """Turns a complex state."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, UNITS, dtype=torch.complex64)

    def advanced(self, x: Any, state: Any) -> Any:
        turned = state * torch.polar(torch.full((UNITS,), 0.9), torch.arange(1.0, UNITS + 1)) + self.enters(x)
        return self.out(turned.real), turned


@right(_Turning)
class _ComplexState(LayerStep):
    pass


class _Empty(Layer):
    """Has a part of its state that holds no number."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, UNITS), torch.zeros(rows, 0)

    def advanced(self, x: Any, state: Any) -> Any:
        y, h = super().advanced(x, state[0])
        return y, (h, state[1])


@right(_Empty)
class _EmptyPart(LayerStep):
    pass


class _Stabilised(Layer):
    """Keeps its memory divided by exp(m), as an xLSTM does; its step hands on the memory itself, and m."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, UNITS), torch.zeros(rows, 1)

    def advanced(self, x: Any, state: Any) -> Any:
        gate = x[:, :1]
        m = torch.maximum(state[1] - 0.1, gate)
        c = (state[1] - 0.1 - m).exp() * (state[0] / state[1].exp()) + (gate - m).exp() * self.enters(x).tanh()
        return self.out(torch.tanh(c * m.exp())), (c * m.exp(), m)


@right(_Stabilised)
class _Stabiliser(LayerStep):
    names: ClassVar = {"state[0]": "memory", "state[1]": "stabiliser"}
    gauges: ClassVar = ("state[1]",)


class _Spiking(Layer):
    """Spikes, with the gradient of a sigmoid."""

    def advanced(self, x: Any, state: Any) -> Any:
        h = 0.9 * state + self.enters(x)
        soft = h.sigmoid()
        return self.out((h > 0).float() + soft - soft.detach()), h


@right(_Spiking)
class _Surrogate(LayerStep):
    pass


class _Delayed(Layer):
    """Holds the last inputs, and one number."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, 2, FEATURES), torch.zeros(rows)

    def advanced(self, x: Any, state: Any) -> Any:
        window, level = state
        h = torch.tanh(self.enters(window[:, 0] + x)) * (1 + level[:, None])
        return self.out(h), (torch.stack([window[:, 1], x], 1), 0.5 * level + x.sum(1))


@right(_Delayed)
class _Window(LayerStep):
    pass


@pytest.mark.parametrize(("layer", "step", "inputs", "keywords"), RIGHT)
def test_a_right_step_of_an_unusual_state_passes(
    layer: type[nn.Module], step: type[Step], inputs: Any, keywords: dict[str, Any]
) -> None:
    """What is measured is rounding; recording, an edit and a sweep agree, of every part of the state."""
    check_right(layer, step, inputs, keywords)
