"""What is measured of anything that is put in: how the answers follow it, and how far it lies off support."""

from __future__ import annotations

from dataclasses import dataclass

from .interchange import Interchange, Scores
from .pairs import Pairs, Put
from .support import OffSupport
from .task import Task


@dataclass(frozen=True)
class Followed:
    """How answers follow what is put in.

    Attributes:
        scores: the scores of the interchange.
        off_support: the median distance of the patched states from the states that occur, in spacings of the concept;
            NaN where it is not known.
    """

    scores: Scores
    off_support: float

    def numbers(self) -> dict[str, float]:
        """Return `score`, `iia` (interchange intervention accuracy), `shift` and `off_support`."""
        scores = self.scores
        return {"score": scores.score, "iia": scores.iia, "shift": scores.shift, "off_support": self.off_support}


class Experiment:
    """Pairs, ready for any number of things that are put in.

    Args:
        pairs: which rows, and after which step.
        task: what a state is thought to hold.
        support: whether distances are measured; the concept must be a number then.
        seed: of the pairs whose distances are measured.

    Attributes:
        apart: the median distance from a state that occurs to the nearest other one, in spacings of the concept; NaN
            where it is not known.

    Raises:
        ProbeError: the concept does not have the machine's rows and steps; or distances are measured, and rows that
            have read the same differ in the concept.
    """

    def __init__(self, pairs: Pairs, task: Task, *, support: bool = True, seed: int = 0) -> None:
        self._interchange = Interchange(pairs, task)
        self._support = OffSupport(pairs, task, seed=seed) if support else None
        self.apart = float("nan") if self._support is None else self._support.apart

    def follow(self, put: Put) -> Followed:
        """Return how answers follow what is put in.

        Args:
            put: what is put in.
        """
        far = float("nan") if self._support is None else self._support.distance(put)
        return Followed(self._interchange.scores(put), far)
