"""What a module returns where its state was edited: later outputs alone move, and all of it is what it would be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..edits.constructors import clamp, patch
from ..errors import ProbeError
from ..recurrent.cells.step_cell import returns_every_step
from ..recurrent.memory import memory_of
from ..recurrent.signals import OUTPUT, Signal, is_continuous
from ..recurrent.steps.step import Step, begin, leaves
from .trial import AT, Trial, alike, far

#: So many times the largest value of a state, or 1, is a value that it never has.
_LARGE = 100.0


def check_edits(trial: Trial) -> None:
    """Raise ProbeError where a part of the state moves an earlier output, or no later one."""
    clean, names = trial.clean[OUTPUT], trial.step.names
    gauges = {names.get(path, path) for path in trial.step.gauges}
    for signal in (one for one in trial.parts if one not in gauges):
        values = _values(trial, signal)
        for value in values:
            edited = trial.recorded(clamp(signal, value, steps=AT))[OUTPUT]
            if not alike(clean[:, :AT], edited[:, :AT]):
                raise ProbeError(f"{trial.name}: {str(signal)!r}, set after step {AT}, moves an earlier output.")
            if not far(edited[:, AT + 1 :], clean[:, AT + 1 :]) <= trial.tolerance:
                break
        else:
            raise ProbeError(
                f"{trial.name}: {str(signal)!r}, set to {' or '.join(f'{value:g}' for value in values)} after step "
                f"{AT}, moves no later output. Leave out what no step reads."
            )


def _values(trial: Trial, signal: Signal) -> list[float]:
    """Return what a part of a state is set to."""
    found = trial.clean[signal]
    # A bound that is not reached hides a zero, so that a large value is tried as well. A whole number may be an
    # index: it gets what it had.
    if not is_continuous(found):
        return [float(found.double().min()), float(found.double().max())]
    return [0.0, _LARGE * max(1.0, float(found.abs().max()))]


def check_own_states(trial: Trial) -> None:
    """Raise ProbeError where a run that is patched with its own states returns something else than the module."""
    for step in (AT, trial.last):
        own = trial.recorded(*(patch(signal, trial.clean, steps=step) for signal in trial.parts))
        if not torch.equal(own[OUTPUT], trial.clean[OUTPUT]):
            raise ProbeError(f"{trial.name}: a run that is patched with its own states is not the same, bit for bit.")
        if pytree.tree_structure(own.output) != pytree.tree_structure(trial.bare):
            raise ProbeError(
                f"{trial.name}.returned makes {pytree.tree_structure(own.output)} of an edited run, and the module "
                f"returns {pytree.tree_structure(trial.bare)}."
            )
        pairs = zip(pytree.tree_leaves(own.output), pytree.tree_leaves(trial.bare), strict=True)
        for place, (found, wanted) in enumerate(pairs):
            if not alike(found, wanted) and isinstance(wanted, Tensor):
                raise ProbeError(
                    f"{trial.name}: tensor {place} of what is returned by a run that is patched with its own states "
                    "is not the module's, bit for bit. Its method returned must put outputs and states where the "
                    "module has them, and its method final must read every part of the state that is there."
                )


@torch.no_grad()
def spliced(trial: Trial) -> float:
    """Return how far a run with other rows' whole states is from the module's run on the spliced input.

    Every row begins as the row after it, up to a step, and goes on as itself: in the middle, and at the last step.
    """
    rows = len(trial.x)
    order = [*range(1, rows), 0]
    worst = 0.0
    for step in (AT, trial.last):
        edits = (patch(signal, trial.clean, steps=step, source_rows=order) for signal in trial.parts)
        patched = trial.recorded(*edits)
        adapter, given = _spliced_call(trial, order, step)
        whole = trial.module(*given[0], **given[1])
        read = adapter.outputs(whole)
        worst = max(worst, far(patched[OUTPUT][:, step + 1 :], read.flatten(2)[:, step + 1 :]))
        if not worst <= trial.tolerance:
            raise ProbeError(
                f"{trial.name}: other rows' states put in after step {step} give outputs that differ by {worst:.3g} "
                "from the module's on the spliced input. A part of what is handed on is missing from the state."
            )
        for found, wanted in _others(trial, step, (patched.output, whole, given), read):
            worst = max(worst, far(found, wanted))
            if not worst <= trial.tolerance:
                raise ProbeError(
                    f"{trial.name}: other rows' states put in after step {step} do not reach what is returned beside "
                    f"the outputs, (shape {tuple(wanted.shape)}): it differs by {worst:.3g} from the module's on the "
                    "spliced input. Its method returned must make all of it of the outputs and the state."
                )
    return worst


def _spliced_call(trial: Trial, order: list[int], step: int) -> tuple[Step, Any]:
    """Return an adapter of the call on spliced sequences, and what the module is called with there."""
    x = trial.x
    wanted = torch.cat([x[order, : step + 1], x[:, step + 1 :]], 1)
    first = leaves(begin(trial.adapter, len(x)))
    for axes in (None, 2, 1):
        given = pytree.tree_map_only(
            Tensor,
            lambda one, axes=axes: _joined(trial, one, order, step, axes),
            (trial.inputs, dict(trial.keywords)),
        )
        adapter = trial.step(trial.module)
        read = adapter.inputs(*given[0], **given[1])
        if read.shape == wanted.shape and torch.equal(read, wanted):
            begun = leaves(begin(adapter, len(x)))
            if all(torch.equal(begun[path], part[order]) for path, part in first.items()):
                return adapter, given
    raise ProbeError(
        f"{trial.name} was given sequences that cannot be spliced here. Call the module with (batch, time, ...) or "
        "(time, batch, ...), and with first states of (batch, ...) or (layer, batch, ...)."
    )


def _joined(trial: Trial, value: Tensor, order: list[int], step: int, axes: int | None) -> Tensor:
    """Return sequences that begin as other rows do, and what of so many axes or more belongs to rows as theirs."""
    joined, (rows, time) = value.clone(), trial.x.shape[:2]
    if value.shape[:2] == (rows, time):
        joined[:, : step + 1] = value[order, : step + 1]
    elif value.shape[1::-1] == (rows, time):
        joined[: step + 1] = value[: step + 1, order]
    elif axes is not None and value.dim() >= axes and len(value) == rows:
        joined = value[order]
    elif axes is not None and value.dim() > 2 and value.shape[1] == rows:
        joined = value[:, order]
    return joined


def _others(trial: Trial, step: int, runs: tuple[Any, Any, Any], read: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a patched run returns beside its outputs, with what the module returns; of later steps alone."""
    (patched, whole, given), rows = runs, trial.x.shape[:2]
    no_state = {id(one) for one in pytree.tree_leaves(given)}
    for found, wanted in zip(pytree.tree_leaves(patched), pytree.tree_leaves(whole), strict=True):
        if not isinstance(wanted, Tensor) or id(wanted) in no_state or memory_of(wanted) == memory_of(read):
            continue
        if wanted.shape[:2] == rows:
            yield found[:, step + 1 :], wanted[:, step + 1 :]
        elif wanted.shape[1::-1] == rows:
            yield found[step + 1 :], wanted[step + 1 :]
        elif returns_every_step(whole, rows) or step < trial.last or not alike(wanted, read[:, -1]):
            yield found, wanted
