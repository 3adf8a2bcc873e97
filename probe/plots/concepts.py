"""A concept beside a recording: its value at each step, which of them there are, and how they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ProbeError, several
from ..recording.aligned import aligned
from .recorded import Chosen

#: A line or a colour is drawn for each value; of more nobody can tell them apart.
MOST = 50


@dataclass(frozen=True, eq=False)
class Levels:
    """The values of a concept.

    Attributes:
        name: what the concept is called, or an empty text.
        codes: which value holds, (batch, time), as a place in `values`; -1 at padding and where it is not defined.
        values: the different values, ascending; texts are counted from 0.
        labels: the values as they are written.
        numeric: whether the values are numbers, so that their distances mean something.
    """

    name: str
    codes: np.ndarray
    values: np.ndarray
    labels: tuple[str, ...]
    numeric: bool

    def means(self, numbers: np.ndarray) -> np.ndarray:
        """Return the mean of a unit, (batch, time), at each value and step, (value, time); NaN without a row."""
        found = np.full((len(self.values), numbers.shape[1]), np.nan)
        for place in range(len(self.values)):
            rows = self.codes == place
            counts = rows.sum(axis=0)
            sums = np.where(rows, numbers, 0.0).sum(axis=0)
            np.divide(sums, counts, out=found[place], where=counts > 0)
        return found


def levels(given: Any, drawn: Chosen, argument: str, name: str = "") -> Levels:
    """Return a concept's values, (batch, time) or (batch,), aligned to what is drawn.

    Raises:
        ProbeError: it is not aligned, has values of another kind, no values, or more than 50 different ones.
    """
    title = name or str(getattr(given, "name", None) or "")
    batch, time = drawn.real.shape
    concept = aligned(given, batch, time, f"{argument}=")
    here = concept.known & drawn.real
    if not here.any():
        raise ProbeError(f"{argument}= is defined at no step that was recorded: there is nothing to draw.")
    kept = concept.values[here]
    different, places = np.unique(kept, return_inverse=True)
    if len(different) > MOST:
        raise ProbeError(
            f"{argument}= has {several(len(different), 'different value')}, and at most {MOST} can be drawn. Round "
            "it, or put it into bins."
        )
    codes = np.full(here.shape, -1)
    codes[here] = places
    labels = tuple(f"{one:g}" if concept.numeric else str(one) for one in different)
    along = different.astype(float) if concept.numeric else np.arange(len(different))
    return Levels(title, codes, along, labels, concept.numeric)
