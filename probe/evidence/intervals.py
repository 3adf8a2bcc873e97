"""The confidence interval over networks: a network is one sample, however many strings it read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
