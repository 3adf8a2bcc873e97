"""The edits of one step in one batch: a row of strings for each unit, which nnsight's user writes by hand."""

from __future__ import annotations

from torch import Tensor, arange


def put(c: Tensor, values: Tensor) -> Tensor:
    """Write into the unit-th block of rows its unit's values, in place.

    Args:
        c: cell states, (unit x batch, unit).
        values: what is put in, (batch, unit).
    """
    units = c.shape[1]
    every = arange(units)
    c.view(units, -1, units)[every, :, every] = values.T
    return c


def rows(x: Tensor, units: int) -> Tensor:
    """Return a batch once for each unit, (unit x batch, ...)."""
    return x.repeat(units, *[1] * (x.dim() - 1))


def start_of(t: int, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor | int | None]:
    """Return the arguments with which the loop runs every unit's rows from a step on.

    Args:
        t: the first step.
        x: inputs of the loop, (batch, time, feature).
        h: its hidden states at every step, (time, batch, unit).
        c: its cell states.
    """
    units = h.shape[2]
    states = {"h": rows(h[t - 1], units), "c": rows(c[t - 1], units)} if t else {"h": None, "c": None}
    return {"x": rows(x, units), "start": t} | states
