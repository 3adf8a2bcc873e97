"""`FreeCell`: a cell that a loop calls, run on from any state."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import ProbeError
from .forms import Form, bound, tensors
from .loops import LoopStep
from .objects import closed, opened
from .step import State, Step


class FreeCell(Step):
    """A cell as the step that a loop takes with it: what it is called with beside its state is its input.

    Args:
        module: the cell.
        form: where its state stands.
        given: what one call of it was given, by argument.
        output: what that call returned.

    Raises:
        ProbeError: it reads a single sequence without a batch axis.
    """

    def __init__(self, module: nn.Module, form: Form, given: Mapping[str, Any], output: Any) -> None:
        super().__init__(module)
        self._form, self._given, self._output = form, dict(given), output
        self._first = LoopStep(module, form, given, output)
        if self._first.alone:
            raise ProbeError(f"{type(module).__name__} reads one sequence without a batch axis; give it a batch.")
        rows = len(self._first.outputs(output))
        self._read = {
            name: (tuple(one.shape[1:]), one.dtype)
            for name, one in given.items()
            if name not in form.given and isinstance(one, Tensor) and one.dim() > 0 and len(one) == rows
        }

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return what one call is given beside the state, (batch, 1, number), its arguments one after the other.

        Raises:
            ProbeError: what it is given beside that differs from the first call's.
        """
        given, pieces = bound(self.module, arguments, keywords), list[Tensor]()
        for name in {**self._given, **given}:
            now, first = given.get(name), self._given.get(name)
            if name in self._read and isinstance(now, Tensor):
                pieces.append(now.flatten(1) if now.dim() > 1 else now[:, None])
            elif name not in self._form.given and now is not first and not _same(now, first):
                raise ProbeError(
                    f"{type(self.module).__name__} is called with another {name} at a later step, which is no row "
                    "of numbers for each sequence; its step would depend on more than its input and its state."
                )
        if not pieces:
            return self._first.inputs()
        state = tensors(self._form.state_out(self._output))[0]
        return torch.cat([piece.to(state.dtype) for piece in pieces], 1)[:, None]

    def initial(self, batch: int) -> State:
        """Return the state that the first call was given."""
        return self._first.initial(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the cell computes of an input and a state."""
        given, start = dict(self._given), 0
        for name, (shape, kind) in self._read.items():
            stop = start + torch.Size(shape).numel()
            part = x[:, start:stop].reshape(len(x), *shape)
            given[name], start = (part if kind.is_floating_point else part.round()).to(kind), stop
        parts = state if len(self._form.given) > 1 else (state,)
        given |= dict(zip(self._form.given, closed(tuple(parts)), strict=True))
        call = inspect.BoundArguments(inspect.signature(type(self.module).forward), given)  # pyright: ignore
        output = self.module.forward(*call.args[1:], **call.kwargs)
        return LoopStep(self.module, self._form, given, output).step(x, state)

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return what the cell would have returned with another output and state, of any number of rows.

        Raises:
            ProbeError: it returns other tensors, of which nobody says what they would have been.
        """
        returned = opened(returned)
        known = {id(one) for one in (*tensors(self._form.state_out(returned)), self._first.own)}
        if any(id(one) not in known for one in pytree.tree_leaves(returned) if isinstance(one, Tensor)):
            raise ProbeError(
                f"{type(self.module).__name__} returns more than its output and its state, and nobody says what that "
                "would have been in another state. Let it return these alone."
            )

        def rows(one: Tensor) -> Tensor:
            return one[:1].expand(len(outputs), *one.shape[1:])

        wide = {id(one): rows(one) for one in tensors(returned)}
        widened = pytree.tree_map_only(Tensor, lambda one: wide[id(one)], returned)
        by_row = (*self._form.given, *self._read)
        given = {
            name: pytree.tree_map_only(Tensor, rows, opened(one)) if name in by_row else one
            for name, one in self._given.items()
        }
        return closed(LoopStep(self.module, self._form, given, widened).returned(widened, outputs, state))


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(two, Tensor):
        return isinstance(one, Tensor) and isinstance(two, Tensor) and torch.equal(one, two)
    return type(one) is type(two) and bool(one == two)
