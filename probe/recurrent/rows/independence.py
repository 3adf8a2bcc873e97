"""Tests whether the rows of a batch depend on each other: some of them run again, in another order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .batches import DependentRowsError, allowed, close, map_tensors

#: What part of what `close` allows a row may move among other rows before rounding is measured.
_NEAR = {torch.float64: 1e-3, torch.float32: 1e-2}
#: How many times the rounding that was measured it may then move.
_ROUNDING = 30
#: How many orders are drawn; where none of so many keeps neighbours apart, any will do.
_DRAWS = 100
#: So many rows are enough, of any batch.
_MOST = 16
Values = Mapping[str, Tensor]


@lru_cache(maxsize=64)
def other_order(rows: int, left_out: int) -> tuple[int, ...]:
    """Return some rows of a batch, half at most, in an order that shows whether they depend on each other.

    No row keeps its place or a neighbour, and another one is the last: what depends on any of these changes.

    Args:
        rows: how many there are, 3 or more.
        left_out: a row that is none of them.
    """
    draws, places = random.Random(0), [row for row in range(rows) if row != left_out]
    order = tuple(places)
    for _ in range(_DRAWS):
        order = tuple(draws.sample(places, min((rows + 1) // 2, _MOST)))
        apart = all(abs(one - other) > 1 for one, other in pairwise(order))
        if apart and order[-1] != rows - 1 and all(place != row for place, row in enumerate(order)):
            break
    return order


def check_independence(
    run: Callable[[Sequence[int]], Values], whole: Values, rows: int, *, joined: bool = False
) -> None:
    """Raise where what a model gives for a row depends on the other rows of the batch, or on its place.

    Args:
        run: gives the same values for some rows, by their numbers.
        whole: values of all rows, such as `{"of the output": ...}`. Those that do not grow with the batch are passed
            over. Others may be shorter for some rows along axes that are not the batch's: a model may leave out steps
            at which all rows are padded.
        rows: how many there are; of one alone nothing is asked.
        joined: whether values of later rows are put behind them, along the batch's axis.

    Raises:
        DependentRowsError: it does; the message names a row.
    """
    if rows < 2 or not whole:
        return
    if rows == 2:
        # Each alone; several times, unless others are too: a model may squeeze a batch of one row away.
        orders = [(1,), (0,)] if joined else [(1,) * 4, (0,) * 4]
    else:
        orders = [other_order(rows, _largest_row(list(whole.values())[-1], rows))]
        if joined:
            # And the others: one of the two runs is without the row that all may be compared with, whichever it is.
            others = [row for row in reversed(range(rows)) if row not in orders[0]]
            orders.append(tuple(others[:_MOST]))
    for order in orders:
        try:
            some = run(order)
        except DependentRowsError:
            # A model may take so many rows as there are, or several times so many, and no others.
            order = (order * 4)[: 2 * rows]  # noqa: PLW2901 (the same rows, more often)
            some = run(order)
        rounding: Mapping[str, float] = {}
        if some.keys() != whole.keys():
            raise DependentRowsError(
                f"The model returns {len(whole)} tensors for {rows} rows and {len(some)} for {len(order)}."
            )
        for name, value in whole.items():
            change, near = _change(value, some[name], rows, order, joined=joined), _NEAR.get(value.dtype, 1.0)
            worst, most = float(change.max()), allowed(value)
            if worst <= near * most:
                continue
            rounding = rounding or _rounding(run, order, some, joined=joined)
            if worst > min(most, _ROUNDING * rounding[name]):
                chaotic = (
                    f", or rounding grows so far that it cannot be told (by {rounding[name]:.3g} when they run twice)"
                    if rounding[name] > most
                    else ""
                )
                raise DependentRowsError(
                    f"Row {order[int(change.argmax())]} {name} changes (by {worst:.3g}) when other rows are left out "
                    f"and the rest change their order: it depends on them, or on its own place{chaotic}."
                )


def _rounding(
    run: Callable[[Sequence[int]], Values], order: Sequence[int], some: Values, *, joined: bool
) -> Mapping[str, float]:
    """Return how far values move where no row can depend on another: the same rows, more often or less."""
    every = [*range(len(order))]
    sizes = [every * 2, every * 4] + [[0, 1]] * (len({*order}) == 1 and len(order) > 2)
    found = dict.fromkeys(some, 0.0)
    for places in sizes:
        again = run([order[place] for place in places])
        for name, value in some.items():
            change = _change(value, again[name], len(order), places, joined=joined, near=0.0)
            found[name] = max(found[name], float(change.max()))
    return found


def named(output: Any) -> dict[str, Tensor]:
    """Return the tensors of an output, each under a name for a message: `of the output`."""
    found: list[Tensor] = []
    map_tensors(found.append, output)
    if len(found) == 1:
        return {"of the output": found[0]}
    return {f"of the output's tensor {place}": one for place, one in enumerate(found)}


def _largest_row(values: Tensor, rows: int) -> int:
    """Return which row has the largest number, by its size: the others may have been divided by it."""
    axes = [axis for axis, size in enumerate(values.shape) if size == rows]
    if not axes or not values.numel() or values.dtype == torch.bool:
        return 0
    return int(values.abs().movedim(axes[0], 0).reshape(rows, -1).amax(1).argmax())


def _change(
    whole: Tensor, some: Tensor, rows: int, order: Sequence[int], *, joined: bool, near: float | None = None
) -> Tensor:
    """Return how far the values of each chosen row lie from those among all rows, (place,); what is near counts 0."""
    near = _NEAR.get(whole.dtype, 1.0) if near is None else near
    still = torch.zeros(len(order))
    if whole.shape == some.shape:
        return still
    grew = [
        axis
        for axis, (one, other) in enumerate(zip(whole.shape, some.shape, strict=False))
        if whole.dim() == some.dim() and one != other and one * len(order) == other * rows
    ]
    if not grew:
        raise DependentRowsError(
            f"The model gives shape {tuple(whole.shape)} for {rows} rows and {tuple(some.shape)} for {len(order)}: "
            "its rows depend on each other, or have no axis of their own."
        )
    changes: list[Tensor] = []
    for axis in grew:
        for one, other in _lain(whole, some, axis, rows, order, joined=joined):
            if near and close(one, other, near):
                return still
            changes.append(_apart(one, other).movedim(axis + 1, 0).flatten(1).amax(1))
    # Without any there are fewer values than rows, such as one for two of them, and none for each.
    return min(changes, key=lambda one: float(one.max()), default=still)


def _lain(
    whole: Tensor, some: Tensor, axis: int, rows: int, order: Sequence[int], *, joined: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the chosen rows of both, (..., outer, place, inner, ...), for each way in which rows may lie."""
    chosen = torch.tensor(order, device=whole.device)
    each, left = divmod(whole.shape[axis], rows)
    for outer in range(1, (1 if joined else each) + 1) if not left else ():
        if each % outer == 0 and whole.numel():
            one = whole.unflatten(axis, (outer, rows, -1)).index_select(axis + 1, chosen)
            other = some.unflatten(axis, (outer, len(order), -1))
            shared = tuple(slice(min(sizes)) for sizes in zip(one.shape, other.shape, strict=True))
            yield one[shared], other[shared]


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Return how far numbers lie apart; not at all where both are NaN or the same infinity."""
    wide = torch.complex128 if one.is_complex() else torch.float64
    one, other = one.to(wide), other.to(wide)
    same = (one == other) | (one.isnan() & other.isnan())
    return (one - other).abs().nan_to_num(float("inf")).masked_fill(same, 0.0)
