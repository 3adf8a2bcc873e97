"""What runs in place of an edited module in a sweep: each edit from its first step, on rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...edits.kinds import Edit
from ...edits.resolve import Placed, by_place, changes_of, place_in_run
from ...recurrent.again.blocks import Blocks, Read, check_blocks, repeats, rows_of_block
from ...recurrent.again.engine import Changes, Shared, run_again
from ...recurrent.calls import Call, read_call, write_output
from ...recurrent.cells.cell import Cell
from ...recurrent.layers import Layer
from ...recurrent.runs import Run, reconstruct
from ..intervene import acts
from .unedited import CleanRun


def resuming(module: nn.Module, edits: Sequence[tuple[int, Edit, Layer]], clean: CleanRun, blocks: int) -> Any:
    """Return a forward that computes what the edits change, from where they begin to change it."""
    layers = clean.runs[module][0].layers
    calls = iter(zip(clean.runs[module], clean.places[module], strict=True))
    reached: set[int] = set()

    def forward(*arguments: Any, **keywords: Any) -> Any:
        call = read_call(layers, arguments, keywords)
        run, (number, first) = next(calls, (None, (-1, None)))
        active = [one for one in edits if run is not None and acts(one[1], number, first, len(call.x))]
        batch = rows_of_block(layers[0], call.x.shape[1], run, blocks)
        # What an adapter keeps of its call holds for all the rows of that call.
        if run is not None and call.adapter is None and repeats(run, call, blocks):
            reached.update(block for block, *_ in active)
            placed = [(*one, place_in_run(*one[1:], run, batch=batch, first=first)) for one in active]
            return _resumed(run, call, placed, blocks, clean.read)
        check_blocks(layers[0], run, call, [block for block, *_ in edits if block not in reached], blocks)
        reached.update(block for block, *_ in active)
        run = reconstruct(layers, arguments, keywords, type(module).forward(module, *arguments, **keywords))
        placed = [
            (block, place_in_run(edit, layer, run, batch=batch, first=first), layer) for block, edit, layer in active
        ]
        return run_again(run, changes_in(placed, batch)).output

    return forward


def changes_in(placed: Sequence[tuple[int, Placed, Layer]], batch: int) -> dict[int, Changes]:
    """Return what edits do to a run in which the edit of block n has rows n x batch to (n + 1) x batch.

    Args:
        placed: for each edit its block, where it acts in one block, and its layer.
        batch: how many rows a block has.
    """
    return by_place([(layer, one.at(block * batch)) for block, one, layer in placed])


def _resumed(run: Run, call: Call, edits: Sequence[tuple[int, Edit, Layer, Placed]], blocks: int, read: Read) -> Any:
    """Return a module's output for blocks of rows that all begin as the clean run does."""
    batch = run.call.x.shape[1]
    groups: dict[tuple[Layer, int], list[tuple[int, Placed]]] = {}
    for block, _, layer, placed in edits:
        if placed.places:
            groups.setdefault((layer, min(placed.places)), []).append((block, placed))
    out = Blocks(run, blocks, read)
    for (layer, first), members in groups.items():
        placed = [one for _, one in members]
        changes = changes_in([(number, one, layer) for number, one in enumerate(placed)], batch)[layer.place]
        out.rerun(
            layer,
            [block for block, _ in members],
            changes,
            _shared(run.traces[layer.place].cell, placed, first, batch),
        )
    return write_output(run.layers, out.hidden, out.finals, call)


def _shared(cell: Cell, placed: Sequence[Placed], first: int, batch: int) -> Shared | None:
    """Return how edits share their first step: those of other units lie on one sheet; None where units are mixed."""
    if any(formula.mixes for formula in cell.formulas):
        return None
    full: dict[int, int] = {}
    there, pairs = list[Placed](), list[tuple[int, int, int]]()
    for block, one in enumerate(placed):
        units = range(one.units.start, one.units.stop) if isinstance(one.units, slice) else one.units.tolist()
        sheet = max(full.get(unit, 0) for unit in units)
        full |= dict.fromkeys(units, sheet + 1)
        there.append(one.at(sheet * batch))
        pairs += [(block, sheet, unit) for unit in units]
    return Shared(changes_of(there, [first]), max(full.values()), *torch.tensor(pairs).T)
