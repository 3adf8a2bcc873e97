"""Scores a probe sequence by sequence, so that two probes are compared on the same sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: The number of bootstrap samples of an interval.
DRAWS = 1_000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Score:
    """How well held-out values are predicted: the mean of 1 - loss / scale over classes.

    A number has one class: squared errors over squared distances from the mean, which gives R². A categorical
    concept has a class for each category: errors over states, which gives balanced accuracy. A rare category counts
    as much as the others.

    Attributes:
        loss: the loss in each sequence, (sequence, class).
        scale: the largest loss that counts, (sequence, class): that of always predicting the mean, or all states.

    Reference:
        Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
    """

    loss: np.ndarray
    scale: np.ndarray

    @property
    def value(self) -> float:
        """The score over all sequences; 0 if the scale is 0."""
        return float(_mean_score(self.loss.sum(0), self.scale.sum(0)))

    def draws(self, seed: int) -> Float[np.ndarray, " draw"]:
        """Return the score of each bootstrap sample of sequences; scores with the same seed share the samples."""
        count = len(self.loss)
        weights = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), DRAWS)
        return np.asarray(_mean_score(weights @ self.loss, weights @ self.scale))

    def interval(self, seed: int) -> tuple[float, float]:
        """Return the 95 % interval over sequences, by the percentile bootstrap.

        Reference:
            Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13.
        """
        return _ends(self.draws(seed))

    def above(self, other: Score, seed: int) -> tuple[float, float]:
        """Return the 95 % interval of the difference to another score of the same sequences."""
        return _ends(self.draws(seed) - other.draws(seed))


def _mean_score(loss: np.ndarray, scale: np.ndarray) -> np.ndarray | np.floating:
    """Return the mean of 1 - loss / scale over the classes whose scale is not 0; 0 if there is none."""
    present = scale > 0
    scores = np.where(present, 1 - loss / np.where(present, scale, 1), 0)
    return scores.sum(-1) / np.maximum(present.sum(-1), 1)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def of_numbers(
    target: Float[np.ndarray, " state"], predicted: Float[np.ndarray, " state"], sequence: np.ndarray, count: int
) -> Score:
    """Return the score of predicted numbers.

    Args:
        target: the true numbers.
        predicted: the predictions.
        sequence: which sequence each state belongs to.
        count: how many sequences there are.
    """
    errors, whole = (target - predicted) ** 2, (target - target.mean()) ** 2
    return Score(*(np.bincount(sequence, each, count)[:, None] for each in (errors, whole)))


def of_categories(target: np.ndarray, predicted: np.ndarray, sequence: np.ndarray, count: int) -> Score:
    """Return the score of predicted categories; for the arguments see `of_numbers`."""
    levels, place = np.unique(target, return_inverse=True)
    cells, shape = sequence * len(levels) + place, (count, len(levels))
    weights = (target != predicted, np.ones(len(target)))
    return Score(*(np.bincount(cells, weight, count * len(levels)).reshape(shape) for weight in weights))
