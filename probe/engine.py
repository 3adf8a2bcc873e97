"""Runs an opened call again with changes, from the first changed step on.

Everything before the first changed step is kept. From there the run resumes from the states that the module reached:
a changed step is computed in Python, the stretch up to the next one on torch's fused kernel, and the layers above run
in full where their input changed. A row whose values are unchanged keeps the module's own numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .calls import States, own_order
from .cells.cell import HIDDEN, Cell, Moment
from .layers import levels
from .signals import Signal
from .traces import Opened, Run, Trace, dropped, join, last_valid


@dataclass(frozen=True, eq=False)
class Changes:
    """What happens to one layer's run, in its own order.

    Attributes:
        steps: the changed steps, ascending.
        change: given a signal, its step and its value (batch, unit), returns the value to use instead, and where it
            was set, (batch, unit).
    """

    steps: Sequence[int]
    change: Callable[[Signal, int, Tensor], tuple[Tensor, Tensor]]


class _SameValue(torch.autograd.Function):
    """The numbers of one tensor on the gradient path of another."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor) -> Tensor:
        """Return the numbers of `value`."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        """Send the gradient along `path`."""
        return None, gradients[0]


def _kept(natural: Tensor, changed: Tensor) -> Tensor:
    """Return the module's own numbers where an edit set what was there already.

    The gradient still runs through the edit: what it put in is a constant, whatever its value.
    """
    on_path = torch.is_grad_enabled() and (changed.requires_grad or natural.requires_grad)
    return _SameValue.apply(natural, changed) if on_path else natural


@dataclass(frozen=True, eq=False)
class _Rows:
    """Which rows of the batch differ from the module's run, and which an edit reached."""

    moved: Tensor
    reached: Tensor

    def choose(self, natural: Tensor, changed: Tensor) -> Tensor:
        """Return changed rows where they moved, and the module's own elsewhere."""
        return _choose(natural, changed, self.moved.unsqueeze(-1), self.reached.unsqueeze(-1))

    def choose_each(self, natural: Mapping[Signal, Tensor], changed: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        """Choose for each signal."""
        return {signal: self.choose(natural[signal], value) for signal, value in changed.items()}

    def __or__(self, other: _Rows) -> _Rows:
        return _Rows(self.moved | other.moved, self.reached | other.reached)


def _choose(natural: Tensor, changed: Tensor, moved: Tensor, reached: Tensor) -> Tensor:
    """Return changed values where they moved, and the module's own elsewhere, on the changed path where reached."""
    kept = _kept(natural, changed)
    return torch.where(moved, changed, natural if kept is natural else torch.where(reached, kept, natural))


def run_again(run: Run, changes: Mapping[int, Changes]) -> Run:
    """Run a module's call again with changes in some of its layers.

    Args:
        run: its run without changes.
        changes: what happens to a layer, by its place among the module's layers.
    """
    if not changes:
        return run
    traces: list[Trace] = []
    x: Tensor | None = None
    for level in range(levels(run.layers[0].module)):
        sides = []
        for trace in run.level(level):
            place = trace.layer.place
            side = trace if x is None else _with_input(trace, own_order(x, trace.layer, trace.lengths))
            sides.append(rerun(side, changes[place]) if place in changes else side)
        traces.extend(sides)
        if x is not None or any(trace.layer.place in changes for trace in sides):
            above = level + 1 < levels(run.layers[0].module)
            x = dropped(join(sides), run.masks[level]) if above else None
    return replace(run, traces=tuple(traces))


def _with_input(natural: Trace, x: Tensor) -> Trace:
    """Run a layer on another input, in full; rows whose input is unchanged keep the module's own numbers."""
    moved = (x != natural.x).any(-1).any(0)
    rows = _Rows(moved, torch.ones_like(moved) if x.requires_grad else moved)
    if not bool(rows.reached.any()):
        return natural
    h, final = kernels.run_layer(natural.layer, natural.cell, x, natural.initial)
    h = rows.choose(natural.h, h)
    changed = replace(natural, x=x, h=h)

    def compute() -> Opened:
        signals = natural.cell.open(x, h, natural.initial, natural.cell.signals)[0]
        return Opened(rows.choose_each(natural.signals, signals), natural.opened.error, natural.opened.step)

    return _ended(natural, changed, compute, final, rows)


def _ended(natural: Trace, changed: Trace, compute: Callable[[], Opened], final: States, rows: _Rows) -> Trace:
    """Return a changed run with its last states."""
    changed = replace(changed, compute=compute)
    if natural.lengths is not None:
        # The kernel ran on over the padding; a row's last states are those at its own last step.
        final = {
            signal: last_valid(changed.h if signal == HIDDEN else changed.signals[signal], natural.lengths)
            for signal in natural.cell.states
        }
    return replace(changed, final=rows.choose_each(natural.final, final))


def rerun(natural: Trace, changes: Changes) -> Trace:
    """Run one layer again with changes at some steps.

    Args:
        natural: its run without changes.
        changes: what happens, in the layer's own order.

    Returns:
        The changed run.
    """
    cell, x, steps = natural.cell, natural.x, changes.steps
    hidden = [natural.h[: steps[0]]]
    pieces = [lambda: {signal: value[: steps[0]] for signal, value in natural.signals.items()}]
    state, none = natural.before(steps[0]), torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    rows = _Rows(none, none)
    for step, following in zip(steps, [*steps[1:], len(x)], strict=True):
        moment = cell.moment(cell.inputs(x[step]), state)
        before = {signal: value[step] for signal, value in natural.signals.items()}
        if step != steps[0]:
            before = rows.choose_each(before, cell.step(moment))
        after, own = _changed_step(cell, moment, before, changes, step)
        rows = rows | own
        hidden.append(after[HIDDEN].unsqueeze(0))
        pieces.append(lambda after=after: {signal: value.unsqueeze(0) for signal, value in after.items()})
        state = {signal: after[signal] for signal in cell.states}
        if step + 1 < following:
            stretch = slice(step + 1, following)
            h, last = kernels.run_layer(natural.layer, cell, x[stretch], state)
            h = rows.choose(natural.h[stretch], h)
            hidden.append(h)
            pieces.append(_stretch(natural, stretch, h, state, rows))
            kept = natural.before(following) if following < len(x) else natural.final
            state = rows.choose_each(kept, last) if following < len(x) else last
    changed = replace(natural, h=torch.cat(hidden))

    def compute() -> Opened:
        parts = [piece() for piece in pieces]
        signals = {signal: torch.cat([part[signal] for part in parts]) for signal in cell.signals}
        return Opened(signals, natural.opened.error, natural.opened.step)

    return _ended(natural, changed, compute, state, rows)


def _stretch(
    natural: Trace, stretch: slice, h: Tensor, state: States, rows: _Rows
) -> Callable[[], dict[Signal, Tensor]]:
    """Return what gives the signals of a stretch that the kernel ran, if anybody asks for them."""

    def compute() -> dict[Signal, Tensor]:
        signals = natural.cell.open(natural.x[stretch], h, state, natural.cell.signals)[0]
        return rows.choose_each({signal: value[stretch] for signal, value in natural.signals.items()}, signals)

    return compute


def _changed_step(
    cell: Cell, moment: Moment, before: Mapping[Signal, Tensor], changes: Changes, step: int
) -> tuple[dict[Signal, Tensor], _Rows]:
    """Change one step: each signal in turn, and what follows from it, where and only where it follows.

    Returns the signals, and the rows whose states moved or were reached.
    """
    after: dict[Signal, Tensor] = {}
    moved: dict[Signal, Tensor] = {}
    reached: dict[Signal, Tensor] = {}
    for formula in cell.formulas:
        signal = formula.signal
        value = result = before[signal]
        follows = torch.zeros_like(value, dtype=torch.bool)
        if formula.sources:
            differs = _any([moved[source] for source in formula.sources], value, mixes=formula.mixes)
            follows = _any([reached[source] for source in formula.sources], value, mixes=formula.mixes)
            if bool(follows.any()):
                # Units that nothing reached keep the module's own number, not a recomputed one an ulp away.
                computed = formula.compute(moment, *(after[source] for source in formula.sources))
                result = _choose(value, computed, differs, follows)
        after[signal], own = changes.change(signal, step, result)
        moved[signal] = after[signal] != value
        reached[signal] = follows | own
    masks = ([mask[signal].any(-1) for signal in cell.states] for mask in (moved, reached))
    return after, _Rows(*(torch.stack(mask).any(0) for mask in masks))


def _any(masks: Sequence[Tensor], like: Tensor, *, mixes: bool) -> Tensor:
    """Return where a signal follows from sources that are marked: unit by unit, or in whole rows where it mixes."""
    if mixes:
        masks = [mask.any(-1, keepdim=True).expand_as(like) for mask in masks]
    return torch.stack(tuple(masks)).any(0)
