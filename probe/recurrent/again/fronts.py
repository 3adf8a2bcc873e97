"""The rows of a layer's run that differ from the clean one: where they are, how they go on, and the run with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import kernels
from ..cells.cell import Cell
from ..cells.step_cell import StepCell
from ..runs import Opened, Trace
from ..signals import Signal, States

#: The index of all rows.
ALL = slice(None)
#: All rows run where fewer than one in so many stayed.
_MOST = 8


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

    def among(self, step: int, which: Tensor) -> Piece:
        """Return some rows of a piece of one step and of all rows, as those of another step."""

        def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
            return {signal: values[:, which] for signal, values in self.compute(keep).items()}

        return Piece(slice(step, step + 1), which, self.h[:, which], compute)


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


def choose(clean: Tensor, changed: Tensor, moved: Tensor, reached: Tensor) -> Tensor:
    """Return changed values where they moved, and the module's own elsewhere.

    Where an edit set what was there already, the gradient still runs through the edit: what it put in is a constant,
    whatever its value.
    """
    if torch.is_grad_enabled() and (changed.requires_grad or clean.requires_grad):
        clean = torch.where(reached, _SameValue.apply(clean, changed), clean)
    return torch.where(moved, changed, clean)


def goes_whole(moved: Tensor) -> bool:
    """Return whether all rows run, where so many moved that to pick them out would cost more."""
    return int(moved.sum()) * _MOST >= len(moved) * (_MOST - 1)


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
        if whole or goes_whole(moved):
            return cls(ALL, states, moved, reached)
        rows = moved.nonzero().flatten()
        return cls(rows, {signal: value.index_select(0, rows) for signal, value in states.items()}, moved, reached)

    @property
    def is_empty(self) -> bool:
        """Whether no row is left."""
        return not (self.reached.any() if self.rows is ALL else len(self.rows))

    def named(self, count: int) -> Front:
        """Return the front with its rows by their numbers, where there are so many; without autograd."""
        if self.rows is not ALL:
            return self
        return replace(self, rows=torch.arange(count, device=self.moved.device)).among(self.moved)

    def among(self, which: Tensor) -> Front:
        """Return the front of some of its rows, given a mask; its rows must be named."""
        return replace(self, rows=self.rows[which], states={one: value[which] for one, value in self.states.items()})

    def beside(self, other: Front) -> Front:
        """Return the front with the rows of another one behind its own."""
        states = {signal: torch.cat([value, other.states[signal]]) for signal, value in self.states.items()}
        return replace(self, rows=torch.cat([self.rows, other.rows]), states=states)

    def of_batch(self, values: Tensor) -> Tensor:
        """Return values of the clean run, (time, batch, unit), for these rows."""
        batch = values.shape[1]
        if self.rows is not ALL:
            return values.index_select(1, self.rows % batch)
        return repeated(values, len(self.moved) // batch)

    def choose(self, clean: Callable[[], Tensor], changed: Tensor) -> Tensor:
        """Return changed values of these rows, (..., row, unit), where they moved, and the module's own elsewhere.

        Args:
            clean: gives values of the clean run, (..., batch, unit).
            changed: what was computed of these rows. Without autograd it may be written into.
        """
        if self.rows is not ALL:
            return changed
        if not torch.is_grad_enabled():
            stayed = (~self.moved).nonzero().flatten()
            if not len(stayed):
                return changed
            own = clean()
            return changed.index_copy_(-2, stayed, own.index_select(-2, stayed % own.shape[-2]))
        return choose(clean(), changed, self.moved.unsqueeze(-1), self.reached.unsqueeze(-1))

    def onward(self, clean: Trace, x: Tensor, steps: slice, *, to_end: bool = False) -> tuple[Piece, Front]:
        """Run these rows through a stretch of steps on the kernel.

        Args:
            clean: the layer's run without changes.
            x: what these rows read in the stretch, (time, row, input).
            steps: which steps of the layer's own order.
            to_end: whether nobody wants anything but the end of the run, which the stretch reaches. Without autograd.
        """
        if clean.lengths is not None:
            left = self.of_batch(clean.lengths.to(x.device).view(1, -1, 1)).flatten().cpu() - steps.start
            left = left.clamp(0, len(x))
            h, last = kernels.run_layer(clean.layer, clean.cell, x, self.states, left)
        elif is_whole(clean.cell):
            h, last = kernels.run_layer(clean.layer, clean.cell, x, self.states)
        else:
            h, last = kernels.run_some(clean.layer, clean.cell, x, self.states, to_end=to_end)

        def after(signal: Signal) -> Tensor:
            return (clean.before(steps.stop) if steps.stop < len(clean.x) else clean.last)[signal]

        # Of a run whose end alone is wanted they lie in memory of their own.
        own = last if h is None else {one: value.clone() for one, value in last.items()}
        states = {one: self.choose(lambda one=one: after(one), value) for one, value in own.items()}
        onward = replace(self, states=states)
        if h is None:
            return of_states(slice(steps.stop - 1, steps.stop), self.rows, states, clean.cell), onward
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


def spliced(clean: Tensor, pieces: Sequence[Piece], values: Sequence[Tensor], blocks: int = 1) -> list[Tensor]:
    """Return values of a whole run, (time, block x batch, unit), in stretches: the clean ones and those of pieces."""
    if any(piece.rows is not ALL for piece in pieces):
        whole = repeated(clean, blocks).clone() if blocks == 1 else repeated(clean, blocks)
        for piece, value in zip(pieces, values, strict=True):
            whole[piece.steps, piece.rows] = value
        return [whole]
    parts, done = list[Tensor](), 0
    for piece, value in zip(pieces, values, strict=True):
        if piece.steps.start > done:
            parts.append(repeated(clean[done : piece.steps.start], blocks))
        parts.append(value)
        done = piece.steps.stop
    return [*parts, repeated(clean[done:], blocks)] if done < len(clean) else parts


def with_input(clean: Trace, x: Tensor, blocks: int = 1, *, start: int = 0, to_end: bool = False) -> Rerun | None:
    """Run a layer again on another input; None where nothing of it is another.

    Args:
        clean: its run without changes.
        x: the input, (time, block x batch, input), in the layer's own order.
        blocks: how many blocks of rows there are.
        start: the first step at which it may be another.
        to_end: whether nobody wants anything but the last step's output and states.
    """
    whole, first = is_whole(clean.cell), None
    moved = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    for step in range(start, len(x)):
        # A row that has been found to differ is not compared again.
        rows = (~moved).nonzero().flatten()
        if not len(rows):
            break
        every = len(rows) == len(moved)
        own = repeated(clean.x[step], blocks) if every else clean.x[step].index_select(0, rows % clean.x.shape[1])
        moved[rows] = (own != (x[step] if every else x[step].index_select(0, rows))).any(-1)
        first = step if first is None and bool(moved.any()) else first
    reached = torch.ones_like(moved) if x.requires_grad else moved
    if not bool(reached.any()):
        return None
    first = 0 if whole or first is None else first
    states = {signal: repeated(value, blocks) for signal, value in clean.before(first).items()}
    front = Front.of(states, moved, reached, whole=whole)
    read = x[first:] if front.rows is ALL else x[first:, front.rows]
    piece, front = front.onward(clean, read, slice(first, len(x)), to_end=to_end)
    return Rerun([piece], front)


def changed(clean: Trace, found: Rerun, x: Tensor | None = None, blocks: int = 1) -> Trace:
    """Return the changed run of a layer.

    Args:
        clean: its run without changes.
        found: how the changed run differs.
        x: what it read in place of its input, (time, block x batch, input).
        blocks: how many times the rows of the clean run are there.
    """
    pieces, front = found.pieces, found.front

    def compute(keep: Sequence[Signal]) -> Opened:
        found = [piece.compute(keep) for piece in pieces]
        signals = {
            one: torch.cat(spliced(clean.signals[one], pieces, [values[one] for values in found], blocks))
            for one in keep
        }
        return Opened(signals, clean.opened.error, clean.opened.step)

    def of_end(signal: Signal) -> Tensor:
        return repeated(clean.last[signal], blocks)

    h = spliced(clean.h, pieces, [piece.h for piece in pieces], blocks)
    final = {
        signal: front.choose(lambda signal=signal: of_end(signal), value.clone())
        if front.rows is ALL
        else of_end(signal).index_copy(0, front.rows, value)
        for signal, value in front.states.items()
    }
    return replace(
        clean,
        x=clean.x if x is None else x,
        initial={signal: repeated(value, blocks) for signal, value in clean.initial.items()},
        pieces=tuple(h),
        final=final,
        lengths=None if clean.lengths is None else clean.lengths.repeat(blocks),
        compute=compute,
        clean=clean,
    )


def is_whole(cell: Cell) -> bool:
    """Return whether all rows run: autograd needs them, and a step of somebody's own may know them by their place."""
    return torch.is_grad_enabled() or isinstance(cell, StepCell)


def repeated(values: Tensor, blocks: int) -> Tensor:
    """Return (..., batch, unit) for each of several blocks of rows."""
    return values if blocks == 1 else values.repeat(*[1] * (values.dim() - 2), blocks, 1)


def of_states(steps: slice, rows: Any, states: States, cell: Cell) -> Piece:
    """Return a piece of one step of which nobody asks for more than its states."""

    def compute(keep: Sequence[Signal]) -> dict[Signal, Tensor]:
        return {signal: states[signal].unsqueeze(0) for signal in keep}

    return Piece(steps, rows, states[cell.output].unsqueeze(0), compute)
