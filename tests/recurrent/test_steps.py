"""Layers that torch does not have, run by a `probe.Step`: the same promises as for `nn.LSTM`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from bodies import Model
from layer_by_hand import FEATURES, ROWS, TIME, UNITS, Layer, LayerStep, going_on
from refusing import refused
from torch import Tensor, nn

import probe
from probe.studies.prepare import prepare
from probe.testing import check_step


class Odd(Layer):
    """Holds whole numbers, truth values, complex numbers, nothing, and a nest of a window and a number."""

    def first(self, rows: int) -> Any:
        """Return the state before the first step."""
        h, count, seen = torch.zeros(rows, UNITS), torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, UNITS) > 0
        nest = ([torch.zeros(rows, 2, FEATURES), (torch.zeros(rows),)],)
        return {"h": h, "count": count, "seen": seen, "turn": h.to(torch.complex64), "none": h[:, :0], "nest": nest}

    def advanced(self, x: Tensor, state: Any, order: Any = None) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        ((window, (level,)),) = state["nest"]
        enters = self.enters(window[:, 0] + x)[:, :UNITS]
        h = torch.tanh(enters + self.back(state["h"] * state["seen"])[:, :UNITS]) * (1 + level[:, None])
        h = h / (1 + state["count"][:, None] % 3)
        turn = state["turn"] * torch.polar(torch.full((UNITS,), 0.9), torch.arange(1.0, UNITS + 1)) + enters
        nest = ([torch.stack([window[:, 1], x], 1), (0.5 * level + x.sum(1),)],)
        after = {"h": h, "count": state["count"] + 1, "seen": state["seen"] ^ (h > 0), "turn": turn}
        return self.out(h) + turn.real, {**after, "none": state["none"], "nest": nest}


class OddStep(LayerStep):
    """Its step."""

    names: ClassVar = {"state.turn": "memory", "state.nest[0][0]": "window"}


class _Stabilised(Layer):
    """Keeps its memory divided by exp(m), as an xLSTM does; its step hands on the memory itself, and m."""

    def first(self, rows: int) -> Any:
        return torch.zeros(rows, UNITS), torch.zeros(rows, 1)

    def advanced(self, x: Tensor, state: Any, order: Any = None) -> tuple[Tensor, Any]:
        gate, enters = x[:, :1], self.enters(x)[:, :UNITS].tanh()
        m = torch.maximum(state[1] - 0.1, gate)
        c = (state[1] - 0.1 - m).exp() * (state[0] / state[1].exp()) + (gate - m).exp() * enters
        return self.out(torch.tanh(c * m.exp())), (c * m.exp(), m)


class _StabilisedStep(LayerStep):
    names: ClassVar = {"state[0]": "memory", "state[1]": "stabiliser"}
    gauges: ClassVar = ("state[1]",)


class _Other(Layer):
    """Returns another type, detaches, or spikes, as `how` says."""

    how = ""

    def advanced(self, x: Tensor, state: Any, order: Any = (0, 1, 2, 3)) -> tuple[Tensor, Any]:
        y, state = super().advanced(x, state, order)
        if self.how == "spikes":
            return self.out((state[0] > 0).float() + state[0].sigmoid() - state[0].sigmoid().detach()), state
        return {"wide": y.double(), "cut output": y.detach()}.get(self.how, y), state

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.how != "without autograd"):
            return super().forward(x, state, lengths)


class _TimeFirst(Layer):
    """Reads (time, batch, feature), and has an axis of layers in its states, as torch does."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        y, last = super().forward(x.transpose(0, 1), None if state is None else tuple(part[0] for part in state))
        return y.transpose(0, 1), tuple(part[None] for part in last)


def _time_first(step: Any, x: Tensor, state: Any = None) -> Tensor:
    step.given = None if state is None else tuple(part[0] for part in state)
    return x.transpose(0, 1)


class _LastAlone(Layer):
    """Returns its last output alone."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        return super().forward(x)[0][:, -1]


def _earlier_outputs(step: Any, returned: Any) -> Tensor:
    return torch.cat([Layer.forward(step.module, step.read)[0][:, :-1], returned[:, None]], 1)


class _Named(NamedTuple):
    left: Tensor
    right: Tensor
    h: Tensor
    word: str


class _ReturnsNames(Layer):
    """Reads tokens, by name, begins with what it has learned, and returns two outputs and a part of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.begin, self.embedding = nn.Parameter(torch.randn(UNITS)), nn.Embedding(7, FEATURES)

    def first(self, rows: int) -> Any:
        return self.begin.expand(rows, -1), torch.zeros(rows, UNITS)

    def forward(self, *, tokens: Tensor, dt: float = 1.0) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        y, (h, _) = super().forward(dt * self.embedding(tokens))
        return _Named(y[..., :1].contiguous(), y[..., 1:].contiguous(), h, "a word")


class _MaskedStep(LayerStep):
    """The step of a layer that stops at each row's length."""

    def inputs(self, x: Any, state: Any = None, lengths: Any = None) -> Tensor:
        return going_on(x, lengths)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = self.module.advanced(x[:, :FEATURES], state)
        going = x[:, FEATURES:] > 0
        return y * going, tuple(torch.where(going, *pair) for pair in zip(after, state, strict=True))


class _Around(nn.Module):
    """Holds torch's GRU and a readout: layers inside a layer with a step are a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(FEATURES, UNITS, batch_first=True), nn.Linear(UNITS, 2)

    def forward(self, x: Tensor) -> Any:
        h, last = self.rnn(x)
        return self.out(h), last[0]


def _around(step: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    h = step.module.rnn(x[:, None], state[None])[1][0]
    return step.module.out(h), h


def _other(how: str) -> type[Layer]:
    return type(how.title().replace(" ", ""), (_Other,), {"how": how})


STATE = tuple(torch.linspace(-1, 1, ROWS * UNITS).reshape(1, ROWS, UNITS) * k for k in (1, 2))
TOKENS = torch.arange(ROWS * TIME).reshape(ROWS, TIME) % 7
#: A layer, its step or what its step does otherwise than LayerStep, and keywords of the call.
RIGHT: dict[str, tuple[type[nn.Module], Any, dict[str, Any]]] = {
    "from a state": (Layer, LayerStep, {"state": (STATE[0][0], STATE[1][0])}),
    "odd types": (Odd, OddStep, {}),
    "a stabiliser": (_Stabilised, _StabilisedStep, {}),
    **{how: (_other(how), LayerStep, {}) for how in ("wide", "cut output", "without autograd", "spikes")},
    "time first, from a state": (
        _TimeFirst,
        {
            "inputs": _time_first,
            "outputs": lambda step, returned: returned[0].transpose(0, 1),
            "final": lambda step, returned: tuple(part[0] for part in returned[1]),
            "returned": lambda step, _, y, state: (y.transpose(0, 1), tuple(part[None] for part in state)),
        },
        {"state": STATE},
    ),
    "the last output alone": (
        _LastAlone,
        {
            "inputs": lambda step, x: vars(step).update(read=x) or x,
            "outputs": _earlier_outputs,
            "final": lambda step, returned: None,
            "returned": lambda step, _, y, state: y[:, -1],
        },
        {},
    ),
    "names": (
        _ReturnsNames,
        {
            "inputs": lambda step, *, tokens, dt=1.0: dt * step.module.embedding(tokens),
            "outputs": lambda step, returned: torch.cat([returned.left, returned.right], -1),
            "final": lambda step, returned: (returned.h, None),
            "returned": lambda step, old, y, state: old._replace(left=y[..., :1], right=y[..., 1:], h=state[0]),
        },
        {"tokens": TOKENS, "dt": 0.5},
    ),
    "lengths": (Layer, _MaskedStep, {"lengths": torch.tensor([12, 10, 12, 9])}),
    "around a layer of torch": (
        _Around,
        {"names": {}, "initial": lambda step, rows: torch.zeros(rows, UNITS), "step": _around},
        {},
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_step_passes(name: str) -> None:
    """What is measured is rounding; recording, an edit and a sweep agree, of every part of the state."""
    kind, step, keywords = RIGHT[name]
    step = type("OwnStep", (LayerStep,), step) if isinstance(step, dict) else step
    torch.manual_seed(1)
    module, axis = kind().eval(), int("time first" in name)
    given = () if "tokens" in keywords else (torch.randn((TIME, ROWS, FEATURES) if axis else (ROWS, TIME, FEATURES)),)
    found = check_step(step, module, *given, **keywords)
    assert max(found.stepwise, found.spliced, found.gradient) < 1e-5
    gauges = [step.names.get(path, path) for path in step.gauges]
    probe.register(kind, step)
    recording = probe.record(module, *given, kwargs=keywords)
    assert len(recording.parts) == 1
    for signal, values in recording.parts[0].signals.items():
        if signal in ("output", *gauges) or not values.numel():
            continue
        edit = probe.patch(signal, recording, steps=3, source_rows=[1, 2, 3, 0])
        if torch.equal(values[0], values[1]):
            edit = probe.clamp(signal, 9.0, steps=3)  # all rows have counted to one number
        one = probe.record(module, *given, kwargs=keywords, edits=[edit]).output
        swept = probe.sweep(module, *given, kwargs=keywords, edits=[edit], batch_axis=axis)
        clean, one, swept = (x if isinstance(x, Tensor) else x[0] for x in (recording.output, one, swept))
        assert torch.equal(swept[0], one)
        assert not torch.equal(one, clean)


class Apart(Layer):
    """Returns the sum of a large number and a small one, and their difference, in another unit than its step."""

    LARGE, UNIT = 1e4, 0.7

    def first(self, rows: int) -> Any:
        """Return the state before the first step."""
        return torch.zeros(rows, 2)

    def advanced(self, x: Tensor, state: Any, order: Any = None) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        state = 0.5 * state + x[:, :2].tanh()
        large, small = self.LARGE * (2 + state[:, :1]), state[:, 1:]
        return torch.cat([large + small, large - small], 1), state

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        """Return the outputs and the last state."""
        y, state = super().forward(x, state, lengths)
        return self.UNIT * y, state


class ApartStep(LayerStep):
    """Its step."""

    names: ClassVar = {}

    def outputs(self, returned: Any) -> Tensor:
        """Return the outputs in the step's unit, where they were rounded on the way."""
        return returned[0] / Apart.UNIT

    def returned(self, returned: Any, outputs: Tensor, state: Any) -> Any:
        """Return the outputs in the module's unit, and the last state."""
        return Apart.UNIT * outputs, state


def test_a_gradient_that_cancels_rounds_as_the_largest_does(x: Tensor) -> None:
    """The gradient by the small number is the difference of two large ones, each rounded; a wrong one is refused."""
    found = check_step(ApartStep, Apart().eval(), x)
    assert found.gradient < 1e-6
    with refused():
        check_step(type("HalvedStep", (ApartStep,), {"step": _halved}), Apart().eval(), x)


def _halved(step: Any, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return step.module.advanced(x, (state + state.detach()) / 2)


@pytest.fixture
def model() -> nn.Module:
    """Return a model of one odd layer below one of torch's."""
    probe.register(Odd, OddStep)
    gru = nn.GRU(UNITS, FEATURES, batch_first=True)
    return Model(lambda m, x: m.rnn(m.first(x)[0])[0], first=Odd(), rnn=gru)


@pytest.fixture
def x() -> Tensor:
    """Return four sequences."""
    return torch.randn(ROWS, TIME, FEATURES, generator=torch.Generator().manual_seed(1))


def test_a_recording_of_it_is_tabled(model: nn.Module, x: Tensor) -> None:
    """Under the names that the step gives; complex numbers stay complex in another type."""
    recording = probe.record(model, x)
    frame = recording.to_frame()
    assert {"memory", "window", "output", "hidden_state"} <= set(frame["signal"])
    assert set(frame.loc[frame["unit"] == UNITS, "signal"]) == {"window"}
    assert np.iscomplexobj(frame["value"]) > np.iscomplexobj(recording.to_frame(signals=["window"])["value"])
    wide = probe.record(model, x, dtype=torch.float64)["first", "memory"]
    assert wide.dtype == torch.complex128
    torch.testing.assert_close(wide.to(torch.complex64), recording["first", "memory"])


def test_a_step_that_does_not_exist_is_named(model: nn.Module, x: Tensor) -> None:
    """Signals, units, steps, an engine that would not be compared, and questions about complex numbers."""
    for edit in (
        probe.clamp("state[7]", 0.0, layer="first"),
        probe.clamp("memory", 0.0, layer="first", units=9),
        probe.clamp("memory", 0.0, layer="first", steps=TIME),
        probe.steer("output", torch.ones(2), layer="first"),
    ):
        with refused():
            _ = probe.record(model, x, edits=[edit])
    with refused():
        _ = probe.clamp("memmory", 0.0)
    with refused():
        _ = probe.record(model, x, check=False)
    bits = np.random.default_rng(0).integers(0, 2, (64, 8, FEATURES)).astype(np.float32)
    with refused():
        _ = prepare(probe.Study(model, bits, {"ones": lambda one: one[:, 0].cumsum()}))
