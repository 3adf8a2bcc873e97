"""Scores a probe sequence by sequence, so that two probes are compared on the same sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: How often sequences are drawn anew for an interval.
DRAWS = 1_000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Score:
    """How well held-out values are told: 1 - lost / scale, the mean over the classes that are scored apart.

    Of a number, one class: squared errors over squared distances from the mean, which makes R². Of categories, a
    class each: errors over states, which makes balanced accuracy. How rare a category is does not matter to it.

    Attributes:
        lost: what is lost in each sequence, (sequence, class).
        scale: what there was to lose, (sequence, class).

    Reference:
        Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
    """

    lost: np.ndarray
    scale: np.ndarray

    @property
    def value(self) -> float:
        """The score over all sequences; 0 where there was nothing to lose."""
        return float(_mean_kept(self.lost.sum(0), self.scale.sum(0)))

    def draws(self, seed: int) -> Float[np.ndarray, " draw"]:
        """Return the score of sequences that are drawn anew, the same ones for every score of the same seed."""
        count = len(self.lost)
        weights = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), DRAWS)
        return np.asarray(_mean_kept(weights @ self.lost, weights @ self.scale))

    def interval(self, seed: int) -> tuple[float, float]:
        """Return the 95 % interval over sequences (percentiles of drawing them anew).

        Reference:
            Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13.
        """
        return _ends(self.draws(seed))

    def above(self, other: Score, seed: int) -> tuple[float, float]:
        """Return the 95 % interval of how far it lies above another score of the same sequences."""
        return _ends(self.draws(seed) - other.draws(seed))


def _mean_kept(lost: np.ndarray, scale: np.ndarray) -> np.ndarray | np.floating:
    """Return what is kept, 1 - lost / scale, the mean over the classes that have something to lose; 0 if none has."""
    there = scale > 0
    kept = np.where(there, 1 - lost / np.where(there, scale, 1), 0)
    return kept.sum(-1) / np.maximum(there.sum(-1), 1)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def of_numbers(
    target: Float[np.ndarray, " state"], told: Float[np.ndarray, " state"], sequence: np.ndarray, count: int
) -> Score:
    """Return how well numbers are told.

    Args:
        target: the numbers.
        told: what was said of each.
        sequence: which sequence each state is of.
        count: how many sequences there are.
    """
    errors, whole = (target - told) ** 2, (target - target.mean()) ** 2
    return Score(*(np.bincount(sequence, each, count)[:, None] for each in (errors, whole)))


def of_categories(target: np.ndarray, told: np.ndarray, sequence: np.ndarray, count: int) -> Score:
    """Return how well categories are told; for the arguments see `of_numbers`."""
    levels, place = np.unique(target, return_inverse=True)
    cells, shape = sequence * len(levels) + place, (count, len(levels))
    each = (np.bincount(cells, weights, count * len(levels)) for weights in (target != told, np.ones(len(target))))
    return Score(*(one.reshape(shape) for one in each))
