"""Runs a layer again with edits that begin at many steps: each block of rows from its own step on.

A row joins the run as its step comes, and leaves it where an edit sets its states back to the clean run's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..runs import Trace
from .engine import Changes, at_step
from .fronts import Front, Piece, Rerun


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


def rerun_apart(clean: Trace, apart: Apart, *, to_end: bool = False) -> Rerun:
    """Run one layer again with changes that begin at other steps in other blocks: each runs from its own step on.

    A row whose states a later change sets back to the clean run's has nothing more to run. Works without autograd.

    Args:
        clean: its run without changes.
        apart: what happens, in the layer's own order.
        to_end: whether nobody wants anything but the last step's output and states.
    """
    time, batch, pieces = len(clean.x), clean.x.shape[1], list[Piece]()
    whole, began = at_step(clean, apart.begin, apart.first, len(apart.first), None)
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
    piece, after = at_step(clean, changes, step, len(blocks), None if front.is_empty else own)
    after = after.named(len(rows))
    rest = clean.before(step + 1) if step + 1 < len(clean.x) else clean.last
    places = after.rows % batch
    differ = torch.stack([(value != rest[signal][places]).any(1) for signal, value in after.states.items()]).any(0)
    return replace(piece, rows=rows), replace(after, rows=rows[after.rows]).among(differ)
