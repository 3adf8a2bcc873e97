"""How closely single units follow a concept, without what the step explains."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def detrended(
    values: Float[np.ndarray, "state number"], bins: np.ndarray, step: np.ndarray
) -> Float[np.ndarray, "state number"]:
    """Return numbers without what the step explains: the mean of each bin of steps, and a line within the bin.

    A count grows with the step. Without this, a unit that only follows the step would look like one that counts.

    Args:
        values: the numbers.
        bins: the bin of steps of each state, (state,).
        step: the step of each state, (state,).
    """
    left = values.astype(float).copy()
    for number in np.unique(bins):
        rows = bins == number
        time = step[rows] - step[rows].mean()
        left[rows] -= left[rows].mean(0)
        spread = float(time @ time)
        if spread > 0 and rows.sum() > 2:
            left[rows] -= np.outer(time, time @ left[rows] / spread)
    return left


def follows(
    units: Float[np.ndarray, "state unit"], values: Float[np.ndarray, " state"], bins: np.ndarray, *, named: bool
) -> Float[np.ndarray, " unit"]:
    """Return how closely each unit follows a concept: |r|, or for categories the correlation ratio within steps.

    Args:
        units: the units' values, see `detrended`.
        values: the concept's; of a number detrended as well.
        bins: the bin of steps of each state, (state,).
        named: whether they are places of categories.
    """
    if named:
        total, explained = np.zeros((2, units.shape[1]))
        for number in np.unique(bins):
            own, categories = units[bins == number] - units[bins == number].mean(0), values[bins == number]
            total += (own**2).sum(0)
            for category in np.unique(categories):
                members = own[categories == category]
                explained += len(members) * members.mean(0) ** 2
        return np.sqrt(np.divide(explained, total, out=np.zeros_like(total), where=total > 1e-18))
    units = units - units.mean(0)
    total = (units**2).sum(0)
    around = values - values.mean()
    scale = np.sqrt(total * float(around @ around))
    return np.abs(np.divide(around @ units, scale, out=np.zeros_like(total), where=scale > 1e-9))
