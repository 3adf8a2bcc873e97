"""A recurrent layer inside a model that calls it in one of many ways, for test_nothing_silent.py, and its loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from bodies import TOGETHER
from comparing import flat
from custom_by_hand import Kind
from drawn import Network, Plan
from loops import Edit, Loops
from torch import Tensor, nn
from torch.nn.modules import module as torchs
from torch.nn.utils import parametrizations, rnn, weight_norm
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from probe.recurrent import CustomGRU, CustomLSTM

TORCHS = ("lstm", "gru", "tanh", "relu")
CELLS: dict[str, Any] = {
    "lstm cell": nn.LSTMCell,
    "gru cell": nn.GRUCell,
    "tanh cell": nn.RNNCell,
    "relu cell": nn.RNNCell,
}
CUSTOM = {"custom lstm": Kind(CustomLSTM, {"peepholes": True}), "custom gru": Kind(CustomGRU, {"reset": "before"})}
#: What is done to sequences, each alone.
ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda h: h,
    "scaled": lambda h: 1.5 * h + 0.1,
    "reversed in time": lambda h: h.flip(1),
    "squared": lambda h: h * h,
    "summed over steps": lambda h: h.cumsum(1),
    "in place": lambda h: h.clone().mul_(0.5),
}
#: What is multiplied with by forwards and hooks.
SCALES, HOOKS = 2.0, 0.75


@dataclass(frozen=True, kw_only=True)
class Case(Network):
    """A network in a model, a call of it, and what is asked; it prints as what it takes to build it again."""

    state: (
        str  # "fixed": first states for so many rows; "kept": those of the call before; or the model's own, or none
    )
    before: str  # what is done to the inputs, of ALONE or TOGETHER
    behind: str  # what is done to the hidden states
    catches: bool  # whether the model catches what the layer raises, and goes on with zeros
    stepwise: bool  # whether it calls the layer for each step
    twice: bool  # whether it calls it for a second sequence
    weights: str  # "own"; of torch's weight norms; of a second module, which is called second
    forward: str  # what the layer's class or the instance puts around the forward
    bound: float  # of the forward that clips
    hook: str  # what a hook changes, and whether in place
    hook_at: str  # where it is put: before the context or in it, prepended, or on all modules
    hook_on: str
    way: str  # how the outer model calls the inner one
    outside: bool  # whether it is called by another method than its forward
    grad: bool  # whether autograd is on
    late: bool  # whether the derivatives are asked for after the context
    inner: bool  # whether probe is given the inner model, of which the outer one knows more
    asked: str
    every: bool  # whether pre-activations are recorded, too
    plans: tuple[tuple[Plan, int | None], ...]  # the edits, each with its call=

    @property
    def is_cell(self) -> bool:
        """Whether the layer is a cell, called in a loop."""
        return self.kind in CELLS

    @property
    def loops(self) -> bool:
        """Whether a call is a step."""
        return self.is_cell or self.stepwise

    @property
    def family(self) -> str:
        """The kind without its way to be called: lstm, gru, tanh or relu."""
        return self.kind.removesuffix(" cell").removeprefix("custom ")

    @property
    def scales(self) -> bool:
        """Whether the layer's own forward scales its input."""
        return self.forward in ("scales", "replaced")

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
        if not self.given and self.state != "fixed":
            return None
        x = x if self.given else x.new_full((self.batch, 1, 1), 0.1)
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

    def __init__(self, case: Case, loops: Loops | None) -> None:
        super().__init__()
        self.case, self.rnn, self.head = case, _layer(case, loops), case.head()
        self.kept: Any = None
        self.other = self.rnn
        if case.weights == "shared":
            self.other = _computed(case, case.module(), "inner.other", loops)
            for name in dict(self.other.named_parameters()):
                setattr(self.other, name, getattr(self.rnn, name))
        elif case.weights != "alias":
            del self.other

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return two numbers a step and the last states, (batch, layer, unit), of each call."""
        case = self.case
        lengths = x.detach().ne(0).any(2).sum(1) if case.lengths is not None else None
        x = _changed(case.before, x)
        if not case.catches:
            return tuple(self._found(x, lengths))
        try:
            return tuple(self._found(x, lengths))
        except Exception:  # noqa: BLE001
            return (self.head(x.new_zeros(*x.shape[:2], self.head.in_features)),)

    def _found(self, x: Tensor, lengths: Tensor | None) -> list[Tensor]:
        case = self.case
        h, final = self._call(self.rnn, x, self.case.start(x) if self.kept is None else self.kept, lengths)
        found = [self.head(_changed(case.behind, h)), *_batch_first(final)]
        if case.state == "kept":
            self.kept = pytree.tree_map(Tensor.detach, final)
        if case.twice:
            state = None if case.loops else final
            h, final = self._call(getattr(self, "other", self.rnn), 0.5 * x.flip(1), state, lengths)
            found += [self.head(h), *_batch_first(final)]
        return found[:1] if case.catches else found

    def _call(self, module: nn.Module, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        case, pieces = self.case, []
        for part in x.split(1, 1) if case.loops else [x]:
            given: Any = 1.0 * (part if case.batch_first else part.transpose(0, 1))  # a hook may change it in place
            if case.is_cell:
                state = module(given[:, 0], *[] if state is None else [pytree.tree_map(lambda one: one[0], state)])
                h, state = (
                    (state[0] if isinstance(state, tuple) else state)[:, None],
                    pytree.tree_map(lambda one: one[None], state),
                )
            else:
                if lengths is not None:
                    given = rnn.pack_padded_sequence(given, lengths, case.batch_first, enforce_sorted=False)
                h, state = module(given, *[] if state is None else [state])
                if lengths is not None:
                    h, _ = rnn.pad_packed_sequence(h, case.batch_first, total_length=case.steps)
            pieces.append(h if case.batch_first else h.transpose(0, 1))
        return torch.cat(pieces, 1) if case.loops else pieces[0], state


def _changed(name: str, h: Tensor) -> Tensor:
    return (ALONE | TOGETHER)[name](h if name == "nothing" else h.contiguous())


def _batch_first(final: Any) -> list[Tensor]:
    return [part.transpose(0, 1) for part in (final if isinstance(final, tuple) else (final,))]


class Outer(nn.Module):
    """Calls the inner model in one of several ways; with loops, the layers run them."""

    def __init__(self, case: Case, loops: Loops | None = None) -> None:
        super().__init__()
        self.case, self.inner = case, Inner(case, loops)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the inner model."""
        return self.predict(x)

    def predict(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the inner model."""
        if self.case.way in ("checkpoint", "reentrant"):
            return checkpoint(self.inner, x, use_reentrant=self.case.way == "reentrant")
        if self.case.way == "recomputed":
            return Recomputed.apply(self.inner, x)
        with torch.autocast("cpu", dtype=torch.bfloat16) if self.case.way == "autocast" else nullcontext():
            return self.inner(x)

    def leaves(self) -> list[Tensor]:
        """Return the layer's weights in torch's order."""
        return list(self.inner.rnn.parameters())


class ByHand:
    """What is true of a case: its model with the oracle's loops for its layers, called plainly, and edits."""

    def __init__(self, case: Case, edit: Edit | None = None) -> None:
        self.case = replace(case, way="call", hook=case.hook.removesuffix(" in place"), hook_at="before")
        self.loops = Loops(edit)
        self.model = Outer(self.case, self.loops)

    def run(self, x: Tensor, *, hooks_of_the_model: bool = True) -> tuple[Tensor, ...]:
        """Return what the model returns."""
        self.loops.restart()
        self.model.inner.kept = None
        _ = torch.manual_seed(0)
        left_out = self.case.hook_on == "model" and self.case.hook == "output" and not hooks_of_the_model
        with hooked(replace(self.case, hook="") if left_out else self.case, self.model):
            return self.model(x)


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


def _computed(case: Case, layer: Any, name: str, loops: Loops | None) -> Any:
    """Return a layer that runs a loop, if there are loops."""
    if loops is not None:
        layer.__class__ = loops.class_of(type(layer), name, case.steps if case.loops else None)
    return layer


def _layer(case: Case, loops: Loops | None) -> nn.Module:
    layer = _computed(case, case.module(), "inner.rnn", loops)
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
    """Return a tensor, a packed sequence or several of them times a number."""
    if isinstance(value, rnn.PackedSequence):
        return value._replace(data=factor * value.data)
    return tuple(times(part, factor) for part in value) if isinstance(value, tuple) else factor * value


def _own_class(base: Any, case: Case) -> Any:
    class Own(base):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Run with something of its own."""
            result = super().forward(times(input, SCALES) if case.scales else input, hx)
            if case.forward == "clips":
                return _clipped(result, case.bound) if case.is_cell else (result[0], _clipped(result[1], case.bound))
            return result

    return Own


def _clipped(state: Any, bound: float) -> Any:
    """Return states of which the last one, the cell state of an LSTM, is kept within a bound."""
    return (state[0], state[1].clamp(-bound, bound)) if isinstance(state, tuple) else state.clamp(-bound, bound)


@contextmanager
def hooked(case: Case, model: Outer) -> Iterator[None]:
    """Register a case's hook for a while."""
    on: Any = model if case.hook_on == "model" else model.inner.rnn
    of_input, everywhere = case.hook.startswith("input"), case.hook_at.startswith("global")

    def change(module: nn.Module, arguments: Any, output: Any = None) -> Any:
        if module is not on:
            return None
        first, *rest = arguments if of_input else (output,)
        if "in place" not in case.hook:
            return (times(first, HOOKS), *rest) if of_input else times(first, HOOKS)
        for part in flat(first):
            if part.is_floating_point():
                part.mul_(HOOKS)
        return None

    if everywhere:
        register = torchs.register_module_forward_pre_hook if of_input else torchs.register_module_forward_hook
    else:
        register = on.register_forward_pre_hook if of_input else on.register_forward_hook
    handle = register(change, **{"prepend": True} if case.hook_at == "prepended" else {}) if case.hook else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
