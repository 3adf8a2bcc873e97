"""A concept beside a recording: its value at each step, which of them there are, and how they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from ..errors import ProbeError, several
from ..recording.aligned import aligned
from .legends import LINES
from .recorded import Chosen
from .style import VALUES, colours, name_colours, palette_colours

#: Of other numbers than whole ones so many are drawn one by one; more are put into bins, and so are more than `LINES`
#: values of any kind.
_OTHER = 12
#: Bins, at the most.
_BINS = 12


@dataclass(frozen=True, eq=False)
class Levels:
    """The values of a concept, or the bins that they are in.

    Attributes:
        name: what the concept is called, or an empty text.
        codes: which value or bin holds, (batch, time), as a place in `values`; -1 at padding and where it is not
            defined.
        values: the different values, ascending; texts are counted from 0; of a bin its middle.
        labels: the values as they are written; `0.5 to 1` of a bin, which its upper end is none of.
        numeric: whether the values are numbers, so that their distances mean something.
        numbers: the concept's own, (batch, time), NaN where `codes` are -1; of texts the codes.
        wide: how wide the bins are; 0 where there are none.
    """

    name: str
    codes: np.ndarray
    values: np.ndarray
    labels: tuple[str, ...]
    numeric: bool
    numbers: np.ndarray
    wide: float

    @property
    def shown(self) -> list[float | str]:
        """The values as a table has them: numbers, or names; of bins their names."""
        return list(self.labels) if self.wide or not self.numeric else [float(one) for one in self.values]

    def colours(self, palette: Any) -> list[str]:
        """Return a colour for each value: of numbers along a scale, of names, which have no order, hues."""
        own = colours(len(self.labels), VALUES) if self.numeric else name_colours(len(self.labels))
        return palette_colours(palette, self.labels, own)

    @property
    def title(self) -> str:
        """The concept's name as the title of an axis, which says how wide the bins are."""
        name = self.name or "concept"
        return f"{name} (in bins of {self.wide:g})" if self.wide else name

    def means(self, numbers: np.ndarray) -> np.ndarray:
        """Return the mean of a unit, (batch, time), at each value and step, (value, time); NaN without a row."""
        found = np.full((len(self.values), numbers.shape[1]), np.nan)
        for place in range(len(self.values)):
            rows = self.codes == place
            counts = rows.sum(axis=0)
            sums = np.where(rows, numbers, 0.0).sum(axis=0)
            np.divide(sums, counts, out=found[place], where=counts > 0)
        return found

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Return of each unit, (batch, time, unit), the share of its variance between values; 0 of a constant."""
        here = self.codes >= 0
        kept, codes = values[here], self.codes[here]
        kept = kept - kept.mean(axis=0)
        which = codes == np.arange(len(self.values))[:, None]
        means = (which @ kept) / which.sum(axis=1)[:, None]
        between, every = (which.sum(axis=1) @ means**2), (kept**2).sum(axis=0)
        return np.divide(between, every, out=np.zeros(len(every)), where=np.ptp(kept, axis=0) > 0)


def levels(given: Any, drawn: Chosen, argument: str, name: str = "") -> Levels:
    """Return a concept's values, (batch, time) or (batch,), aligned to what is drawn; many numbers are put into bins.

    Raises:
        ProbeError: it is not aligned, has values of another kind, no values, or more than 32 different texts.
    """
    called = name or str(getattr(given, "name", None) or "")
    batch, time = drawn.real.shape
    concept = aligned(given, batch, time, f"{argument}=")
    here = concept.known & drawn.real
    if not here.any():
        raise ProbeError(f"{argument}= is defined at no step that was recorded: there is nothing to draw.")
    kept = concept.values[here]
    different, places = np.unique(kept, return_inverse=True)
    if not concept.numeric:
        different, places = _in_order(given, different, places)
    labels, wide = tuple(_numbers(different) if concept.numeric else map(str, different)), 0.0
    along = different.astype(float) if concept.numeric else np.arange(len(different))
    if concept.numeric and len(different) > (LINES if (along == along.round()).all() else _OTHER):
        along, labels, places, wide = _bins(kept.astype(float))
    elif len(different) > LINES:
        raise ProbeError(
            f"{argument}= has {several(len(different), 'different text')}, and at most {LINES} can be drawn. Give "
            "some of them one name."
        )
    codes, numbers = np.full(here.shape, -1), np.full(here.shape, np.nan)
    codes[here] = places
    numbers[here] = kept.astype(float) if concept.numeric else places
    return Levels(called, codes, along, labels, concept.numeric, numbers, wide)


def _in_order(given: Any, different: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return names and which one each value is, in the order of a Categorical of pandas, else of the alphabet."""
    kind = getattr(given, "dtype", None)
    named = [str(one) for one in getattr(kind, "categories", ())]
    if not set(map(str, different)) <= set(named):
        return different, places
    order = np.argsort([named.index(str(one)) for one in different])
    return different[order], np.argsort(order)[places]


def _numbers(different: np.ndarray) -> list[str]:
    """Return different numbers as texts that differ, with no more digits than that takes."""
    for digits in range(6, 17):
        found = [f"{one:.{digits}g}" for one in different]
        if len(set(found)) == len(found):
            return found
    return [f"{one:.17g}" for one in different]


def _bins(numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, float]:
    """Return middles and names of bins with round ends, which of them each number is in, and how wide they are."""
    locator = MaxNLocator(_BINS, steps=[1, 2, 2.5, 5, 10])
    edges = np.asarray(locator.tick_values(float(numbers.min()), float(numbers.max())))
    filled, places = np.unique(np.searchsorted(edges[1:-1], numbers, side="right"), return_inverse=True)
    # Adding 0 takes the sign off a zero.
    ends = np.column_stack([edges[filled], edges[filled + 1]]) + 0.0
    minus = "\N{MINUS SIGN}"
    labels = tuple(f"{low:g} to {high:g}".replace("-", minus) for low, high in ends)
    return ends.mean(axis=1), labels, places, float(edges[1] - edges[0])
