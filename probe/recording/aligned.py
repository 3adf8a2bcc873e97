"""A concept beside a recording: its value at each recorded step of each sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ProbeError


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
    values = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if values.shape not in ((batch, time), (batch,)):
        raise ProbeError(
            f"{argument} has the shape {values.shape}; it needs a value for each recorded step, ({batch}, {time}) "
            f"(batch, time), or one for each sequence, ({batch},)."
        )
    if values.ndim == 1:
        values = np.repeat(values[:, None], time, axis=1)
    if values.dtype.kind in "OUS":
        import pandas as pd

        # A missing text is NaN in a table of pandas.
        texts = values.astype(str)
        return Aligned(texts, pd.notna(values) & (texts != ""), numeric=False)
    if values.dtype.kind not in "biuf":
        raise ProbeError(f"{argument} holds {values.dtype}; a concept holds numbers, booleans or texts.")
    return Aligned(values, np.isfinite(values), numeric=values.dtype.kind != "b")
