"""Runs a model once and opens a layer that torch does not have, as a step that can be taken from any state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import ProbeError
from .calls import read_loop
from .cells.step_cell import StepCell
from .layers import OpenLayer, Seen, StepLayer
from .rounding import check
from .runs import reconstruct
from .signals import OUTPUT, Signal, States
from .steps import forms
from .steps.free_cell import FreeCell
from .steps.step import begin

#: How far a step may be from what the layer did, relative to max(1, |value|), by the type of its numbers.
_NEAR = {torch.float64: 1e-9}
_USUAL = 1e-5


@dataclass(frozen=True, eq=False)
class Stepwise:
    """One run of a layer, step by step.

    Attributes:
        layer: the layer, with what the run told of it.
        cell: takes a step from any state.
        x: what it read, (batch, time, number).
        initial: the states before the first step, (batch, number) each.
        signals: the parts of its state and its output after each step, (batch, time, number) each.
        write: from the layer's output and its states, (row, number) each, to what its call returns.
        returned: what the model returned.
    """

    layer: OpenLayer
    cell: StepCell
    x: Tensor
    initial: States
    signals: Mapping[Signal, Tensor]
    write: Callable[[Tensor, States], Any]
    returned: Any = None

    @property
    def begin(self) -> States:
        """The states before the first step; where the output stands beside them it is 0."""
        none = {signal: torch.zeros_like(self.signals[signal][:, 0]) for signal in self.layer.whole_state}
        return none | dict(self.initial)

    @torch.no_grad()
    def check(self) -> None:
        """Take every step alone, of the rows in another order, and compare it with the run.

        Raises:
            ProbeError: a step depends on more than its input and its state.
        """
        order = torch.arange(len(self.x)).flip(0)[: max(1, len(self.x) - 1)]
        before = self.initial
        for step in range(self.x.shape[1]):
            after = self.cell.stepped(self.x[order, step], {signal: before[signal][order] for signal in before})
            for signal in self.layer.whole_state:
                ran = self.signals[signal][order, step]
                apart = float(((after[signal] - ran).abs() / ran.abs().clamp(min=1)).max()) if len(order) else 0.0
                if not apart <= _NEAR.get(ran.dtype, _USUAL):
                    raise ProbeError(
                        f"Layer {self.layer.name!r} cannot be run from its states: taken alone, step {step} gives "
                        f"another {str(signal)!r} than in the run (by {apart:.3g}). Its step depends on more than "
                        "its input and its state: on the step's number, on other sequences, on noise, or on what the "
                        "model does with the state between two steps."
                    )
            before = {signal: self.signals[signal][:, step] for signal in self.cell.states}


@torch.no_grad()
def stepwise(model: nn.Module, layer: OpenLayer, *arguments: Any, tolerance: float | None = None) -> Stepwise:
    """Run a model once, and return the run of one of its layers.

    Args:
        model: the model.
        layer: one of its layers.
        arguments: what it is called with.
        tolerance: how far a step may lie from the module, see `rounding.check`.

    Raises:
        ProbeError: the layer is not called, or more than once; what its calls were given or returned cannot be read;
            or its state holds other than real numbers.
    """
    calls = list[tuple[tuple[Any, ...], dict[str, Any], Any]]()
    runs = list[Stepwise]()

    def hook(_module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        if isinstance(layer, StepLayer):
            runs.append(_opened(layer, given, keywords, output, tolerance))
        else:
            # The model may change them in place before the next step.
            calls.append(pytree.tree_map_only(Tensor, Tensor.clone, (given, keywords, output)))

    handle = layer.module.register_forward_hook(hook, with_kwargs=True, prepend=True)
    try:
        returned = model(*arguments)
    finally:
        handle.remove()
    if calls:
        runs.append(_joined(layer, calls))
    if len(runs) != 1:
        raise ProbeError(f"Layer {layer.name!r} was called {len(runs)} times; it must be called once.")
    return replace(runs[0], returned=returned)


def _opened(
    layer: StepLayer, given: tuple[Any, ...], keywords: Mapping[str, Any], output: Any, tolerance: float | None
) -> Stepwise:
    run = reconstruct((layer,), given, keywords, output)
    trace = run.traces[0]
    check(trace, trace.opened, tolerance)
    cell = trace.cell
    if not isinstance(cell, StepCell):
        raise ProbeError(f"Layer {layer.name!r} has no step of its own.")
    after = {signal: value.transpose(0, 1) for signal, value in trace.signals.items()}
    x = trace.x.transpose(0, 1)
    return _seen(Stepwise(layer, cell, x, trace.initial, after, _writing(cell, output)))


def _joined(layer: OpenLayer, calls: Sequence[tuple[Any, dict[str, Any], Any]]) -> Stepwise:
    """Return the run that a loop's calls of a cell make up."""
    given = [forms.bound(layer.module, arguments, keywords) for arguments, keywords, _ in calls]
    output = calls[0][2]
    form = forms.form_of(layer.module, given[0], output)
    if form is None:
        raise ProbeError(
            f"Nothing tells where the state of layer {layer.name!r} stands. Say it once: "
            f"{forms.advice(layer.module)}."
        )
    adapter = FreeCell(layer.module, form, given[0], output)
    cell = StepCell(adapter, begin(adapter, 1))
    opened = [_opened_call(layer, one) for one in calls]
    for step, (before, now) in enumerate(pairwise(opened), start=1):
        if any(not torch.equal(before[1][signal], now[0][signal]) for signal in cell.states):
            raise ProbeError(
                f"Layer {layer.name!r} cannot be run from its states: before step {step} the model changes the state "
                "that the cell returned, or begins anew. Make what it does there a part of the cell, or write a "
                "probe.Step of the whole."
            )
    x = torch.cat([adapter.inputs(*arguments, **keywords) for arguments, keywords, _ in calls], 1)
    after = {signal: torch.stack([one[1][signal] for one in opened], 1) for signal in opened[0][1]}
    if any(value.isnan().any() for value in opened[0][0].values()):
        raise ProbeError(
            f"Layer {layer.name!r} is first called without a state; call it with the state it begins in."
        )
    return _seen(Stepwise(layer, cell, x, opened[0][0], after, _writing(cell, output)))


def _opened_call(layer: OpenLayer, one: tuple[Any, dict[str, Any], Any]) -> tuple[States, States]:
    """Return the states before one call of a cell, and its states and output after it."""
    call = read_loop(layer, *one)
    if call is None or call.adapter is None:
        raise ProbeError(f"A call of layer {layer.name!r} does not tell where its state stands.")
    own = StepCell(call.adapter, begin(call.adapter, 1))
    return call.initial[0], own.stepped(call.x[0], call.initial[0])


def _writing(cell: StepCell, returned: Any) -> Callable[[Tensor, States], Any]:
    """Return what makes the return of a call of outputs and states, as one call returned them."""
    return lambda y, states: cell.adapter.returned(returned, y[:, None], cell.nest(states))


def _seen(run: Stepwise) -> Stepwise:
    """Return a run with what it tells of its layer."""
    cell, after = run.cell, run.signals
    if len(run.x) and run.x.shape[1]:
        cell.try_step(run.x[:, 0], run.initial)
    unreal = [signal for signal in cell.states if not after[signal].is_floating_point()]
    if unreal:
        raise ProbeError(
            f"The state {str(unreal[0])!r} of layer {run.layer.name!r} is {after[unreal[0]].dtype}; a layer is run "
            "from its states only where these are real numbers."
        )
    sizes = {signal: after[signal].shape[-1] for signal in (*cell.states, OUTPUT)}
    seen = Seen(cell.states, cell.returned_part or OUTPUT, sizes, run.x.shape[-1])
    return replace(run, layer=replace(run.layer, seen=seen))
