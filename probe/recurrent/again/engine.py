"""Runs a layer again with edits, from the first step that they change, on the rows that they move.

Everything before the first changed step is kept, and so is every row that nothing moves: it has the module's own
numbers, bit for bit. A changed step is computed in Python, the stretch up to the next one on torch's fused kernel,
from the states that the module reached. The layers above go on where their input changed.

Many edits of one layer run together, each on a block of rows of its own: all the rows of the batch, one block after
the other. What edits of one step do to units that nothing mixes is computed in one block (see `Shared`). Where they
begin at several steps, a row joins the run as its step comes, and leaves it where an edit sets its states back to the
clean run's (see `Apart`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from .. import kernels
from ..calls import own_order
from ..cells.cell import Cell, Moment
from ..runs import Lazy, Run, Trace, dropped, join
from ..signals import Signal
from .fronts import ALL, Front, Piece, Rerun, changed, choose, goes_whole, is_whole, of_states, repeated, with_input

#: Stands for the first changed step of each of several blocks of rows.
BEGIN = -1


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
class Apart:
    """Changes that begin at other steps in other blocks of rows.

    Attributes:
        first: the first changed step of each block.
        begin: what happens to each block at that step, under the step `BEGIN`.
        later: what happens at later steps: to which blocks, ascending, and to their rows, one block after the other.
    """

    first: Tensor
    begin: Changes
    later: Mapping[int, tuple[Tensor, Changes]]


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
    steps, pieces = changes.steps, list[Piece]()
    front: Any = None
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


def rerun_apart(clean: Trace, apart: Apart, *, to_end: bool = False) -> Rerun:
    """Run one layer again with changes that begin at other steps in other blocks: each runs from its own step on.

    A row whose states a later change sets back to the clean run's has nothing more to run. Works without autograd.

    Args:
        clean: its run without changes.
        apart: what happens, in the layer's own order.
        to_end: whether nobody wants anything but the last step's output and states.
    """
    time, batch, pieces = len(clean.x), clean.x.shape[1], list[Piece]()
    whole, began = _at_step(clean, apart.begin, apart.first, len(apart.first), None)
    began = began.named(len(apart.first) * batch)
    first = apart.first.to(began.rows.device)
    steps = sorted({*first.tolist(), *apart.later})
    front = going = began.among(torch.zeros_like(began.rows, dtype=torch.bool))
    for step, following in zip(steps, [*steps[1:], time], strict=True):
        if step in apart.later:
            piece, after = _at_later(clean, apart.later[step], step, going, batch)
            pieces.append(piece)
            front = front.beside(after)
        rows = _rows_of((first == step).nonzero().flatten(), batch)
        pieces.append(whole.among(step, rows))
        front = front.beside(began.among(first[began.rows // batch] == step))
        changing = torch.isin(front.rows // batch, apart.later[following][0]) if following in apart.later else None
        going = front if changing is None else front.among(changing)
        front = front if changing is None else front.among(~changing)
        front, run = _onward(clean, front, slice(step + 1, min(following + 1, time)), to_end=to_end)
        pieces += run
        if changing is not None:
            going, run = _onward(clean, going, slice(step + 1, following), to_end=to_end)
            pieces += run
    return Rerun(pieces, front)


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
                trace = trace if found is None else changed(trace, found, own)
            sides.append(changed(trace, rerun(trace, changes[place])) if place in changes else trace)
        traces.extend(sides)
        if x is not None or any(trace.layer.place in changes for trace in sides):
            above = level + 1 < run.layers[0].levels
            x = dropped(join(sides), run.masks[level]) if above else None
    return replace(run, traces=tuple(traces))


def _start(
    clean: Trace, step: int | Tensor, blocks: int
) -> tuple[Tensor, Mapping[Signal, Tensor], Mapping[Signal, Tensor]]:
    """Return what the clean run reads at a step, its states before it, and its signals at it, for blocks of rows."""
    if isinstance(step, int):
        signals = clean.at(step)
        states = {signal: repeated(value, blocks) for signal, value in clean.before(step).items()}
        before = Lazy(clean.cell.signals, lambda signal: repeated(signals[signal], blocks))
        return repeated(clean.x[step], blocks), states, before
    at = step.to(clean.x.device)
    begins = (at == 0).view(-1, 1, 1)

    def states_of(signal: Signal) -> Tensor:
        values = clean.h if signal == clean.cell.output else clean.signals[signal]
        return torch.where(begins, clean.initial[signal], values[(at - 1).clamp(min=0)]).flatten(0, 1)

    states = {signal: states_of(signal) for signal in clean.cell.states}
    before = Lazy(clean.cell.signals, lambda signal: clean.signals[signal][at].flatten(0, 1))
    return clean.x[at].flatten(0, 1), states, before


def _at_step(
    clean: Trace, changes: Changes, step: int | Tensor, blocks: int, front: Front | None
) -> tuple[Piece, Front]:
    """Change one step of all rows, or of each block a step of its own.

    Args:
        clean: the run of the layer without changes.
        changes: what happens to (block x batch) rows.
        step: which step; or one for each block, whose changes stand under `BEGIN`.
        blocks: how many blocks of rows there are.
        front: the rows that differ before the step, or None where none does.
    """
    cell = clean.cell
    x, states, before = _start(clean, step, blocks)
    if front is not None:
        own = front.states
        states = {s: own[s] if front.rows is ALL else v.index_copy(0, front.rows, own[s]) for s, v in states.items()}
    moment = cell.moment_at(x, states)
    if front is not None:
        stepped, at_rest, marks = cell.step(moment), before, (front.moved.unsqueeze(-1), front.reached.unsqueeze(-1))
        before = Lazy(cell.signals, lambda signal: choose(at_rest[signal], stepped[signal], *marks))
    number = step if isinstance(step, int) else BEGIN
    after, moved_units, reached_units = _changed_step(cell, moment, before, changes, number)
    moved, reached = _any_row(moved_units, cell, before), _any_row(reached_units, cell, before)
    if front is not None:
        moved, reached = moved | front.moved, reached | front.reached

    def now(signal: Signal) -> Tensor:
        return after[signal] if signal in after else before[signal]

    def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
        return {signal: now(signal).unsqueeze(0) for signal in keep}

    piece = Piece(slice(number, number + 1), ALL, now(cell.output).unsqueeze(0), compute)
    after_step = {signal: now(signal) for signal in cell.states}
    if clean.lengths is not None:
        # A row that has ended keeps its states.
        steps = torch.full((blocks,), step) if isinstance(step, int) else step.cpu()
        ended = (clean.lengths <= steps.unsqueeze(1)).flatten().to(moved.device).unsqueeze(1)
        after_step = {signal: torch.where(ended, states[signal], value) for signal, value in after_step.items()}
    return piece, Front.of(after_step, moved, reached, whole=is_whole(cell))


def _on_sheets(clean: Trace, step: int, shared: Shared) -> tuple[Piece, Front]:
    """Change the first changed step of blocks that share sheets."""
    cell, at_rest, blocks = clean.cell, clean.at(step), int(shared.blocks[-1]) + 1
    x, states, before = _start(clean, step, shared.count)
    moment = cell.moment_at(x, states)
    after, moved, _ = _changed_step(cell, moment, before, shared.changes, step)

    def of_units(values: Tensor) -> Tensor:
        """Return what each unit of each block has on its sheet, (pair, batch)."""
        return values.unflatten(0, (shared.count, -1)).transpose(1, 2)[shared.sheets, shared.units]

    batch = len(at_rest[cell.output])
    marked = reduce(torch.logical_or, (moved[signal] for signal in cell.states if signal in after))
    marks = torch.zeros(blocks, batch, dtype=torch.int32, device=clean.x.device)
    rows = marks.index_add_(0, shared.blocks.to(marks.device), of_units(marked).int()).flatten() > 0
    units_first = kernels.likes_units_first(cell, clean.x, len(rows)) and goes_whole(rows)
    states = dict[Signal, Tensor]()
    for signal in cell.states:
        if units_first:
            value = at_rest[signal].T.contiguous().unsqueeze(1).repeat(1, blocks, 1)
            own, states[signal] = value, value.flatten(1).T
        else:
            value = at_rest[signal].repeat(blocks, 1)
            own, states[signal] = value.unflatten(0, (blocks, batch)).permute(2, 0, 1), value
        if signal in after:
            own[shared.units, shared.blocks] = of_units(after[signal])
    front = Front.of(states, rows, rows, whole=False)
    return of_states(slice(step, step + 1), front.rows, front.states, cell), front


def _changed_step(
    cell: Cell, moment: Moment, before: Mapping[Signal, Tensor], changes: Changes, step: int
) -> tuple[dict[Signal, Tensor], dict[Signal, Tensor], dict[Signal, Tensor]]:
    """Change one step: each signal in turn, and what follows from it, where and only where it follows."""
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
            result = choose(value, computed, differs, reached[signal])
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


def _rows_of(blocks: Tensor, batch: int) -> Tensor:
    return (blocks.unsqueeze(1) * batch + torch.arange(batch, device=blocks.device)).flatten()


def _onward(clean: Trace, front: Front, steps: slice, *, to_end: bool) -> tuple[Front, list[Piece]]:
    """Run the rows of a front through a stretch of steps, where there are any."""
    if steps.start >= steps.stop or front.is_empty:
        return front, []
    x = front.of_batch(clean.x[steps])
    piece, front = front.onward(clean, x, steps, to_end=to_end and steps.stop == len(clean.x))
    return front, [piece]


def _at_later(
    clean: Trace, change: tuple[Tensor, Changes], step: int, front: Front, batch: int
) -> tuple[Piece, Front]:
    """Change one step of some blocks, whose rows come from where they are, or from the clean run."""
    blocks, changes = change
    rows = _rows_of(blocks.to(front.rows.device), batch)
    moved = torch.isin(rows, front.rows)
    own = replace(front, rows=torch.searchsorted(rows, front.rows), moved=moved, reached=moved)
    piece, after = _at_step(clean, changes, step, len(blocks), None if front.is_empty else own)
    after = after.named(len(rows))
    rest = clean.before(step + 1) if step + 1 < len(clean.x) else clean.last
    places = after.rows % batch
    differ = torch.stack([(value != rest[signal][places]).any(1) for signal, value in after.states.items()]).any(0)
    return replace(piece, rows=rows), replace(after, rows=rows[after.rows]).among(differ)
