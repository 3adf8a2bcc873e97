"""Confidence intervals: over networks, each of which is one sample, and over sequences by the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

#: The number of bootstrap samples of an interval, and its level.
DRAWS, LEVEL = 1_000, 0.95
#: A bootstrap sample of sequences that happen to be alike has no error: it counts as this share of the estimate's.
LEAST_ERROR = 0.1
#: Samples of at most so many sequences are kept, 32 MB: every reading of a study is compared on the same.
MOST_KEPT = 4_096


def bootstrap_counts(sequences: int, seed: int) -> Float[np.ndarray, "draw sequence"]:
    """Return how often each sequence is in each bootstrap sample; the same for the same number and seed.

    Counts are floats, as whatever they weigh is: a product would turn whole numbers into floats each time.
    """
    return _kept(sequences, seed) if sequences <= MOST_KEPT else _drawn(sequences, seed)


def _drawn(sequences: int, seed: int) -> np.ndarray:
    chances = np.full(sequences, 1 / sequences)
    samples = np.random.default_rng([seed, sequences]).multinomial(sequences, chances, DRAWS).astype(float)
    samples.flags.writeable = False
    return samples


_kept = lru_cache(maxsize=1)(_drawn)


def percentile_interval(draws: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    """Return the 95 % interval of what bootstrap samples came to.

    Reference:
        Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    low, high = np.percentile(draws, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def studentised_interval(
    value: float, error: float, draws: Float[np.ndarray, " draw"], errors: Float[np.ndarray, " draw"], *, count: int
) -> tuple[float, float]:
    """Return the 95 % interval of an estimate over few sequences, some of which may be far off.

    Each end is the outer one of two: of Student's t, which is right where losses lie evenly on both sides, and of the
    bootstrap of the distance in standard errors, which is right where they are skewed. The percentile bootstrap is
    too narrow for both: see `tests/evidence/test_intervals.py`.

    Args:
        value: the estimate.
        error: its standard error.
        draws: the estimate of each bootstrap sample of the sequences.
        errors: the standard error of each.
        count: how many sequences there are.

    Reference:
        Efron & Tibshirani 1993, An introduction to the bootstrap, section 12.5 (the bootstrap-t); Hesterberg 2015,
        What teachers should know about the bootstrap, sections 4 and 5 (few observations, and skewed ones).
    """
    from scipy.stats import t

    if not error or count < 2:
        return value, value
    distances = (draws - value) / np.maximum(errors, LEAST_ERROR * error)
    low, high = np.percentile(distances, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    reach = t.ppf((1 + LEVEL) / 2, count - 1)
    return float(value - max(high, reach) * error), float(value + max(-low, reach) * error)


def median_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of the median by order statistics, at least at the given level.

    It assumes no distribution and draws nothing at random: both ends are values of single networks.

    Args:
        values: one value a network.
        level: confidence level, such as 0.95.

    Returns:
        Lower and upper end, or None where so few networks cannot reach the level.

    Reference:
        Conover 1999, Practical Nonparametric Statistics, section 3.2.
    """
    from scipy.stats import quantile_test

    if len(values) < 2:
        return None
    interval = quantile_test(np.asarray(values, dtype=float), p=0.5).confidence_interval(level)
    ends = float(interval.low), float(interval.high)
    return ends if np.isfinite(ends).all() else None


def share_interval(hits: int, total: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return the exact interval of a share of networks.

    Reference:
        Clopper & Pearson 1934.
    """
    from scipy.stats import binomtest

    if not total:
        return None
    interval = binomtest(hits, total).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)
