"""`Lags`: differences by lag as horizons, cut off where the run ends before they do, and their quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..evidence.intervals import bootstrap_counts, percentile_interval

#: From answers, (batch, step, number), to decisions, (batch, step).
Decide = Callable[[np.ndarray], np.ndarray]
#: A difference of so many units in the last place is rounding.
_ROUNDING = 64


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
    def of(cls, times: Any, found: Any, clean: Any, *, limit: float | None, share: float, seed: int) -> Lags:
        """Return differences to clean answers; what counts is above a limit, or above a share of the first one."""
        differences, changed = found
        floor = _ROUNDING * np.finfo(clean.dtype).eps * max(1.0, float(np.abs(clean).max(initial=0)))
        unread = np.nanmax(differences[:, :, 0], initial=0) <= floor  # no answer reads its own step's state
        first = differences[:, :, min(1, differences.shape[2] - 1) if unread else 0]
        limits = share * first if limit is None else np.full_like(first, limit)
        return cls(
            np.asarray(times), differences, changed, np.maximum(limits, floor), np.maximum(first / 2, floor), seed
        )

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

    def quantile(self, share: float, of: str = "horizon") -> float:
        """Return a quantile of last lags, some of them cut off (Kaplan & Meier 1958); infinite where not seen."""
        return float(self._quantiles(share, of, np.ones((1, len(self.differences))))[0])

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
        size, found = self.differences.shape[2] + 1, self.horizons
        found = found[found["horizon"] >= 0] if of == "half" else found  # no difference halves where there is none
        ends, cuts = np.zeros((2, len(self.differences), size))
        np.add.at(ends, (found["row"], found[of] + 1), ~found[f"{of}_censored"])
        np.add.at(cuts, (found["row"], found[of] + 1), found[f"{of}_censored"])
        ends, cuts = counts @ ends, counts @ cuts
        left = np.cumsum((ends + cuts)[:, ::-1], 1)[:, ::-1]
        reached = np.cumprod(1 - ends / np.maximum(left, 1), 1) <= 1 - share + 1e-12
        return np.where(reached.any(1), reached.argmax(1) - 1.0, np.inf)

    @property
    def said(self) -> str:
        """How long differences last, in words."""
        found, between = self.horizons, self.interval(0.5)
        if not len(found) or found["horizon"].max() < 0:
            return f"no answer changes, of {len(found)} replaced states"
        told = f"a difference lasts {said(self.quantile(0.5))} in the median"
        told += "" if between is None else f" ({between[0]:.0f} to {between[1]:.0f})"
        told += f", {said(self.quantile(0.9))} in nine of ten; {int(found['horizon_censored'].sum())} of {len(found)}"
        half, kept = self.quantile(0.5, "half"), int(found["half_censored"].sum())
        told += " last to the end of the run; it halves after "
        told += (
            said(half + 1) if math.isfinite(half) else f"more than the run shows ({kept} of {len(found)} never do)"
        )
        return (
            told
            if self.changed is None
            else f"{told}; a decision changes up to {said(found['decision'].max())} later"
        )


def said(steps: float) -> str:
    """Return a number of steps in words."""
    if math.isinf(steps):
        return "longer than the run"
    return "0 steps" if steps < 0 else f"{steps:.0f} step{'' if steps == 1 else 's'}"


def compared(answers: np.ndarray, clean: np.ndarray, counted: np.ndarray, decide: Any, seed: int) -> dict[str, float]:
    """Return how far answers lie from the clean ones where it counts, (row, step), with an interval over rows."""
    found: dict[str, Any] = {"difference": np.abs(answers - clean).max(2)}
    found |= {} if decide is None else {"changed": decide(answers) != decide(clean)}
    measured = next(reversed(found.values())) * counted
    means = {name: float(values[counted].mean()) if counted.any() else math.nan for name, values in found.items()}
    if len(clean) == 1 or not counted.any():
        return means
    counts = bootstrap_counts(len(clean), seed)
    with np.errstate(invalid="ignore"):
        draws = (counts @ measured.sum(1)) / (counts @ counted.sum(1))
    return means | dict(zip(("low", "high"), percentile_interval(draws[~np.isnan(draws)]), strict=True))
