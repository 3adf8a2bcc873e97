"""What runs in place of an edited module in a sweep: each edit from its first step, on rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...edits.kinds import Edit
from ...edits.resolve import Placed, beginnings, by_place, changes_of, place_in_run
from ...recurrent.again.blocks import Blocks, Read, check_blocks, repeats, rows_of_block
from ...recurrent.again.engine import Apart, Changes, Shared, rerun, rerun_apart, run_again
from ...recurrent.again.fronts import Rerun, is_whole
from ...recurrent.calls import Call, read_call, write_output
from ...recurrent.cells.cell import Cell
from ...recurrent.layers import Layer
from ...recurrent.runs import Run, Trace, reconstruct
from ..intervene import acts
from .unedited import CleanRun

#: Edits that begin at one step of a layer run apart from those of other steps if they have so many rows.
_APART = 512


def resuming(
    module: nn.Module, edits: Sequence[tuple[int, Edit, Layer]], clean: CleanRun, blocks: int, reached: set[int]
) -> Any:
    """Return a forward that computes what the edits change, from where they begin to change it.

    Args:
        module: the module.
        edits: its edits, each with its block and its layer.
        clean: the run without edits.
        blocks: how many blocks there are.
        reached: which of them an edit has reached, of this module or of another one; it grows as the model runs.
    """
    layers = clean.runs[module][0].layers
    calls = iter(zip(clean.runs[module], clean.places[module], strict=True))

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
    """Return what edits do to a run in which the edits of block n have rows n x batch to (n + 1) x batch.

    Args:
        placed: for each edit its block, where it acts in one block, and its layer.
        batch: how many rows a block has.
    """
    return by_place([(layer, one.at(block * batch)) for block, one, layer in placed])


def _resumed(run: Run, call: Call, edits: Sequence[tuple[int, Edit, Layer, Placed]], blocks: int, read: Read) -> Any:
    """Return a module's output for blocks of rows that all begin as the clean run does."""
    layers_of: dict[int, set[Layer]] = {}
    acting = [(block, placed, layer) for block, _, layer, placed in edits if placed.places]
    for block, _, layer in acting:
        layers_of.setdefault(block, set()).add(layer)
    groups: dict[frozenset[Layer], list[tuple[int, Placed, Layer]]] = {}
    for one in acting:
        groups.setdefault(frozenset(layers_of[one[0]]), []).append(one)
    out = Blocks(run, blocks, read)
    for layers, members in groups.items():
        for own in [members] if len(layers) > 1 else _by_first_step(members, run):
            _rerun(out, own, run.call.x.shape[1])
    return write_output(run.layers, out.hidden, out.finals, call)


def _by_first_step(members: list[tuple[int, Placed, Layer]], run: Run) -> list[list[tuple[int, Placed, Layer]]]:
    """Return edits of one layer in groups that begin at one step, where each of these has many rows of its own."""
    groups: dict[int, list[tuple[int, Placed, Layer]]] = {}
    for one in members:
        groups.setdefault(min(one[1].places), []).append(one)
    cell = run.traces[members[0][2].place].cell
    few = len(members) * run.call.x.shape[1] < _APART * len(groups)
    joined = is_whole(cell) or few or any(len(placed.places) > 1 for _, placed, _ in members)
    return [members] if joined else list(groups.values())


def _rerun(out: Blocks, members: Sequence[tuple[int, Placed, Layer]], batch: int) -> None:
    """Run the blocks of some edits again, of one layer or of several layers of a module."""
    numbers = {block: number for number, block in enumerate(sorted({block for block, *_ in members}))}
    listed = [(numbers[block], placed, layer) for block, placed, layer in members]
    by_layer: dict[Layer, list[tuple[int, Placed]]] = {}
    for number, placed, layer in listed:
        by_layer.setdefault(layer, []).append((number, placed))
    first = min(step for _, placed, _ in listed for step in placed.places)
    out.rerun(list(numbers), {layer.place: partial(_again, own, batch) for layer, own in by_layer.items()}, first)


def _again(members: Sequence[tuple[int, Placed]], batch: int, clean: Trace, blocks: int, to_end: bool) -> Rerun:
    """Run a layer again, from one step on for all blocks, or for each from its own step on."""
    placed = [one for _, one in members]
    steps = sorted({step for one in placed for step in one.places})
    if blocks == 1 or is_whole(clean.cell):
        changes = changes_of([one.at(number * batch) for number, one in members])
        return rerun(clean, changes, blocks, to_end=to_end)
    if len(steps) == 1 and len(members) == blocks:
        changes = changes_of([one.at(number * batch) for number, one in members])
        return rerun(clean, changes, blocks, _shared(clean.cell, placed, steps[0], batch), to_end=to_end)
    return rerun_apart(clean, _apart(members, blocks, batch), to_end=to_end)


def _apart(members: Sequence[tuple[int, Placed]], blocks: int, batch: int) -> Apart:
    """Return what edits do to blocks that begin at other steps."""
    first: dict[int, int] = {}
    for number, placed in members:
        step = min(placed.places)
        first[number] = min(step, first.get(number, step))
    later: dict[int, list[tuple[int, Placed]]] = {}
    for number, placed in members:
        for step in placed.places:
            if step > first[number]:
                later.setdefault(step, []).append((number, placed))
    return Apart(
        torch.tensor([first[number] for number in range(blocks)]),
        beginnings([(placed.at(number * batch), first[number]) for number, placed in members]),
        {step: _at_step(own, step, batch) for step, own in later.items()},
    )


def _at_step(members: Sequence[tuple[int, Placed]], step: int, batch: int) -> tuple[Tensor, Changes]:
    """Return which blocks some edits change at a step, and what happens to their rows."""
    blocks = sorted({number for number, _ in members})
    return torch.tensor(blocks), changes_of(
        [placed.at(blocks.index(number) * batch) for number, placed in members], [step]
    )


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
