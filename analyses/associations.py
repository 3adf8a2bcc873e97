"""How far two numbers go together over networks: rank correlation, and a line tried on networks left out of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

#: How often networks are drawn again for an interval.
RESAMPLES = 1_000


def left_out_r_squared(quantity: Float[np.ndarray, " network"], other: Float[np.ndarray, " network"]) -> float:
    """Return how well a straight line fitted on all other networks predicts the one left out, as R squared.

    1 where the line is exact; 0 where it predicts no better than the mean of the others, below 0 where worse.

    Args:
        quantity: what predicts, one number a network, not all the same.
        other: what is predicted, not all the same.
    """
    basis = np.stack([np.ones_like(quantity), quantity], axis=1)
    hat = basis @ np.linalg.pinv(basis)
    missed = (other - hat @ other) / (1 - np.diag(hat))
    from_mean = (other - other.mean()) * len(other) / (len(other) - 1)
    return float(1 - (missed**2).sum() / (from_mean**2).sum())


def rank_correlation(
    quantity: Float[np.ndarray, " network"], other: Float[np.ndarray, " network"], seed: int = 0
) -> tuple[float, float, float]:
    """Return Spearman's rank correlation over networks, and its 95 % bootstrap interval.

    Args:
        quantity: one number a network.
        other: another.
        seed: of the resampling of networks.
    """

    def correlated(rows: np.ndarray) -> np.ndarray:
        ranks = [rankdata(values[rows], axis=-1) for values in (quantity, other)]
        first, second = (rank - rank.mean(-1, keepdims=True) for rank in ranks)
        scale = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
        return np.divide((first * second).sum(-1), scale, out=np.zeros_like(scale), where=scale > 0)

    every = np.arange(len(other))
    drawn = np.random.default_rng(seed).integers(0, len(other), (RESAMPLES, len(other)))
    low, high = np.quantile(correlated(drawn), [0.025, 0.975])
    return float(correlated(every[None])[0]), float(low), float(high)


def fitted_law(
    quantity: Float[np.ndarray, " network"], drift: Float[np.ndarray, " network"]
) -> tuple[float, float, float]:
    """Return alpha and beta of drift = alpha + beta quantity by least squares, and the median drift.

    Args:
        quantity: what predicts, one number a network.
        drift: what is predicted.
    """
    beta, alpha = np.polyfit(quantity, drift, 1)
    return float(alpha), float(beta), float(np.median(drift))
