"""`Lags`: differences by lag as horizons, cut off where the run ends before they do, and their quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..arguments import TEXT, checked_arguments
from ..errors import ProbeError, unknown
from ..intervals import bootstrap_counts, percentile_interval

#: From answers, (batch, step, number), to decisions, (batch, step).
Decide = Callable[[np.ndarray], np.ndarray]
#: A difference of so many units in the last place, of a number's largest value, is rounding.
_ROUNDING = 64
#: A run of less than so many horizons may hide how long they are.
_SHORT = 4


@dataclass(frozen=True, eq=False)
class Lags:
    """Differences that replaced states made.

    Attributes:
        times: after which steps.
        differences: (row, time, lag); NaN where the row has ended.
        changed: which decisions are others, alike; None where none were asked for.
        limits: above which a difference counts, (row, time).
        halves: half of the first difference, alike.
        seed: of the intervals.
    """

    times: np.ndarray
    differences: np.ndarray
    changed: np.ndarray | None
    limits: np.ndarray
    halves: np.ndarray
    seed: int

    @classmethod
    def of(cls, times: Any, found: Any, *, limit: float | None, share: float, seed: int) -> Lags:
        """Return differences with what counts: above a limit, or above a share of the first lag that has any."""
        differences, changed = found
        some = np.nan_to_num(differences).any((0, 1))  # an answer may not read the state of its own step
        first = differences[:, :, int(some.argmax())]
        limits = share * first if limit is None else np.full_like(first, limit)
        return cls(np.asarray(times), differences, changed, limits, first / 2, seed)

    @cached_property
    def horizons(self) -> pd.DataFrame:
        """The last lags of each replaced state, -1 for none, and which of them the end of the run cuts off."""
        there, lags = ~np.isnan(self.differences), np.arange(self.differences.shape[2])
        end = np.where(there, lags, -1).max(2)
        row, time = (end >= 0).nonzero()
        found = pd.DataFrame({"row": row, "t": self.times[time]})
        with np.errstate(invalid="ignore"):
            over = {name: self.differences > limit[:, :, None] for name, limit in self._limits.items()}
        for name, where in (over | ({} if self.changed is None else {"decision": self.changed & there})).items():
            last = np.where(where, lags, -1).max(2)
            found[name], found[f"{name}_censored"] = last[row, time], (last == end)[row, time]
        return found

    @property
    def _limits(self) -> dict[str, np.ndarray]:
        return {"horizon": self.limits, "half": self.halves}

    @property
    def table(self) -> pd.DataFrame:
        """The difference of each answer."""
        row, time, lag = place = (~np.isnan(self.differences)).nonzero()
        found = pd.DataFrame({"row": row, "t": self.times[time], "lag": lag, "difference": self.differences[place]})
        return found if self.changed is None else found.assign(changed=self.changed[place])

    @checked_arguments(of=TEXT)
    def quantile(self, share: float, of: str = "horizon") -> float:
        """Return a quantile of last lags of the states that make a difference; infinite where it is not seen.

        Some are cut off: Kaplan & Meier 1958, Nonparametric estimation from incomplete observations.
        """
        return float(self._quantiles(share, of, np.ones((1, len(self.differences))))[0])

    @checked_arguments(of=TEXT)
    def interval(self, share: float, of: str = "horizon") -> tuple[float, float] | None:
        """Return the 95 % interval of a quantile over rows, by the bootstrap; None of a single row."""
        rows, most = self.differences.shape[0], self.differences.shape[2]
        if rows == 1:
            return None
        low, high = percentile_interval(
            np.minimum(self._quantiles(share, of, bootstrap_counts(rows, self.seed)), most)
        )
        return low, math.inf if high >= most else high

    def _quantiles(self, share: float, of: str, counts: np.ndarray) -> np.ndarray:
        if of not in self._limits:
            raise ProbeError(unknown("length of time", of, self._limits))
        size, found = self.differences.shape[2] + 1, self.horizons
        found = found[found["horizon"] >= 0]
        ends, cuts = np.zeros((2, len(self.differences), size))
        np.add.at(ends, (found["row"], found[of] + 1), ~found[f"{of}_censored"])
        # What lasts to the last lag that is seen may end there: it is known to last longer than the lag before.
        np.add.at(cuts, (found["row"], found[of]), found[f"{of}_censored"])
        ends, cuts = counts @ ends, counts @ cuts
        left = np.cumsum((ends + cuts)[:, ::-1], 1)[:, ::-1]
        reached = np.cumprod(1 - ends / np.maximum(left, 1), 1) <= 1 - share + 1e-12
        return np.where(reached.any(1), reached.argmax(1) - 1.0, np.inf)

    @property
    def said(self) -> str:
        """How long differences last, in words."""
        found, count, length = self.horizons, len(self.horizons), self.differences.shape[2]
        most = -1 if self.changed is None else int(found["decision"].max())
        last = f"; a decision changes up to {said(most)} later" if most >= 0 else "; no decision changes"
        last = "" if self.changed is None else last
        found = found[found["horizon"] >= 0]
        if not len(found):
            return f"no difference counts, of {count} replaced states{last}"
        between, long, half = self.interval(0.5), self.quantile(0.9), self.quantile(0.5, "half") + 1
        ends = "" if between is None else f" ({said(between[0])} to {said(between[1])})"
        told = f"{len(found)} of {count} replaced states make a difference, which lasts "
        told += f"{said(self.quantile(0.5))}{ends} in the median, {said(long)} in nine of ten; "
        told += f"{int(found['horizon_censored'].sum())} last to the end"
        told += " (a longer run may show longer ones)" if length < _SHORT * long < math.inf else ""
        kept = f"more than the run shows ({int(found['half_censored'].sum())} never do)"
        return f"{told}; it halves after {said(half) if math.isfinite(half) else kept}{last}"


def said(steps: float) -> str:
    """Return a number of steps in words."""
    if math.isinf(steps):
        return "longer than the run shows"
    return f"{steps:.0f} step{'' if steps == 1 else 's'}"


def apart(answers: np.ndarray, clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far answers lie from the clean ones, also relative to each number's scale: (batch, step) each."""
    scale = np.maximum(np.where(np.isfinite(clean), np.abs(clean), 0).max((0, 1), initial=0), 1)
    with np.errstate(invalid="ignore"):
        found = np.abs(answers - clean)
    same = (answers == clean) | (found <= _ROUNDING * np.finfo(clean.dtype).eps * scale)
    return np.where(same, 0, found).max(2), np.where(same, 0, found / scale).max(2)


def compared(answers: np.ndarray, clean: np.ndarray, counted: np.ndarray, decide: Any, seed: int) -> dict[str, float]:
    """Return how far answers lie from the clean ones where it counts, (row, step), with an interval over rows."""
    found: dict[str, Any] = {"difference": apart(answers, clean)[0]}
    found |= {} if decide is None else {"changed": decide(answers) != decide(clean)}
    measured = next(reversed(found.values())) * counted
    means = {name: float(values[counted].mean()) if counted.any() else math.nan for name, values in found.items()}
    if len(clean) == 1 or not counted.any():
        return means
    counts = bootstrap_counts(len(clean), seed)
    with np.errstate(invalid="ignore"):
        draws = (counts @ measured.sum(1)) / (counts @ counted.sum(1))
    return means | dict(zip(("low", "high"), percentile_interval(draws[~np.isnan(draws)]), strict=True))
