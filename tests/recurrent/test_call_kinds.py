"""Calls that cannot be opened are refused: other types and devices, other kinds of tensors, transforms, graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bodies import BATCH, INPUTS, TIME, UNITS, Model, loop, lstm
from refusing import refused
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.recurrent import CustomGRU, CustomLSTM


def first(output: Any) -> Tensor:
    """Return the hidden states."""
    return output[0] if isinstance(output, tuple) else output


KINDS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lstm,
    "gru": lambda: nn.GRU(INPUTS, UNITS, 2, bidirectional=True, batch_first=True),
    "cell": lambda: Model(loop, cell=nn.LSTMCell(INPUTS, UNITS)),
    "custom": lambda: CustomLSTM(INPUTS, UNITS, batch_first=True),
}


def edit_of(model: nn.Module) -> probe.Edit:
    """Return an edit of its first layer."""
    return probe.clamp("hidden_state", 0.5, layer=probe.inspect(model).layers[0].name, steps=1)


def in_a_context(model: nn.Module, x: Any, context: Any) -> Any:
    """Call a model in a context."""
    with torch.no_grad(), context:
        return model(x)


#: Every way to open a call of a model.
USES: dict[str, Callable[[nn.Module, Any], Any]] = {
    "record": probe.record,
    "unchecked": lambda model, x: probe.record(model, x, check=False),
    "edited": lambda model, x: probe.record(model, x, edits=[edit_of(model)]),
    "gradient": lambda model, x: probe.record(model, x, gradient_of=lambda output: first(output).sum()),
    "intervene": lambda model, x: in_a_context(model, x, probe.intervene(model, edit_of(model))),
    "watch": lambda model, x: in_a_context(model, x, probe.watch(model)),
    "sweep": lambda model, x: probe.sweep(model, x, edits=[edit_of(model)] * 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_type_is_kept_through_every_use(kind: str) -> None:
    """A bfloat16 model gives bfloat16, under autocast too; other types, and the meta device, are refused."""
    for use in USES.values():
        model, x = KINDS[kind](), torch.randn(BATCH, TIME, INPUTS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _ = model(x)
            with refused():
                _ = use(model, x)
        model, x = model.bfloat16(), x.bfloat16()
        for enabled in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                result = use(model, x)
            assert first(getattr(result, "output", result)).dtype == torch.bfloat16
        model = model.to("meta")
        assert probe.inspect(model).layers[0].units == UNITS
        with refused():
            _ = use(model, x.to("meta"))


ODD: tuple[Callable[[Tensor], Any], ...] = (
    lambda x: x.double(),
    lambda x: x.bfloat16(),
    lambda x: x.long(),
    lambda x: x.to(torch.complex64),
    lambda x: x.to_sparse(),
    lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    lambda x: torch.nested.nested_tensor(list(x)),
    lambda x: x.to("meta"),
    lambda x: pack_padded_sequence(x.double(), torch.tensor([5, 4, 4, 2]), batch_first=True),
)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("use", [use for use in USES if use != "intervene"])
def test_other_tensors_are_refused(use: str) -> None:
    """What is not dense numbers of the weights' type is named before the module fails on it in its own words."""
    model, x = lstm(), torch.randn(BATCH, TIME, INPUTS)
    for change in ODD:
        with refused():
            _ = USES[use](model, change(x))


class Rounds(nn.LSTM):
    """Rounds what it returns, and so is another layer than its weights say."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return the outputs in half precision."""
        output, state = super().forward(input, hx)
        return output.half(), state


def test_a_state_and_an_output_of_another_type_are_refused() -> None:
    """Of the call, and of a layer's own forward."""
    x, state = torch.randn(BATCH, TIME, INPUTS), torch.zeros(1, BATCH, UNITS, dtype=torch.float64)
    with refused():
        _ = probe.record(lstm(), x, (state, state), check=False)
    for use in ("record", "watch"):
        with refused():
            _ = USES[use](Rounds(INPUTS, UNITS), x)


def _of_weights(model: nn.Module, x: Tensor) -> Any:
    weights = dict(model.named_parameters())
    return torch.func.grad(lambda w: first(torch.func.functional_call(model, w, (x,))).sum())(weights)


def _dual(model: nn.Module, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return model(forward_ad.make_dual(x, torch.ones_like(x)))


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "vmap": lambda model, x: torch.func.vmap(lambda x: first(model(x)))(torch.stack([x, x])),
    "grad": lambda model, x: torch.func.grad(lambda x: first(model(x)).sum())(x),
    "grad of weights": _of_weights,
    "jvp": lambda model, x: torch.func.jvp(lambda x: first(model(x)), (x,), (x,)),
    "dual numbers": _dual,
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_are_refused(transform: str) -> None:
    """Inside a transform an edit would lose what a tensor carries beside its numbers; a bare call runs there."""
    model = Model(lambda m, x: TRANSFORMS[transform](m.rnn, x), rnn=CustomGRU(INPUTS, UNITS, batch_first=True))
    x = torch.randn(BATCH, TIME, INPUTS)
    for use in ("record", "unchecked", "intervene"):
        with refused():
            _ = USES[use](model, x)
    _ = model(x)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore:.torch.jit",
    "ignore::torch.jit.TracerWarning",
    "ignore:The tensor attributes:UserWarning",
)
@pytest.mark.parametrize("kind", ["lstm", "gru", "cell"])
def test_graphs_are_refused(kind: str) -> None:
    """A graph that is made under an edit would hold the edit for ever, or lose it."""
    model, x = KINDS[kind](), torch.randn(BATCH, TIME, INPUTS)
    with torch.no_grad(), probe.intervene(model, edit_of(model)):
        for make in (
            lambda: torch.jit.trace(model, (x,), check_trace=False),
            lambda: torch.export.export(model, (x,), strict=False),
        ):
            with refused():
                _ = make()
        _ = model(x)  # so that the edit acts
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, refused():
        _ = probe.record(model, mode.from_tensor(x))


class Loops(nn.Module):
    """A recurrence in a loop, which a trace writes out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h = x[:, 0] * 0
        for step in range(x.shape[1]):
            h = torch.tanh(self.inner(h) + x[:, step])
        return h


class Cell(nn.Module):
    """A step of a recurrence."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return torch.tanh(x + h)


class Keeps(nn.Module):
    """A step of a recurrence whose state stands on the module."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("h", torch.zeros(UNITS))

    def forward(self, x: Tensor) -> Tensor:
        """Return the next state."""
        self.h = torch.tanh(x[0] + self.h)
        return self.h


@pytest.mark.filterwarnings("ignore:.torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_scripted_head_is_no_recurrence() -> None:
    """A module whose graph has no loop and no recurrent layer holds nothing back; one that has is refused by name."""
    head = nn.Sequential(nn.Linear(UNITS, 3), nn.Tanh())
    x, body = torch.randn(4, 6, INPUTS), nn.LSTM(INPUTS, UNITS, batch_first=True)
    plain = Model(lambda m, x: m.head(m.rnn(x)[0]), rnn=body, head=head)
    wanted = probe.record(plain, x)
    for other in (torch.jit.script(head), torch.jit.trace(head, (torch.randn(2, UNITS),))):
        found = probe.record(Model(lambda m, x: m.head(m.rnn(x)[0]), rnn=body, head=other), x)
        assert torch.allclose(found.output, wanted.output)
        assert torch.equal(found["cell_state"], wanted["cell_state"])
    cell, loop = torch.randn(2, UNITS), torch.randn(2, TIME, UNITS)
    traced = torch.jit.trace(nn.GRUCell(UNITS, UNITS), (cell,)), torch.jit.trace(Loops(), (loop,))
    scripted = (torch.jit.script(one) for one in (Loops(), nn.LSTM(UNITS, 3), Cell(), Keeps()))
    for other in (*traced, *scripted):
        with refused():
            probe.inspect(Model(lambda m, x: x, rnn=body, head=other))
