"""Calls that cannot be opened are refused: other types and devices, other kinds of tensors, transforms, graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest
import torch
from refusing import refused
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import ProbeError
from probe.recurrent import CustomGRU, CustomLSTM

BATCH, TIME, INPUTS, UNITS = 4, 5, 3, 6


class Loop(nn.Module):
    """A cell that is called once for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(INPUTS, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, (batch, time, unit)."""
        state, states = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            states.append(state[0])
        return torch.stack(states, 1)


class Around(nn.Module):
    """A model that runs another one in a way of its own."""

    def __init__(self, inner: nn.Module, way: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.way = inner, way

    def forward(self, x: Tensor) -> Any:
        """Run it."""
        return self.way(self.inner, x)


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


KINDS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(INPUTS, UNITS, batch_first=True),
    "gru": lambda: nn.GRU(INPUTS, UNITS, 2, bidirectional=True, batch_first=True),
    "cell": Loop,
    "custom": lambda: CustomLSTM(INPUTS, UNITS, batch_first=True),
}


def uses(model: nn.Module, x: Any) -> dict[str, Callable[[], Any]]:
    """Return every way to open a call of a model."""
    layer = probe.inspect(model).layers[0].name
    edit = probe.clamp("hidden_state", 0.5, layer=layer, steps=1)

    def intervened() -> Any:
        with torch.no_grad(), probe.intervene(model, edit):
            return model(x)

    def watched() -> Any:
        with torch.no_grad(), probe.watch(model):
            return model(x)

    return {
        "record": lambda: probe.record(model, x),
        "unchecked": lambda: probe.record(model, x, check=False),
        "edited": lambda: probe.record(model, x, edits=[edit]),
        "gradient": lambda: probe.record(model, x, gradient_of=lambda output: _first(output).sum()),
        "intervene": intervened,
        "watch": watched,
        "sweep": lambda: probe.sweep(model, x, edits=[edit, edit]),
    }


USES = list(uses(nn.LSTM(INPUTS, UNITS), None))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_autocast_is_refused(kind: str, use: str) -> None:
    """Under autocast a module computes here in one type and there in another, and what it returns depends on both."""
    model, x = KINDS[kind](), torch.randn(BATCH, TIME, INPUTS)
    with torch.autocast("cpu", dtype=torch.bfloat16), refused():
        _ = uses(model, x)[use]()
    _ = uses(model, x)[use]()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_type_is_kept_through_every_use(kind: str, use: str) -> None:
    """A bfloat16 model gives bfloat16, under autocast to that type too: there is nothing to convert."""
    model, x = KINDS[kind]().bfloat16(), torch.randn(BATCH, TIME, INPUTS).bfloat16()
    for around in (nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with cast("AbstractContextManager[Any]", around):
            result = uses(model, x)[use]()
        output = result.output if isinstance(result, probe.Recording) else result
        assert _first(output).dtype == torch.bfloat16


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_meta_device_is_refused(kind: str, use: str) -> None:
    """There are no numbers: the model can be inspected, and not recorded."""
    model = KINDS[kind]().to("meta")
    assert probe.inspect(model).layers[0].units == UNITS
    with refused():
        _ = uses(model, torch.randn(BATCH, TIME, INPUTS, device="meta"))[use]()


ODD: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "float64": (
        lambda x: x.double(),
        r"float64 numbers; its weights are float32.*one type: model\.to\(torch\.float64",
    ),
    "bfloat16": (lambda x: x.bfloat16(), "bfloat16 numbers; its weights are float32"),
    "whole numbers": (lambda x: x.long(), "called with int64 numbers"),
    "complex": (lambda x: x.to(torch.complex64), "called with complex64 numbers"),
    "sparse": (lambda x: x.to_sparse(), "called with a sparse tensor"),
    "quantized": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "called with a quantized tensor"),
    "nested": (lambda x: torch.nested.nested_tensor(list(x)), "nested tensor"),
    "elsewhere": (lambda x: x.to("meta"), "is on the meta device"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("use", [use for use in USES if use != "intervene"])
@pytest.mark.parametrize("kind", ODD)
def test_other_tensors_are_refused(kind: str, use: str) -> None:
    """What is not dense numbers of the weights' type is named before the module fails on it in its own words."""
    change, message = ODD[kind]
    with pytest.raises(ProbeError, match=message):
        _ = uses(nn.LSTM(INPUTS, UNITS, batch_first=True), change(torch.randn(BATCH, TIME, INPUTS)))[use]()


def test_states_and_packed_inputs_are_looked_at_too() -> None:
    """A state of another type, and the numbers inside a PackedSequence."""
    lstm, x = nn.LSTM(INPUTS, UNITS), torch.randn(TIME, BATCH, INPUTS)
    state = torch.zeros(1, BATCH, UNITS, dtype=torch.float64)
    with refused():
        _ = probe.record(lstm, x, (state, state), check=False)
    packed = pack_padded_sequence(x.double(), torch.tensor([5, 4, 4, 2]))
    with refused():
        _ = probe.record(lstm, packed)


def test_an_output_of_another_type_is_refused() -> None:
    """A layer that rounds what it returns is another one than its weights say."""

    class Rounds(nn.LSTM):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Return hidden states in half precision."""
            output, state = super().forward(input, hx)
            return output.half(), state

    lstm, x = Rounds(INPUTS, UNITS), torch.randn(TIME, BATCH, INPUTS)
    for use in ("record", "watch"):
        with refused():
            _ = uses(lstm, x)[use]()


def _grad(model: nn.Module, x: Tensor) -> Any:
    return torch.func.grad(lambda x: _first(model(x)).sum())(x)


def _of_weights(model: nn.Module, x: Tensor) -> Any:
    weights = dict(model.named_parameters())
    return torch.func.grad(lambda w: _first(torch.func.functional_call(model, w, (x,))).sum())(weights)


def _dual(model: nn.Module, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return model(forward_ad.make_dual(x, torch.ones_like(x)))


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "vmap": lambda model, x: torch.func.vmap(lambda x: _first(model(x)))(torch.stack([x, x])),
    "grad": _grad,
    "grad of weights": _of_weights,
    "jvp": lambda model, x: torch.func.jvp(lambda x: _first(model(x)), (x,), (x,)),
    "dual numbers": _dual,
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("use", ["record", "unchecked", "intervene"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_are_refused(transform: str, use: str) -> None:
    """Inside a transform an edit would lose what a tensor carries beside its numbers."""
    model = Around(CustomGRU(INPUTS, UNITS, batch_first=True), TRANSFORMS[transform])
    with refused():
        _ = uses(model, torch.randn(BATCH, TIME, INPUTS))[use]()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:The tensor attributes:UserWarning"
)
@pytest.mark.parametrize("kind", ["lstm", "gru", "cell"])
def test_graphs_are_refused(kind: str) -> None:
    """A graph that is made under an edit would hold the edit for ever, or lose it."""
    model, x = KINDS[kind](), torch.randn(BATCH, TIME, INPUTS)
    edit = probe.clamp("hidden_state", 0.5, layer=probe.inspect(model).layers[0].name, steps=1)
    with torch.no_grad(), probe.intervene(model, edit):
        for make in (
            lambda: torch.jit.trace(model, (x,), check_trace=False),
            lambda: torch.export.export(model, (x,), strict=False),
        ):
            with refused():
                _ = make()
        _ = model(x)  # so that the edit acts
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, refused():
        _ = probe.record(model, mode.from_tensor(x))


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("way", ["autocast", "vmap", "dual"])
def test_own_modules_run_there_by_themselves(way: str, grad: bool) -> None:
    """Nothing is opened in a bare call, so that a module of this library runs where torch's formulas do."""
    lstm, x = CustomLSTM(INPUTS, UNITS, batch_first=True), torch.randn(BATCH, TIME, INPUTS)
    with torch.set_grad_enabled(grad):
        expected = lstm(x)[0]
        if way == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                torch.testing.assert_close(lstm(x)[0].float(), expected, atol=3e-2, rtol=0)
        elif way == "vmap":
            several = torch.func.vmap(lambda x: lstm(x)[0])(torch.stack([x, 2 * x]))
            torch.testing.assert_close(several[0], expected)
        else:
            moved = torch.func.jvp(lambda x: lstm(x)[0], (x,), (torch.ones_like(x),))[1]
            apart = (lstm(x + 1e-3)[0] - lstm(x - 1e-3)[0]) / 2e-3
            torch.testing.assert_close(moved, apart, atol=2e-3, rtol=0)
