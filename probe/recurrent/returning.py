"""What a layer that torch does not have returns in an edited run, read again as a caller reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import ProbeError
from .cells.step_cell import StepCell
from .memory import memory_of
from .signals import Signal
from .steps.loops import LoopStep
from .steps.step import Step, begin

#: How far what was put into a return may lie from what is read there, relative to max(1, |value|): a type's rounding.
_NEAR = {torch.float16: 1e-2, torch.bfloat16: 1e-2}
_USUAL = 1e-5


def returned_by(adapter: Step, returned: Any, outputs: Tensor, states: Mapping[Signal, Tensor]) -> Any:
    """Return what a module would have returned with other outputs and another last state.

    Args:
        adapter: what runs it.
        returned: what it returned.
        outputs: (batch, time, unit).
        states: the last states by signal, (batch, number) each.

    Raises:
        ProbeError: the adapter reads something else there than was to be put in.
    """
    cell = StepCell(adapter, begin(adapter, 1))
    made = adapter.returned(returned, outputs, cell.nest(states))
    if not isinstance(adapter, LoopStep):  # of a cell's own call there is nothing else to read
        with torch.no_grad():
            _check_outputs(adapter, returned, made, outputs)
            _check_states(cell, returned, made, outputs, states)
    return made


def _check_outputs(adapter: Step, returned: Any, made: Any, outputs: Tensor) -> None:
    read, rows = adapter.outputs(made), outputs.shape[:2]
    # Where the module returns no more than its last step, the adapter computes the others without edits.
    if returns_every_step(returned, rows) or not rows[1]:
        same = isinstance(read, Tensor) and _same(read, outputs)
    else:
        same = isinstance(read, Tensor) and read.shape == outputs.shape and _same(read[:, -1], outputs[:, -1])
    if not same:
        raise ProbeError(
            f"{type(adapter).__name__}.returned was given the outputs of an edited run, and its method outputs reads "
            "others in what it returned. Put them where the module has its own, in the same order and type."
        )


def _check_states(cell: StepCell, returned: Any, made: Any, outputs: Tensor, states: Mapping[Signal, Tensor]) -> None:
    adapter, known = cell.adapter, cell.adapter.final(returned)
    if known is not None:
        last = cell.flat_final(adapter.final(made))
        wrong = [one for one in cell.flat_final(known) if one not in last or not _same(last[one], states[one])]
        if wrong:
            raise ProbeError(
                f"{cell.name}.returned was given the last state of an edited run, and its method final reads another "
                f"{str(wrong[0])!r} in what it returned. Put every part where the module has its own, in the same "
                "order and type."
            )
        return
    own = {id(one) for one in pytree.tree_leaves(returned)}
    memory = {memory_of(outputs), memory_of(adapter.outputs(made))}
    new = [one for one in pytree.tree_leaves(made) if isinstance(one, Tensor) and id(one) not in own]
    if any(memory_of(one) not in memory for one in new):
        raise ProbeError(
            f"{cell.name}.returned makes more than outputs of an edited run, and nothing compares that with what the "
            "module returns. Write its method final too: the last state in what the module returned, with None for a "
            "part that is not there."
        )


def returns_every_step(returned: Any, rows: tuple[int, ...]) -> bool:
    """Return whether a return holds a tensor of all steps; rows are how many sequences, and of how many steps."""
    values = [one for one in pytree.tree_leaves(returned) if isinstance(one, Tensor)]
    return any(tuple(rows) in (tuple(one.shape[:2]), tuple(one.shape[1::-1])) for one in values)


def _same(one: Tensor, two: Tensor) -> bool:
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if torch.equal(one, two):
        return True
    near = _NEAR.get(one.dtype, _USUAL)
    continuous = one.is_floating_point() or one.is_complex()
    return continuous and torch.allclose(one, two, rtol=near, atol=near, equal_nan=True)
