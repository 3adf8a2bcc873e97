"""Runs a layer again with edits, from the first step that they change.

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
from .cells.cell import Cell, Moment
from .runs import Opened, Run, Trace, dropped, join, last_valid
from .signals import Signal


@dataclass(frozen=True, eq=False)
class Changes:
    """What happens to one layer's run, in its own order.

    Attributes:
        signals: for each changed step, the signals that are changed at it.
        change: given one of them, its step and its value (batch, unit), returns the value to use instead, and where
            it was set, (batch, unit).
    """

    signals: Mapping[int, frozenset[Signal]]
    change: Callable[[Signal, int, Tensor], tuple[Tensor, Tensor]]

    @property
    def steps(self) -> list[int]:
        """The changed steps, ascending."""
        return sorted(self.signals)


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


def _kept(clean: Tensor, changed: Tensor) -> Tensor:
    """Return the module's own numbers where an edit set what was there already.

    The gradient still runs through the edit: what it put in is a constant, whatever its value.
    """
    on_path = torch.is_grad_enabled() and (changed.requires_grad or clean.requires_grad)
    return _SameValue.apply(clean, changed) if on_path else clean


@dataclass(frozen=True, eq=False)
class _Rows:
    """Which rows of the batch differ from the module's run, and which an edit reached."""

    moved: Tensor
    reached: Tensor

    def choose(self, clean: Tensor, changed: Tensor) -> Tensor:
        """Return changed rows where they moved, and the module's own elsewhere."""
        if not torch.is_grad_enabled():
            stayed = (~self.moved).nonzero().flatten()
            if len(stayed) * 8 < len(self.moved):  # the usual case: few rows are as they were
                return changed.index_copy_(-2, stayed, clean.index_select(-2, stayed)) if len(stayed) else changed
        return _choose(clean, changed, self.moved.unsqueeze(-1), self.reached.unsqueeze(-1))

    def choose_each(self, clean: Mapping[Signal, Tensor], changed: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
        """Choose for each signal."""
        return {signal: self.choose(clean[signal], value) for signal, value in changed.items()}

    def __or__(self, other: _Rows) -> _Rows:
        return _Rows(self.moved | other.moved, self.reached | other.reached)


def _choose(clean: Tensor, changed: Tensor, moved: Tensor, reached: Tensor) -> Tensor:
    """Return changed values where they moved, and the module's own elsewhere, on the changed path where reached."""
    kept = _kept(clean, changed)
    return torch.where(moved, changed, clean if kept is clean else torch.where(reached, kept, clean))


def run_again(run: Run, changes: Mapping[int, Changes]) -> Run:
    """Run a module's call again with changes in some of its layers.

    Args:
        run: its run without changes.
        changes: what happens to a layer, by its place among the module's layers.
    """
    if not changes or not run.call.x.shape[1]:
        return run
    traces: list[Trace] = []
    x: Tensor | None = None
    for level in range(run.layers[0].levels):
        sides = []
        for trace in run.level(level):
            place = trace.layer.place
            side = trace if x is None else _with_input(trace, own_order(x, trace.layer, trace.lengths))
            sides.append(rerun(side, changes[place]) if place in changes else side)
        traces.extend(sides)
        if x is not None or any(trace.layer.place in changes for trace in sides):
            above = level + 1 < run.layers[0].levels
            x = dropped(join(sides), run.masks[level]) if above else None
    return replace(run, traces=tuple(traces))


def _with_input(clean: Trace, x: Tensor) -> Trace:
    """Run a layer on another input, in full; rows whose input is unchanged keep the module's own numbers."""
    moved = (x != clean.x).any(-1).any(0)
    rows = _Rows(moved, torch.ones_like(moved) if x.requires_grad else moved)
    if not bool(rows.reached.any()):
        return clean
    h, final = kernels.run_layer(clean.layer, clean.cell, x, clean.initial)
    h = rows.choose(clean.h, h).contiguous()
    changed = _changed(clean, h, x=x)

    def compute() -> Opened:
        signals = clean.cell.open(x, h, clean.initial, clean.cell.signals)[0]
        return Opened(rows.choose_each(clean.signals, signals), clean.opened.error, clean.opened.step)

    return _ended(clean, changed, compute, final, rows)


def _changed(clean: Trace, *pieces: Tensor, x: Tensor | None = None) -> Trace:
    """Return a plain trace with other values, whatever kind the clean one is."""
    x = clean.x if x is None else x
    return Trace(clean.layer, clean.cell, x, clean.initial, pieces, clean.final, clean.lengths)


def _ended(clean: Trace, changed: Trace, compute: Callable[[], Opened], final: States, rows: _Rows) -> Trace:
    """Return a changed run with its last states."""
    changed = replace(changed, compute=compute)
    if clean.lengths is not None:
        # The kernel ran on over the padding; a row's last states are those at its own last step.
        final = {
            signal: last_valid(changed.h if signal == clean.cell.output else changed.signals[signal], clean.lengths)
            for signal in clean.cell.states
        }
    return replace(changed, final=rows.choose_each(clean.last, final))


def rerun(clean: Trace, changes: Changes) -> Trace:
    """Run one layer again with changes at some steps.

    Args:
        clean: its run without changes.
        changes: what happens, in the layer's own order.

    Returns:
        The changed run.
    """
    cell, x, steps = clean.cell, clean.x, changes.steps
    outputs = [clean.h[: steps[0]]]
    pieces = [lambda: {signal: value[: steps[0]] for signal, value in clean.signals.items()}]
    state, none = clean.before(steps[0]), torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    rows = _Rows(none, none)
    for step, following in zip(steps, [*steps[1:], len(x)], strict=True):
        moment = cell.moment_at(x[step], state)
        before = clean.at(step)
        if step != steps[0]:
            before = rows.choose_each(before, cell.step(moment))
        after, own = _changed_step(cell, moment, before, changes, step)
        rows = rows | own
        pieces.append(lambda after={**after}, before=before: _one_step(after, before))
        state = {signal: after[signal] if signal in after else before[signal] for signal in cell.states}
        outputs.append((after[cell.output] if cell.output in after else before[cell.output]).unsqueeze(0))
        if step + 1 < following:
            stretch = slice(step + 1, following)
            h, last = kernels.run_layer(clean.layer, cell, x[stretch], state)
            h = rows.choose(clean.h[stretch], h)
            outputs.append(h)
            pieces.append(_stretch(clean, stretch, h, state, rows))
            state = rows.choose_each(clean.before(following), last) if following < len(x) else last
    changed = _changed(clean, *outputs)

    def compute() -> Opened:
        parts = [piece() for piece in pieces]
        signals = {signal: torch.cat([part[signal] for part in parts]) for signal in cell.signals}
        return Opened(signals, clean.opened.error, clean.opened.step)

    return _ended(clean, changed, compute, state, rows)


def _one_step(after: Mapping[Signal, Tensor], before: Mapping[Signal, Tensor]) -> dict[Signal, Tensor]:
    return {signal: (after[signal] if signal in after else before[signal]).unsqueeze(0) for signal in before}


def _stretch(
    clean: Trace, stretch: slice, h: Tensor, state: States, rows: _Rows
) -> Callable[[], dict[Signal, Tensor]]:
    """Return what gives the signals of a stretch that the kernel ran, if anybody asks for them."""

    def compute() -> dict[Signal, Tensor]:
        signals = clean.cell.open(clean.x[stretch], h, state, clean.cell.signals)[0]
        return rows.choose_each({signal: value[stretch] for signal, value in clean.signals.items()}, signals)

    return compute


def _changed_step(
    cell: Cell, moment: Moment, before: Mapping[Signal, Tensor], changes: Changes, step: int
) -> tuple[dict[Signal, Tensor], _Rows]:
    """Change one step: each signal in turn, and what follows from it, where and only where it follows.

    Returns the signals that an edit reached, and the rows whose states moved or were reached.
    """
    after: dict[Signal, Tensor] = {}  # a signal that nothing reached is in none of the three
    moved: dict[Signal, Tensor] = {}
    reached: dict[Signal, Tensor] = {}

    def now(signal: Signal) -> Tensor:
        return after[signal] if signal in after else before[signal]

    for formula in cell.formulas:
        signal = formula.signal
        touched = [source for source in formula.sources if source in reached]
        if not touched and signal not in changes.signals[step]:
            continue
        value = result = before[signal]
        if touched:
            # Units that nothing reached keep the module's own number, not a recomputed one an ulp away.
            computed = formula.compute(moment, *map(now, formula.sources))
            differs = _any([moved[source] for source in touched], value, mixes=formula.mixes)
            reached[signal] = _any([reached[source] for source in touched], value, mixes=formula.mixes)
            result = _choose(value, computed, differs, reached[signal])
        if signal in changes.signals[step]:
            result, own = changes.change(signal, step, result)
            reached[signal] = reached[signal] | own if touched else own
        after[signal], moved[signal] = result, result != value
    return after, _Rows(_any_row(moved, cell, before), _any_row(reached, cell, before))


def _any(masks: Sequence[Tensor], like: Tensor, *, mixes: bool) -> Tensor:
    """Return where a signal follows from sources that are marked: unit by unit, or in whole rows where it mixes."""
    if mixes:
        masks = [mask.any(-1, keepdim=True).expand_as(like) for mask in masks]
    joined = masks[0]
    for mask in masks[1:]:
        joined = joined | mask
    return joined


def _any_row(marked: Mapping[Signal, Tensor], cell: Cell, before: Mapping[Signal, Tensor]) -> Tensor:
    """Return the rows in which a state is marked."""
    like = before[cell.output]
    rows = torch.zeros(len(like), dtype=torch.bool, device=like.device)
    for signal in cell.states:
        if signal in marked:
            rows = rows | marked[signal].any(-1)
    return rows
