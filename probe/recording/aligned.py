"""A concept beside a recording: its value at each recorded step of each sequence."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import ProbeError, check_has_numbers


@dataclass(frozen=True, eq=False)
class Aligned:
    """The values of a concept.

    Attributes:
        values: at each recorded step, (batch, time); those of texts as texts.
        known: where it is defined, (batch, time).
        numeric: whether the values are numbers, so that their distances mean something.
    """

    values: np.ndarray
    known: np.ndarray
    numeric: bool


def aligned(given: Any, batch: int, time: int, argument: str) -> Aligned:
    """Return a concept's values, one for each recorded step.

    Args:
        given: an array, (batch, time), or (batch,) of a concept that does not change within a sequence: numbers, or
            categories as booleans or texts. NaN, None or an empty text say that it is not defined there.
        batch: how many sequences were recorded.
        time: how many steps of each.
        argument: what it was given as, for messages.

    Raises:
        ProbeError: it has another shape, or values of another kind.
    """
    values, known = _array(given, argument)
    if values.shape not in ((batch, time), (batch,)):
        found = f"has the shape {values.shape}" if values.ndim else f"is one {type(given).__name__}"
        raise ProbeError(
            f"{argument} {found}; it needs a value for each recorded step, ({batch}, {time}) "
            f"(batch, time), or one for each sequence, ({batch},).{transposed(values.shape, batch, time)}"
        )
    if values.ndim == 1:
        values, known = (np.repeat(each[:, None], time, axis=1) for each in (values, known))
    if values.dtype.kind in "OUS":
        return Aligned(values.astype(str), known & (values.astype(str) != ""), numeric=False)
    if values.dtype.kind not in "biuf":
        raise ProbeError(f"{argument} holds {values.dtype}; a concept holds numbers, booleans or texts.")
    return Aligned(values, known & np.isfinite(values), numeric=values.dtype.kind != "b")


def check_finite(concept: Aligned, called: str) -> None:
    """Raise where a concept's value is infinite.

    Args:
        concept: the concept.
        called: what it is called, at the beginning of the message.
    """
    if concept.numeric and np.isinf(concept.values).any():
        raise ProbeError(f"{called} is infinite somewhere; make it NaN where it is not defined.")


def transposed(shape: tuple[int, ...], batch: int, time: int) -> str:
    """Return the hint for a concept that is given as (time, batch); nothing of another shape."""
    if shape != (time, batch):
        return ""
    return (
        f" It is transposed: ({time}, {batch}) is (time, batch). Sequences come first here, whatever a module's "
        "batch_first says: give values.T."
    )


def _check_order(given: Any, argument: str) -> None:
    """Refuse a Series whose index says that its rows stand in another order than the sequences."""
    import pandas as pd

    if not isinstance(given, pd.Series) or given.index.is_monotonic_increasing:
        return
    if sorted(map(str, given.index)) == sorted(map(str, range(len(given)))):
        raise ProbeError(
            f"{argument} is a Series whose index has the numbers of sequences in another order. Rows are taken as "
            "they stand: give .sort_index() of it, or .to_numpy() if they already stand in the order of x."
        )


def _array(given: Any, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """Return values as an array, numbers as numbers, and which are there: not None, masked or NA."""
    import pandas as pd

    if isinstance(given, Tensor):
        check_has_numbers(given, argument)
        given = given.detach().cpu()
        values = (given.float() if str(given.dtype) == "torch.bfloat16" else given).numpy()
        return values, np.ones(values.shape, dtype=bool)
    _check_order(given, argument)
    if str(getattr(given, "dtype", "")) == "category":
        given = np.asarray(given.astype(object))
        given = np.where(pd.isna(given), None, given.astype(str))
    if isinstance(getattr(given, "dtype", None), pd.api.extensions.ExtensionDtype):
        whole = np.asarray(given, dtype=object)
        given = np.where(pd.isna(whole), np.full(whole.shape, None), whole)
    if isinstance(given, (list, tuple)):
        given = np.array(given, dtype=object)
    values = np.asarray(given)
    known = ~np.ma.getmaskarray(given) & ~pd.isna(values)
    if values.dtype.kind == "O":
        kept = values[known]
        if any(isinstance(one, (list, tuple, np.ndarray)) for one in kept.ravel()):
            raise ProbeError(f"{argument} holds sequences of several lengths; fill them up with NaN or None.")
        if len(kept) and all(isinstance(one, (bool, np.bool_)) for one in kept):
            values = np.where(known, values, False).astype(bool)
        elif len(kept) and all(isinstance(one, Real) and not isinstance(one, (bool, np.bool_)) for one in kept):
            values = np.where(known, values, np.nan).astype(float)
    return values, known
