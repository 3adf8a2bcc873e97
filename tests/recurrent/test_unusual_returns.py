"""Right steps of layers that are called, or return, in unusual ways: `check_step` lets every one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from layer_by_hand import FEATURES, ROWS, TIME, UNITS, Layer, LayerStep, check_right, noting
from torch import Tensor, nn

from probe import Step

RIGHT: list[Any] = []
right = noting(RIGHT)


class _TimeFirst(Layer):
    """Reads (time, batch, feature) and returns the hidden states and the last one, as tutorials write it."""

    def forward(self, x: Any, hidden: Any = None) -> Any:
        hidden = self.first(x.shape[1]) if hidden is None else hidden
        outputs = []
        for now in x:
            hidden = self.moved(now, hidden)
            outputs.append(hidden)
        return torch.stack(outputs), hidden


class _TimeFirstStep(LayerStep):
    given: Any = None

    def inputs(self, x: Any, hidden: Any = None) -> Any:
        self.given = hidden
        return x.transpose(0, 1)

    def initial(self, batch: Any) -> Any:
        return self.module.first(batch) if self.given is None else self.given

    def step(self, x: Any, state: Any) -> Any:
        h = self.module.moved(x, state)
        return h, h

    def outputs(self, returned: Any) -> Any:
        return returned[0].transpose(0, 1)

    def final(self, returned: Any) -> Any:
        return returned[1]

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs.transpose(0, 1), state


@right(_TimeFirst, lambda: (torch.randn(TIME, ROWS, FEATURES),))
class _FromZeros(_TimeFirstStep):
    pass


@right(_TimeFirst, lambda: (torch.randn(TIME, ROWS, FEATURES), torch.randn(ROWS, UNITS)))
class _FromAState(_TimeFirstStep):
    pass


class _Layered(Layer):
    """Returns its last state with an axis of layers, as torch does, and is given one so."""

    def forward(self, x: Any, state: Any = None) -> Any:
        outputs, h = self.looped(x, self.first(len(x)) if state is None else state[0])
        return outputs, h[None]


@right(_Layered, None, state=torch.linspace(-1, 1, ROWS * UNITS).reshape(1, ROWS, UNITS))
class _WithALayersAxis(LayerStep):
    given: Any = None

    def inputs(self, x: Any, state: Any = None) -> Any:
        self.given = state
        return x

    def initial(self, batch: Any) -> Any:
        return self.module.first(batch) if self.given is None else self.given[0]

    def final(self, returned: Any) -> Any:
        return returned[1][0]

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs, state[None]


class _LastAlone(Layer):
    """Returns its last output alone."""

    def forward(self, x: Any) -> Any:
        return super().forward(x)[:, -1]


@right(_LastAlone)
class _LastOutput(LayerStep):
    read: Any = None

    def inputs(self, x: Any) -> Any:
        self.read = x
        return x

    def outputs(self, returned: Any) -> Any:
        outputs, _ = self.module.looped(self.read, self.initial(len(self.read)))
        return torch.cat([outputs[:, :-1], returned[:, None]], 1)

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs[:, -1]


class _Gated(Layer):
    """Has a cell state, which it does not return."""

    def first(self, rows: Any) -> Any:
        return torch.zeros(rows, UNITS), torch.zeros(rows, UNITS)

    def advanced(self, x: Any, state: Any) -> Any:
        c = 0.9 * state[1] + self.moved(x, state[0])
        h = torch.tanh(c)
        return self.out(h), (h, c)

    def forward(self, x: Any) -> Any:
        outputs, (h, _) = self.looped(x, self.first(len(x)))
        return outputs, h


@right(_Gated)
class _ReturnsAPart(LayerStep):
    def final(self, returned: Any) -> Any:
        return returned[1], None

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs, state[0]


class _Halves(Layer):
    """Returns its output in two tensors."""

    def forward(self, x: Any) -> Any:
        outputs = super().forward(x)
        return outputs[..., :1].contiguous(), outputs[..., 1:].contiguous()


@right(_Halves)
class _TwoOutputs(LayerStep):
    def outputs(self, returned: Any) -> Any:
        return torch.cat(returned, -1)

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs[..., :1], outputs[..., 1:]


class _Reading(Layer):
    """Reads tokens, by name, with a step size for all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, FEATURES)

    def forward(self, *, tokens: Any, dt: Any = 1.0) -> Any:  # pyright: ignore
        return self.looped(dt * self.embedding(tokens), self.first(len(tokens)))[0]


@right(_Reading, tuple, tokens=torch.arange(ROWS * TIME).reshape(ROWS, TIME) % 7, dt=0.5)
class _Tokens(LayerStep):
    def inputs(self, *, tokens: Any, dt: Any = 1.0) -> Any:  # pyright: ignore
        return dt * self.module.embedding(tokens)


class _Padded(Layer):
    """Stops at each row's length."""

    def advanced(self, x: Any, state: Any) -> Any:
        y, h = super().advanced(x[:, :FEATURES], state)
        going = x[:, FEATURES:] > 0
        return torch.where(going, y, 0 * y), torch.where(going, h, state)

    def forward(self, x: Any, lengths: Any) -> Any:  # pyright: ignore
        going = (torch.arange(x.shape[1]) < lengths[:, None]).to(x.dtype)
        outputs, h = self.looped(torch.cat([x, going[..., None]], -1), self.first(len(x)))
        return outputs, h, lengths


@right(_Padded, None, lengths=torch.tensor([10, 8, 10, 7]))
class _Lengths(LayerStep):
    def inputs(self, x: Any, lengths: Any) -> Any:  # pyright: ignore
        going = (torch.arange(x.shape[1]) < lengths[:, None]).to(x.dtype)
        return torch.cat([x, going[..., None]], -1)

    def final(self, returned: Any) -> Any:
        return returned[1]

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return outputs, state, returned[2]


class _Around(nn.Module):
    """Holds torch's GRU and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(FEATURES, UNITS, batch_first=True), nn.Linear(UNITS, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x)[0])


@right(_Around)
class _TwoModules(LayerStep):
    def initial(self, batch: Any) -> Any:
        return torch.zeros(batch, UNITS)

    def step(self, x: Any, state: Any) -> Any:
        h = self.module.rnn(x[:, None], state[None])[1][0]
        return self.module.out(h), h


class _Named(NamedTuple):
    y: Tensor
    h: Tensor
    word: str


class _ReturnsNames(Layer):
    """Returns a named tuple, and begins with what it has learned."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.randn(UNITS))

    def first(self, rows: Any) -> Any:
        return self.begin.expand(rows, -1)

    def forward(self, x: Any) -> Any:
        return _Named(*self.looped(x, self.first(len(x))), "a word")


@right(_ReturnsNames)
class _Names(LayerStep):
    def final(self, returned: Any) -> Any:
        return returned.h

    def returned(self, returned: Any, outputs: Any, state: Any) -> Any:
        return returned._replace(y=outputs, h=state)


@pytest.mark.parametrize(("layer", "step", "inputs", "keywords"), RIGHT)
def test_a_right_step_of_an_unusual_call_passes(
    layer: type[nn.Module], step: type[Step], inputs: Any, keywords: dict[str, Any]
) -> None:
    """What is measured is rounding; recording, an edit and a sweep agree, of every part of the state."""
    check_right(layer, step, inputs, keywords)
