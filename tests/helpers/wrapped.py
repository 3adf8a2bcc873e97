"""A recurrent layer inside a model that calls it in one of many ways, for test_nothing_silent.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from custom_by_hand import Kind
from drawn import Network, Plan
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules import module as torchs
from torch.nn.utils import parametrizations, rnn, weight_norm
from torch.utils.checkpoint import checkpoint

import probe
from probe.recurrent import CustomGRU, CustomLSTM

TORCHS = ("lstm", "gru", "tanh", "relu")
CELLS: dict[str, Any] = {
    "lstm cell": nn.LSTMCell,
    "gru cell": nn.GRUCell,
    "tanh cell": nn.RNNCell,
    "relu cell": nn.RNNCell,
}
CUSTOM = {"custom lstm": Kind(CustomLSTM, {"peepholes": True}), "custom gru": Kind(CustomGRU, {"reset": "before"})}
#: What is multiplied with by forwards and hooks.
SCALES, HOOKS_INPUT, HOOKS_LAYER, HOOKS_CELL, HOOKS_MODEL, ZONEOUT = 2.0, 0.5, 1.5, 0.9, 1.25, 0.1


@dataclass(frozen=True, kw_only=True)
class Case(Network):
    """A network in a model, a call of it, and what is asked; it prints as what it takes to build it again.

    Attributes:
        kind: of TORCHS, CELLS or CUSTOM.
        given: whether the model hands states of its own to the layer's first call.
        lengths: of the sequences that the model packs, or None; behind them, the input is zero, as the model knows.
        twice: whether the model calls the layer a second time.
        weights: "own"; "norm", "old norm": weight norm; "shared" with a second module, which is called second;
            "alias": the layer has a second name; "functional": others, by functional_call.
        forward: what the layer's class or the instance puts around the forward, or "".
        bound: of the forward that clips.
        hook: "output", "output in place", "input", "input in place", or "".
        hook_at: "before" the context; "inside", "prepended", "global inside": in it; "global": before, on all.
        hook_on: "layer" or "model".
        way: how the outer model calls the inner one.
        outside: whether the model is called by another method than its forward.
        around: what else happens in the context.
        grad: whether autograd is on.
        late: whether the derivatives are asked for after the context.
        turned: whether autograd is the other way where the context is entered.
        inner: whether probe is given the inner model, of which the outer one knows more.
        asked: what probe does.
        every: whether pre-activations are recorded, too.
        plans: the edits, each with its call=.
    """

    twice: bool
    weights: str
    forward: str
    bound: float
    hook: str
    hook_at: str
    hook_on: str
    way: str
    outside: bool
    around: str
    grad: bool
    late: bool
    turned: bool
    inner: bool
    asked: str
    every: bool
    plans: tuple[tuple[Plan, int | None], ...]

    @property
    def is_cell(self) -> bool:
        """Whether the layer is a cell, called in a loop."""
        return self.kind in CELLS

    @property
    def family(self) -> str:
        """The kind without its way to be called: lstm, gru, tanh or relu."""
        return self.kind.removesuffix(" cell").removeprefix("custom ")

    @property
    def calls_each(self) -> int:
        """How often the model calls each layer."""
        return 2 if self.twice and self.weights != "shared" else 1

    @property
    def differentiates(self) -> bool:
        """Whether derivatives are asked for."""
        return self.grad or self.asked == "gradient"

    @property
    def kept(self) -> Any:
        """What is recorded, as `signals=` takes it."""
        return probe.Signal if self.every else None

    @property
    def scales(self) -> bool:
        """Whether the layer's own forward scales its input."""
        return self.forward in ("scales", "replaced")

    def inner_lengths(self, batch: int) -> list[int]:
        """Return the lengths that the forward that packs takes."""
        return [max(1, self.steps - row % self.batch % 3) for row in range(batch)]

    def module(self) -> Any:
        """Return the layer as torch has it, or as this library has it, in double precision."""
        torch.manual_seed(self.seed)
        if self.kind in CUSTOM:
            return CUSTOM[self.kind].make(batch_first=self.batch_first)
        if not self.is_cell:
            return super().module()
        options = {"nonlinearity": self.family} if self.family in ("tanh", "relu") else {}
        return CELLS[self.kind](self.inputs, self.units, bias=self.bias, **options).double()

    def x(self, seed: int = 0) -> Tensor:
        """Return inputs, (batch, time, input)."""
        generator = torch.Generator().manual_seed(self.seed + 7 + seed)
        x = torch.randn(self.batch, self.steps, self.inputs, dtype=torch.float64, generator=generator)
        return x * (torch.arange(self.steps) < self.ends()[:, None])[..., None]

    def start(self, x: Tensor) -> Any:
        """Return the states of the layer's first call, (layer, batch, unit) each, which depend on the input."""
        if not self.given:
            return None
        sizes = [self.projected or self.units, self.units][: 2 if self.family == "lstm" else 1]
        number = self.layers * (1 + self.bidirectional)
        states = [
            torch.stack([0.3 * (k + n + 1) * x[:, 0, :1].expand(-1, size) for k in range(number)])
            for n, size in enumerate(sizes)
        ]
        return tuple(states) if len(states) > 1 else states[0]

    def head(self) -> nn.Linear:
        """Return the head, (unit) -> 2."""
        torch.manual_seed(self.seed + 3)
        return nn.Linear((self.projected or self.units) * (1 + self.bidirectional), 2).double()


class Inner(nn.Module):
    """Calls a layer once or twice, and returns what a head makes of its states, and the last states."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.rnn = _layer(case)
        self.head = case.head()
        self.other = self.rnn
        if case.weights == "shared":
            self.other = case.module()
            for name in dict(self.other.named_parameters()):
                setattr(self.other, name, getattr(self.rnn, name))
        elif case.weights != "alias":
            del self.other

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return two numbers a step and the last states, (batch, layer, unit), of each call."""
        lengths = x.detach().ne(0).any(2).sum(1) if self.case.lengths is not None else None
        h, final = self._call(self.rnn, x, self.case.start(x), lengths)
        found = [self.head(h), *_batch_first(final)]
        if self.case.twice:
            state = None if self.case.is_cell else final
            h, final = self._call(getattr(self, "other", self.rnn), 0.5 * x.flip(1), state, lengths)
            found += [self.head(h), *_batch_first(final)]
        return tuple(found)

    def _call(self, module: nn.Module, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        x = 1.0 * x  # a hook may change it in place
        case = self.case
        if case.is_cell:
            return self._loop(module, x, state)
        given: Any = x if case.batch_first else x.transpose(0, 1)
        if lengths is not None:
            given = rnn.pack_padded_sequence(given, lengths, batch_first=case.batch_first, enforce_sorted=False)
        h, final = module(given, state) if state is not None else module(given)
        if lengths is not None:
            h, _ = rnn.pad_packed_sequence(h, batch_first=case.batch_first, total_length=case.steps)
        return h if case.batch_first else h.transpose(0, 1), final

    def _loop(self, cell: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if state is not None:
            state = tuple(part[0] for part in state) if isinstance(state, tuple) else state[0]
        found: list[Tensor] = []
        for step in x.unbind(1):
            step = 1.0 * step  # noqa: PLW2901 (as above)
            state = cell(step, state) if state is not None else cell(step)
            found.append(state[0] if isinstance(state, tuple) else state)
        last: Any = state
        final = tuple(part[None] for part in last) if isinstance(last, tuple) else last[None]
        return torch.stack(found, 1), final


def _batch_first(final: Any) -> list[Tensor]:
    return [part.transpose(0, 1) for part in (final if isinstance(final, tuple) else (final,))]


class Outer(nn.Module):
    """Calls the inner model in one of several ways."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.inner = Inner(case)
        self.case = case
        self.weights: dict[str, Tensor] = {}
        if case.weights == "functional":
            names = dict(replace(case, seed=case.seed + 1).module().named_parameters())
            self.weights = {f"rnn.{name}": value.detach().requires_grad_() for name, value in names.items()}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the inner model."""
        return self.predict(x)

    def predict(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the inner model."""
        if self.case.way in ("checkpoint", "reentrant"):
            return checkpoint(self._inner, x, use_reentrant=self.case.way == "reentrant")
        if self.case.way == "recomputed":
            return Recomputed.apply(self._inner, x)
        if self.case.way == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self._inner(x)
        return self._inner(x)

    def _inner(self, x: Tensor) -> tuple[Tensor, ...]:
        return functional_call(self.inner, self.weights, (x,)) if self.weights else self.inner(x)


class Recomputed(torch.autograd.Function):
    """What checkpoints do, as people write it themselves."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Any], x: Tensor) -> Any:
        """Run without autograd."""
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Run again, with it."""
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            torch.autograd.backward(ctx.run(x), gradients)
        return None, x.grad


def _layer(case: Case) -> nn.Module:
    layer = case.module()
    if case.forward and not case.forward.startswith("replaced"):
        layer.__class__ = _own_class(type(layer), case)
    if case.forward.startswith("replaced"):
        own, factor = layer.forward, SCALES if case.scales else 1.0
        layer.forward = lambda input, *rest: own(times(input, factor), *rest)
    name = "weight_hh" if case.is_cell else "weight_hh_l0"
    if case.weights == "norm":
        parametrizations.weight_norm(layer, name)
        with torch.no_grad():
            layer.parametrizations[name].original0.mul_(1.3)
    if case.weights == "old norm":
        weight_norm(layer, name)
        with torch.no_grad():
            getattr(layer, f"{name}_g").mul_(1.3)
    return layer


def times(value: Any, factor: float) -> Any:
    """Return a tensor or a packed sequence times a number."""
    return value._replace(data=factor * value.data) if isinstance(value, rnn.PackedSequence) else factor * value


def _own_class(base: Any, case: Case) -> Any:
    class Own(base):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Run with something of its own."""
            given = times(input, SCALES) if case.scales else input
            if case.forward == "packs":
                lengths = torch.tensor(case.inner_lengths(input.shape[1 - case.batch_first]))
                given = rnn.pack_padded_sequence(given, lengths, self.batch_first, enforce_sorted=False)
            result = super().forward(given, hx)
            if case.forward == "packs":
                h, final = result
                return rnn.pad_packed_sequence(h, self.batch_first, total_length=case.steps)[0], final
            if case.forward == "clips":
                return _clipped(result, case.bound) if case.is_cell else (result[0], _clipped(result[1], case.bound))
            if case.forward == "zoneout" and hx is not None:
                if isinstance(result, tuple):
                    return (1 - ZONEOUT) * result[0] + ZONEOUT * hx[0], result[1]
                return (1 - ZONEOUT) * result + ZONEOUT * hx
            return result

    return Own


def _clipped(state: Any, bound: float) -> Any:
    """Return states of which the last one, the cell state of an LSTM, is kept within a bound."""
    return (state[0], state[1].clamp(-bound, bound)) if isinstance(state, tuple) else state.clamp(-bound, bound)


@contextmanager
def hooked(case: Case, model: Outer) -> Iterator[None]:
    """Register a case's hook for a while."""
    if not case.hook:
        yield
        return
    on: Any = model if case.hook_on == "model" else model.inner.rnn
    changes_input = case.hook.startswith("input")
    change: Any = _change_input(case) if changes_input else _change_output(case, first=on is not model)
    if case.hook_at.startswith("global"):
        everywhere = lambda module, *rest: change(module, *rest) if module is on else None  # noqa: E731
        register = torchs.register_module_forward_pre_hook if changes_input else torchs.register_module_forward_hook
        handle = register(everywhere)
    else:
        register = on.register_forward_pre_hook if changes_input else on.register_forward_hook
        handle = register(change, prepend=case.hook_at == "prepended")
    try:
        yield
    finally:
        handle.remove()


def _change_input(case: Case) -> Callable[..., Any]:
    def change(_module: nn.Module, arguments: Any) -> Any:
        first, *rest = arguments
        if case.hook == "input":
            return (times(first, HOOKS_INPUT), *rest)
        (first.data if isinstance(first, rnn.PackedSequence) else first).mul_(HOOKS_INPUT)
        return None

    return change


def _change_output(case: Case, *, first: bool) -> Callable[..., Any]:
    factor = HOOKS_MODEL if not first else HOOKS_CELL if case.is_cell else HOOKS_LAYER

    def change(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        if case.hook == "output":
            return _all_times(output, factor)
        for part in _tensors(output):
            part.mul_(factor)
        return None

    return change


def _all_times(output: Any, factor: float) -> Any:
    if isinstance(output, tuple) and not isinstance(output, rnn.PackedSequence):
        return tuple(_all_times(part, factor) for part in output)
    return times(output, factor)


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, rnn.PackedSequence):
        return [output.data]
    return [output] if isinstance(output, Tensor) else [tensor for part in output for tensor in _tensors(part)]
