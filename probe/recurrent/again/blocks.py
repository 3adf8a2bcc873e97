"""Runs blocks of rows again, each with edits of its own, where each block begins as the clean run does.

And tells whether a call was given such blocks: whoever repeats a model's inputs does not see what the model makes of
them before a layer reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import memory
from ..calls import Call, own_order
from ..layers import Layer
from ..rows.batches import DependentRowsError, close
from ..runs import Run, Trace, join
from ..signals import span
from .fronts import Rerun, changed, spliced, with_input

#: Runs a layer again with changes of its own: given its run without them, how many times each of its rows is there,
#: and whether nobody wants anything but the last step.
Again = Callable[[Trace, int, bool], Rerun]


@dataclass(frozen=True)
class Read:
    """What somebody reads of a module's results, beside its last step.

    Attributes:
        steps: whether the steps before the last.
        finals: whether the last states of its layers.
    """

    steps: bool = True
    finals: bool = True


class Blocks:
    """What a module returns for many blocks of rows, all of them the clean run's at first.

    Args:
        run: the clean run of one block.
        blocks: how many there are.
        read: which of it is read.
        unread: what stands in the place of the rest, one number or one for each row, (row, 1).

    Attributes:
        hidden: the hidden states of the top level, (time, block x batch, direction x unit).
        finals: each layer's last states, (block x batch, unit) each.
    """

    def __init__(self, run: Run, blocks: int, read: Read, unread: Tensor | float = float("nan")) -> None:
        self._run, self._batch, self._read = run, run.call.x.shape[1], read
        top = join(run.level(run.layers[-1].level))
        if read.steps:
            self.hidden = _tiled(top, blocks)
        else:
            self.hidden = memory.empty((len(top), blocks * self._batch, top.shape[2]), top)
            self.hidden[:-1] = unread
            self.hidden[-1].unflatten(0, (blocks, -1)).copy_(top[-1])
        self.finals = [
            {
                signal: value.repeat(blocks, 1)
                if read.finals
                else torch.as_tensor(unread).to(value).expand(blocks * self._batch, value.shape[1])
                for signal, value in trace.last.items()
            }
            for trace in run.traces
        ]

    def rerun(self, blocks: Sequence[int], own: Mapping[int, Again], first: int) -> None:
        """Run some blocks again with changes of their own.

        Args:
            blocks: which blocks.
            own: what runs a layer again with its changes, by the layer's place in its module.
            first: the first step, in the layers' own order, that changes.
        """
        where, count = span(blocks), len(blocks)
        rows = (
            slice(where.start * self._batch, where.stop * self._batch)
            if isinstance(where, slice)
            else (where.unsqueeze(1) * self._batch + torch.arange(self._batch)).flatten().to(self.hidden.device)
        )
        layers, x = self._run.layers, None
        start = 0 if any(one.reads_back for one in layers) else first
        levels = [layer.level for layer in layers if layer.place in own]
        for level in range(min(levels), layers[-1].level + 1):
            traces, top = self._run.level(level), level == layers[-1].level
            ends = top and not self._read.steps
            found = [self._found(trace, x, own.get(trace.layer.place), count, start, ends=ends) for trace in traces]
            if not any(found):
                if level >= max(levels):
                    return
                x = None
                continue
            x = self.hidden if top else _tiled(join(traces), count)
            for side, trace, runs in zip(
                x.split([trace.h.shape[2] for trace in traces], dim=-1), traces, found, strict=True
            ):
                for base, one in runs:
                    self._put(side, rows if top else slice(0, x.shape[1]), base, one, ends=ends)
                    which = _among(rows, one.front.rows)
                    for signal, value in one.front.states.items() if self._read.finals else ():
                        self.finals[trace.layer.place][signal][which] = value

    def _found(
        self, trace: Trace, x: Tensor | None, own: Again | None, count: int, start: int, *, ends: bool
    ) -> list[tuple[Trace, Rerun]]:
        """Return a layer's runs on what it reads now, and with its own changes, each with the run that it changed."""
        found = list[tuple[Trace, Rerun]]()
        if x is not None:
            x = own_order(x, trace.layer, _repeated(trace.lengths, count))
            below = with_input(trace, x, count, start=start, to_end=ends and own is None)
            found += [] if below is None else [(trace, below)]
        if own is not None and found:
            trace, count = changed(trace, found[0][1], x, count), 1
        return found if own is None else [*found, (trace, own(trace, count, ends))]

    def _put(self, out: Tensor, rows: Any, trace: Trace, one: Rerun, *, ends: bool) -> None:
        """Write what a layer returns into rows of a level's hidden states, or of their last step alone."""
        values = [piece.h for piece in one.pieces]
        if trace.layer.reads_back:
            count = out[:, rows].shape[1] // trace.x.shape[1]
            own = torch.cat(spliced(trace.h, one.pieces, values, count))
            out[:, rows] = own_order(own, trace.layer, _repeated(trace.lengths, count))
            return
        for piece, value in zip(one.pieces, values, strict=True):
            if not ends or piece.steps.stop == len(out):
                out[piece.steps, _among(rows, piece.rows)] = value


def _among(rows: Any, which: Any) -> Any:
    """Return some of the rows that an index names, as an index."""
    if isinstance(which, slice):
        return rows
    return which + rows.start if isinstance(rows, slice) else rows[which]


def _tiled(values: Tensor, blocks: int) -> Tensor:
    """Return (time, batch, unit) for each of several blocks of rows, in memory that may have been used before."""
    time, batch, units = values.shape
    tiled = memory.empty((time, blocks, batch, units), values)
    return tiled.copy_(values.unsqueeze(1)).flatten(1, 2)


def _repeated(lengths: Tensor | None, count: int) -> Tensor | None:
    return None if lengths is None else lengths.repeat(count)


def rows_of_block(layer: Layer, rows: int, clean: Run | None, blocks: int) -> int:
    """Return how many rows of a call belong to one block.

    Raises:
        DependentRowsError: the clean call had another number of rows.
    """
    if clean is not None and rows != blocks * clean.call.x.shape[1]:
        raise DependentRowsError(
            f"Layer {layer.name!r} read {clean.call.x.shape[1]} rows, and {rows} when the inputs were repeated for "
            f"{blocks} edits: their batch is another axis."
        )
    return rows // blocks


def repeats(run: Run, call: Call, blocks: int) -> bool:
    """Return whether a call was given what the clean run was given, once for each block of rows."""
    x = run.call.x
    if any(len(value) != call.x.shape[1] for states in call.initial for value in states.values()):
        return False
    if call.x.shape != (x.shape[0], blocks * x.shape[1], x.shape[2]):
        return False
    return all(torch.equal(many, one.expand_as(many)) for one, many in _given(run.call, call, blocks))


def check_blocks(layer: Layer, run: Run | None, call: Call, places: Sequence[int], blocks: int) -> None:
    """Raise where some blocks, which no edit has reached yet, are given something else than the clean run was.

    Args:
        layer: any layer of the module called.
        run: the clean run of the call, or None where there was none.
        call: what the module was given now.
        places: which blocks.
        blocks: how many there are.

    Raises:
        DependentRowsError: they are: the rows are in another order, or depend on each other.
    """
    if run is None or not places:
        return
    places = sorted({*places})
    rows = {len(value) for states in call.initial for value in states.values()} - {call.x.shape[1]}
    if rows and call.has_state:
        raise DependentRowsError(
            f"Layer {layer.name!r} was given a state of {min(rows)} rows beside {call.x.shape[1]} rows of input: the "
            "model makes it for a fixed number of rows."
        )
    for one, many in _given(run.call, call, blocks):
        if not close(one, many if len(places) == blocks else many[:, places]):
            raise DependentRowsError(
                f"Layer {layer.name!r} reads something else for a row when all rows are there {blocks} times, one "
                "repetition after the other: its rows are in another order, or depend on each other."
            )


def _given(clean: Call, call: Call, blocks: int) -> list[tuple[Tensor, Tensor]]:
    """Return what two calls were given, (time, 1, batch, number) and (time, block, batch, number)."""
    pairs = [(clean.x, call.x)]
    given = clean.has_state or call.has_state
    for one, many in zip(clean.initial, call.initial, strict=True) if given else ():
        pairs += [(value.unsqueeze(0), many[signal].unsqueeze(0)) for signal, value in one.items()]
    return [(one.unsqueeze(1), many.unflatten(1, (blocks, -1))) for one, many in pairs]
