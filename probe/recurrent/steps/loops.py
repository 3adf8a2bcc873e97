"""`LoopStep`: one call of a cell that a loop calls once a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import ProbeError
from . import trails
from .forms import Form, alike, begins, begins_at_zero, filled, first_of, said, tensors
from .objects import closed, opened
from .step import State, Step, flat


def _is_read(name: str, given: Any, form: Form) -> bool:
    """Return whether an argument is what a cell reads: real numbers, and no state."""
    return name not in form.given and isinstance(given, Tensor) and given.dim() > 0 and not given.is_complex()


class LoopStep(Step):
    """One call of a cell, as the step that it was.

    Args:
        module: the cell.
        form: where its state stands.
        given: what it was called with, by argument.
        output: what it returned.

    Attributes:
        form: where its state stands.
        alone: whether it ran one sequence without a batch axis.
        own: the tensor, as it was returned, that is its output.
    """

    of_one_call = True

    def __init__(self, module: nn.Module, form: Form, given: Mapping[str, Any], output: Any) -> None:
        super().__init__(module)
        self.form, first = form, first_of(given)
        states = tensors(form.state_out(output))
        if not states:
            raise ProbeError(
                f"{type(module).__name__} returned no tensor where its state should stand; say with "
                "probe.register(kind, state=..., returns=...) where it does."
            )
        # One sequence without a batch: vectors go in, and vectors come out.
        self.alone = first is not None and first.dim() == 1 and all(one.dim() == 1 for one in states)
        after = form.state_out(output)
        self._check(after, first)
        before = form.state_in(given)
        if before is not None and not alike(before, after):
            if not begins(before, after):
                raise ProbeError(
                    f"{type(module).__name__} was called with a state {said(before)} and returned {said(after)}; "
                    "both must have one form. probe.register says where they stand."
                )
            before = trails.among(filled, before, after)
        self._before = None if before is None else trails.among(self._in_rows, before)
        self._after = self._in_rows(after)
        self._from_zero = before is not None or begins_at_zero(module, form, given, output)
        self._rows = 1 if self.alone else len(states[0])
        self.own = next((one for one in tensors(output) if self._is_output(one, states)), states[0])
        held = zip(states, tensors(self._after), strict=True)
        rows = (one[None] if self.alone else one for name, one in given.items() if _is_read(name, one, form))
        self._read = next((one for one in rows if one.dim() > 1 and len(one) == self._rows), None)
        self._y: Tensor = next((after for own, after in held if own is self.own), self._in_rows(self.own))

    def _check(self, state: State, first: Tensor | None) -> None:
        """Raise where the state has no rows, or others than the input."""
        kind, parts = (
            type(self.module).__name__,
            [one for one in flat(state) if isinstance(one, Tensor)],
        )
        if any(not one.dim() for one in parts):
            raise ProbeError(
                f"A part of the state of {kind} is a single number without a batch axis, such as a count of steps. "
                "Give one for each row, or leave it out: probe.register says which arguments hold the state."
            )
        batch, rows = None if first is None or first.dim() < 2 else len(first), {len(one) for one in parts}
        if batch is not None and batch > 1 and rows != {batch}:
            raise ProbeError(
                f"{kind} was called with {batch} rows and returned a state of {sorted(rows)}; every part of a state "
                "must have the batch as its first axis."
            )

    def _is_output(self, one: Tensor, states: Sequence[Tensor]) -> bool:
        fits = one.dim() > 0 if self.alone else one.dim() > 1 and len(one) == self._rows
        return fits and not any(one is state for state in states)

    def _in_rows(self, state: State) -> State:
        return pytree.tree_map_only(Tensor, lambda part: part[None], state) if self.alone else state

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return what the cell read beside its state, (row, 1, feature); of no features where that are no numbers."""
        read = self._y.new_zeros(self._rows, 0) if self._read is None else self._read.reshape(self._rows, -1)
        return read.detach()[:, None].to(self._y.real.dtype)

    @property
    def given_state(self) -> bool:
        """Whether the cell was called with a state."""
        return self._before is not None

    def initial(self, batch: int) -> State:
        """Return the state that the cell was called with; zeros where that is the same as none, NaN otherwise."""
        if self._before is not None:
            return self._before
        fill = 0.0 if self._from_zero else float("nan")
        return pytree.tree_map(lambda part: torch.full_like(part, fill), self._after)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the cell returned."""
        y = self._y
        return y if y.dim() == 2 or any(y is one for one in tensors(self._after)) else y.flatten(1), self._after

    def outputs(self, returned: Any) -> Tensor:
        """Return what the cell returned beside its state, or else the first part of its state, (batch, 1, unit)."""
        return self._y.reshape(self._rows, 1, -1)

    def final(self, returned: Any) -> State:
        """Return the next state."""
        return self._in_rows(self.handed_on(returned))

    def handed_on(self, returned: Any) -> State:
        """Return the next state as the cell returned it."""
        return self.form.state_out(returned)

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return what the cell returned, with another state and output in their places.

        Raises:
            ProbeError: the output is a part of the state, and was changed apart from it.
        """
        before, after = pytree.tree_leaves(self.handed_on(returned)), pytree.tree_leaves(state)
        after = [new[0] for new in after] if self.alone else after
        y = outputs[:, 0].reshape(self.own.shape)
        place = next((place for place, old in enumerate(before) if old is self.own), None)
        if place is not None:
            if not torch.allclose(y, after[place], rtol=0, atol=0, equal_nan=True):
                raise ProbeError(
                    f"The output of {type(self.module).__name__} is its state itself: edit the state, not 'output'."
                )
            after[place] = y
        changed = {id(old): new for old, new in reversed(list(zip(before, after, strict=True)))}
        changed[id(self.own)] = y
        elsewhere = closed(pytree.tree_map(lambda leaf: changed.get(id(leaf), leaf), opened(returned)))
        return self.form.placed(
            elsewhere, pytree.tree_unflatten(after, pytree.tree_structure(self.handed_on(returned)))
        )
