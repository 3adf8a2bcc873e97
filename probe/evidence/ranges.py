"""`Range`: the values that establish or refute a statement."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .claim_checks import check_range

Interval = tuple[float, float]


@dataclass(frozen=True)
class Range:
    """A range of values, its ends included unless it says otherwise.

    Attributes:
        low: lower end.
        high: upper end.
        open_low: whether the lower end itself lies outside.
        open_high: whether the upper end itself lies outside.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __post_init__(self) -> None:
        check_range(self.low, self.high)

    @classmethod
    def at_least(cls, bound: float) -> Range:
        """All values from the bound up."""
        return cls(low=bound)

    @classmethod
    def above(cls, bound: float) -> Range:
        """All values beyond the bound."""
        return cls(low=bound, open_low=True)

    @classmethod
    def at_most(cls, bound: float) -> Range:
        """All values up to the bound."""
        return cls(high=bound)

    @classmethod
    def below(cls, bound: float) -> Range:
        """All values short of the bound."""
        return cls(high=bound, open_high=True)

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def covers(self, interval: Interval) -> bool:
        """Return whether a whole interval lies inside."""
        return interval[0] in self and interval[1] in self

    def __str__(self) -> str:
        low = f"{'>' if self.open_low else '≥'} {self.low:g}"
        high = f"{'<' if self.open_high else '≤'} {self.high:g}"
        parts = [low] * math.isfinite(self.low) + [high] * math.isfinite(self.high)
        return " and ".join(parts) or "any value"
