"""Runs a layer again with edits, from the first step that they change, on the rows that they move.

Everything before the first changed step is kept, and so is every row that nothing moves: it has the module's own
numbers, bit for bit. A changed step is computed in Python, the stretch up to the next one on torch's fused kernel,
from the states that the module reached. The layers above go on where their input changed.

Many edits of one layer run together, each on a block of rows of its own: all the rows of the batch, one block after
the other. What edits of one step do to units that nothing mixes is computed in one block (see `Shared`).
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
from .cells.step_cell import StepCell
from .runs import Lazy, Opened, Run, Trace, dropped, join
from .signals import Signal

_ALL = slice(None)
#: All rows run where fewer than one in so many stayed: to pick rows out costs more than to run them.
_MOST = 8


@dataclass(frozen=True, eq=False)
class Changes:
    """What happens to one layer's run, in its own order.

    Attributes:
        signals: for each changed step, the signals that are changed at it.
        change: given one of them, its step and its value (row, unit), returns the value to use instead, and where
            it was set, (row, unit).
    """

    signals: Mapping[int, frozenset[Signal]]
    change: Callable[[Signal, int, Tensor], tuple[Tensor, Tensor]]

    @property
    def steps(self) -> list[int]:
        """The changed steps, ascending."""
        return sorted(self.signals)


@dataclass(frozen=True, eq=False)
class Shared:
    """How edits that begin at one step share its computation: those of other units lie side by side on one sheet.

    A step computes unit by unit, up to the products of the next step, so that edits of other units do not meet in it.

    Attributes:
        changes: what happens at that step to the sheets, (sheet x batch, unit).
        count: how many sheets there are.
        blocks: for each unit of each block, which block; they are counted from 0, and each has one.
        sheets: for each of them, on which sheet it is.
        units: for each of them, which unit.
    """

    changes: Changes
    count: int
    blocks: Tensor
    sheets: Tensor
    units: Tensor


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of steps in which rows may differ from the clean run.

    Attributes:
        steps: which steps, in the layer's own order.
        rows: which rows of all blocks.
        h: what the layer returns, (time, row, unit).
        compute: gives the signals asked for, (time, row, unit) each.
    """

    steps: slice
    rows: Any
    h: Tensor
    compute: Callable[[Sequence[Signal]], Mapping[Signal, Tensor]]


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


def _choose(clean: Tensor, changed: Tensor, moved: Tensor, reached: Tensor) -> Tensor:
    """Return changed values where they moved, and the module's own elsewhere.

    Where an edit set what was there already, the gradient still runs through the edit: what it put in is a constant,
    whatever its value.
    """
    if torch.is_grad_enabled() and (changed.requires_grad or clean.requires_grad):
        clean = torch.where(reached, _SameValue.apply(clean, changed), clean)
    return torch.where(moved, changed, clean)


@dataclass(frozen=True, eq=False)
class Front:
    """The rows that go on in another way than in the clean run, and from where.

    Attributes:
        rows: which rows of all blocks; all of them where autograd follows them, and where a step is somebody's own.
        states: their states.
        moved: which of all rows differ, where `rows` are all of them.
        reached: which of all rows an edit reached, where `rows` are all of them.
    """

    rows: Any
    states: States
    moved: Tensor
    reached: Tensor

    @classmethod
    def of(cls, states: States, moved: Tensor, reached: Tensor, *, whole: bool) -> Front:
        """Return the front of rows whose states are given for all rows."""
        rows = None if whole else moved.nonzero().flatten()
        if rows is None or len(rows) * _MOST > len(moved) * (_MOST - 1):
            return cls(_ALL, states, moved, reached)
        return cls(rows, {signal: value.index_select(0, rows) for signal, value in states.items()}, moved, reached)

    @property
    def is_empty(self) -> bool:
        """Whether no row is left."""
        return not (self.reached.any() if self.rows is _ALL else len(self.rows))

    def of_batch(self, values: Tensor) -> Tensor:
        """Return values of the clean run, (time, batch, unit), for these rows."""
        batch = values.shape[1]
        if self.rows is not _ALL:
            return values.index_select(1, self.rows % batch)
        return _repeated(values, len(self.moved) // batch)

    def choose(self, clean: Callable[[], Tensor], changed: Tensor) -> Tensor:
        """Return changed values of these rows, (..., row, unit), where they moved, and the module's own elsewhere.

        Args:
            clean: gives values of the clean run, (..., batch, unit).
            changed: what was computed of these rows. Without autograd it may be written into.
        """
        if self.rows is not _ALL:
            return changed
        if not torch.is_grad_enabled():
            stayed = (~self.moved).nonzero().flatten()
            if not len(stayed):
                return changed
            own = clean()
            return changed.index_copy_(-2, stayed, own.index_select(-2, stayed % own.shape[-2]))
        return _choose(clean(), changed, self.moved.unsqueeze(-1), self.reached.unsqueeze(-1))

    def onward(self, clean: Trace, x: Tensor, steps: slice, *, to_end: bool = False) -> tuple[Piece, Front]:
        """Run these rows through a stretch of steps on the kernel.

        Args:
            clean: the layer's run without changes.
            x: what these rows read in the stretch, (time, row, input).
            steps: which steps of the layer's own order.
            to_end: whether nobody wants anything but the end of the run, which the stretch reaches. Without autograd.
        """
        if clean.lengths is not None:
            left = (self.of_batch(clean.lengths.view(1, -1, 1)).flatten() - steps.start).clamp(0, len(x))
            h, last = kernels.run_layer(clean.layer, clean.cell, x, self.states, left)
        elif _is_whole(clean.cell):
            h, last = kernels.run_layer(clean.layer, clean.cell, x, self.states)
        else:
            h, last = kernels.run_some(clean.layer, clean.cell, x, self.states, to_end=to_end)

        def after(signal: Signal) -> Tensor:
            return (clean.before(steps.stop) if steps.stop < len(clean.x) else clean.last)[signal]

        states = {one: self.choose(lambda one=one: after(one), value.clone()) for one, value in last.items()}
        onward = replace(self, states=states)
        if h is None:
            return _of_states(slice(steps.stop - 1, steps.stop), self.rows, states, clean.cell), onward
        h = self.choose(lambda: clean.h[steps], h)

        def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
            signals = clean.cell.open(x, h, self.states, tuple(keep))[0]
            return {one: self.choose(lambda one=one: clean.signals[one][steps], signals[one]) for one in keep}

        return Piece(steps, self.rows, h, compute), onward


@dataclass(frozen=True, eq=False)
class Rerun:
    """How a layer's changed run differs from the clean one.

    Attributes:
        pieces: the stretches in which rows differ.
        front: the rows that differ at the end, with their states.
    """

    pieces: Sequence[Piece]
    front: Front


def rerun(
    clean: Trace, changes: Changes, blocks: int = 1, shared: Shared | None = None, *, to_end: bool = False
) -> Rerun:
    """Run one layer again with changes at some steps.

    Args:
        clean: its run without changes.
        changes: what happens to (block x batch) rows, in the layer's own order.
        blocks: how many blocks of rows there are.
        shared: how the blocks share the first changed step, if they do.
        to_end: whether nobody wants anything but the last step's output and states.
    """
    steps, pieces, front = changes.steps, list[Piece](), None
    for step, following in zip(steps, [*steps[1:], len(clean.x)], strict=True):
        if shared is not None and front is None:
            piece, front = _on_sheets(clean, step, shared)
        else:
            piece, front = _at_step(clean, changes, step, blocks, front)
        pieces.append(piece)
        if step + 1 < following and not front.is_empty:
            stretch = slice(step + 1, following)
            at_end = to_end and following == len(clean.x)
            piece, front = front.onward(clean, front.of_batch(clean.x[stretch]), stretch, to_end=at_end)
            pieces.append(piece)
    return Rerun(pieces, front)


def with_input(clean: Trace, x: Tensor, blocks: int = 1, *, start: int = 0, to_end: bool = False) -> Rerun | None:
    """Run a layer again on another input; None where nothing of it is another.

    Args:
        clean: its run without changes.
        x: the input, (time, block x batch, input), in the layer's own order.
        blocks: how many blocks of rows there are.
        start: the first step at which it may be another.
        to_end: whether nobody wants anything but the last step's output and states.
    """
    whole, first = _is_whole(clean.cell), None
    moved = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    for step in range(start, len(x)):
        # A row that has been found to differ is not compared again.
        rows = (~moved).nonzero().flatten()
        if not len(rows):
            break
        every = len(rows) == len(moved)
        own = _repeated(clean.x[step], blocks) if every else clean.x[step].index_select(0, rows % clean.x.shape[1])
        moved[rows] = (own != (x[step] if every else x[step].index_select(0, rows))).any(-1)
        first = step if first is None and bool(moved.any()) else first
    reached = torch.ones_like(moved) if x.requires_grad else moved
    if not bool(reached.any()):
        return None
    first = 0 if whole or first is None else first
    states = {signal: _repeated(value, blocks) for signal, value in clean.before(first).items()}
    front = Front.of(states, moved, reached, whole=whole)
    read = x[first:] if front.rows is _ALL else x[first:, front.rows]
    piece, front = front.onward(clean, read, slice(first, len(x)), to_end=to_end)
    return Rerun([piece], front)


def spliced(clean: Tensor, pieces: Sequence[Piece], values: Sequence[Tensor], blocks: int = 1) -> list[Tensor]:
    """Return values of a whole run, (time, block x batch, unit), in stretches: the clean ones and those of pieces."""
    parts, done = list[Tensor](), 0
    for piece, value in zip(pieces, values, strict=True):
        if piece.steps.start > done:
            parts.append(_repeated(clean[done : piece.steps.start], blocks))
        whole = piece.rows is _ALL
        parts.append(value if whole else _repeated(clean[piece.steps], blocks).index_copy(1, piece.rows, value))
        done = piece.steps.stop
    return [*parts, _repeated(clean[done:], blocks)] if done < len(clean) else parts


def _changed(clean: Trace, found: Rerun, x: Tensor | None = None) -> Trace:
    """Return the changed run of a layer."""
    pieces, front = found.pieces, found.front

    def compute(keep: Sequence[Signal]) -> Opened:
        found = [piece.compute(keep) for piece in pieces]
        signals = {
            one: torch.cat(spliced(clean.signals[one], pieces, [values[one] for values in found])) for one in keep
        }
        return Opened(signals, clean.opened.error, clean.opened.step)

    h = spliced(clean.h, pieces, [piece.h for piece in pieces])
    changed = replace(clean, x=clean.x if x is None else x, pieces=tuple(h), compute=compute)
    final = {
        signal: front.choose(lambda signal=signal: clean.last[signal], value)
        if front.rows is _ALL
        else clean.last[signal].index_copy(0, front.rows, value)
        for signal, value in front.states.items()
    }
    return replace(changed, final=final)


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
        for clean in run.level(level):
            trace, place = clean, clean.layer.place
            if x is not None:
                own = own_order(x, trace.layer, trace.lengths)
                found = with_input(trace, own)
                trace = trace if found is None else _changed(trace, found, own)
            sides.append(_changed(trace, rerun(trace, changes[place])) if place in changes else trace)
        traces.extend(sides)
        if x is not None or any(trace.layer.place in changes for trace in sides):
            above = level + 1 < run.layers[0].levels
            x = dropped(join(sides), run.masks[level]) if above else None
    return replace(run, traces=tuple(traces))


def _is_whole(cell: Cell) -> bool:
    """Return whether all rows run: autograd needs them, and a step of somebody's own may know them by their place."""
    return torch.is_grad_enabled() or isinstance(cell, StepCell)


def _repeated(values: Tensor, blocks: int) -> Tensor:
    """Return (..., batch, unit) for each of several blocks of rows."""
    return values if blocks == 1 else values.repeat(*[1] * (values.dim() - 2), blocks, 1)


def _start(clean: Trace, step: int, blocks: int) -> tuple[Mapping[Signal, Tensor], Mapping[Signal, Tensor]]:
    """Return the clean run's states before a step, and its signals at it, for each of several blocks of rows."""
    signals = clean.at(step)
    states = {signal: _repeated(value, blocks) for signal, value in clean.before(step).items()}
    return states, Lazy(clean.cell.signals, lambda signal: _repeated(signals[signal], blocks))


def _at_step(clean: Trace, changes: Changes, step: int, blocks: int, front: Front | None) -> tuple[Piece, Front]:
    """Change one step of all rows."""
    cell = clean.cell
    states, before = _start(clean, step, blocks)
    if front is not None:
        own = front.states
        states = {s: own[s] if front.rows is _ALL else v.index_copy(0, front.rows, own[s]) for s, v in states.items()}
    moment = cell.moment_at(_repeated(clean.x[step], blocks), states)
    if front is not None:
        stepped, at_rest, marks = cell.step(moment), before, (front.moved.unsqueeze(-1), front.reached.unsqueeze(-1))
        before = Lazy(cell.signals, lambda signal: _choose(at_rest[signal], stepped[signal], *marks))
    after, moved_units, reached_units = _changed_step(cell, moment, before, changes, step)
    moved, reached = _any_row(moved_units, cell, before), _any_row(reached_units, cell, before)
    if front is not None:
        moved, reached = moved | front.moved, reached | front.reached

    def now(signal: Signal) -> Tensor:
        return after[signal] if signal in after else before[signal]

    def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
        return {signal: now(signal).unsqueeze(0) for signal in keep}

    piece = Piece(slice(step, step + 1), _ALL, now(cell.output).unsqueeze(0), compute)
    after_step = {signal: now(signal) for signal in cell.states}
    if clean.lengths is not None:
        # A row that has ended keeps its states.
        ended = (clean.lengths <= step).to(moved.device).repeat(blocks).unsqueeze(1)
        after_step = {signal: torch.where(ended, states[signal], value) for signal, value in after_step.items()}
    return piece, Front.of(after_step, moved, reached, whole=_is_whole(cell))


def _on_sheets(clean: Trace, step: int, shared: Shared) -> tuple[Piece, Front]:
    """Change the first changed step of blocks that share sheets."""
    cell, at_rest, blocks = clean.cell, clean.at(step), int(shared.blocks[-1]) + 1
    states, before = _start(clean, step, shared.count)
    moment = cell.moment_at(_repeated(clean.x[step], shared.count), states)
    after, moved, _ = _changed_step(cell, moment, before, shared.changes, step)

    def of_units(values: Tensor) -> Tensor:
        """Return what each unit of each block has on its sheet, (pair, batch)."""
        return values.unflatten(0, (shared.count, -1)).transpose(1, 2)[shared.sheets, shared.units]

    batch = len(at_rest[cell.output])
    marks = torch.zeros(blocks, batch, dtype=torch.int32, device=clean.x.device)
    units_first = kernels.likes_units_first(cell, clean.x, blocks * batch)
    states = dict[Signal, Tensor]()
    for signal in cell.states:
        if units_first:
            value = at_rest[signal].T.unsqueeze(1).repeat(1, blocks, 1)
            own, states[signal] = value, value.flatten(1).T
        else:
            value = at_rest[signal].repeat(blocks, 1)
            own, states[signal] = value.unflatten(0, (blocks, batch)).permute(2, 0, 1), value
        if signal in after:
            own[shared.units, shared.blocks] = of_units(after[signal])
            marks.index_add_(0, shared.blocks, of_units(moved[signal]).int())
    rows = marks.flatten() > 0
    front = Front.of(states, rows, rows, whole=False)
    return _of_states(slice(step, step + 1), front.rows, front.states, cell), front


def _of_states(steps: slice, rows: Any, states: States, cell: Cell) -> Piece:
    """Return a piece of one step of which nobody asks for more than its states."""

    def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
        return {signal: states[signal].unsqueeze(0) for signal in keep}

    return Piece(steps, rows, states[cell.output].unsqueeze(0), compute)


def _changed_step(
    cell: Cell, moment: Moment, before: Mapping[Signal, Tensor], changes: Changes, step: int
) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor], dict[Signal, Tensor]]:
    """Change one step: each signal in turn, and what follows from it, where and only where it follows.

    Returns the signals that an edit reached, and where each moved and where it was reached, (row, unit).
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
    return after, moved, reached


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
