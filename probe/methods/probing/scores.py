"""The held-out score of a probe, summed by sequence, so that two probes are compared on the same ones, or by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...intervals import share_interval, studentised_interval
from .linear import ROUNDING


@dataclass(frozen=True, eq=False)
class Score:
    """How well held-out values are predicted: the mean of 1 - loss / scale over classes.

    A number has one class: squared errors over squared distances from the mean, which gives R². A categorical
    concept has a class for each category: errors over states, which gives balanced accuracy. A rare category counts
    as much as the others. Where states are split by prefix, each held-out part is a class: the score is the mean of
    the parts' R², each about its own mean.

    Attributes:
        loss: the loss in each sequence, or group of them, (sequence, class); one row for all where states are split
            by prefix.
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

    @property
    def by_class(self) -> Float[np.ndarray, " class"]:
        """The score of each class over all sequences; 0 if its scale is 0."""
        loss, scale = self.loss.sum(0), self.scale.sum(0)
        return np.where(scale > 0, 1 - loss / np.where(scale > 0, scale, 1), 0)

    @property
    def unseen(self) -> float:
        """In what share of sequences there may be an error if none was seen, at the level of intervals; else 0."""
        sequences = int(self.scale.any(1).sum())
        ends = None if self.loss.any() else share_interval(0, sequences)
        return 0.0 if ends is None else ends[1]

    def interval(self, samples: Float[np.ndarray, "draw sequence"]) -> tuple[float, float]:
        """Return the 95 % interval over sequences, given bootstrap samples of them; see `bootstrap_counts`.

        No score is above 1.
        """
        low, high = _interval([(1, self)], samples)
        return low, min(high, 1.0)

    def above(self, other: Score, samples: Float[np.ndarray, "draw sequence"]) -> tuple[float, float]:
        """Return the 95 % interval of the difference to another score of the same sequences; see `interval`."""
        return _interval([(1, self), (-1, other)], samples)

    def terms(
        self, counts: Float[np.ndarray, "draw sequence"]
    ) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, "draw sequence"]]:
        """Return the score of each sample, and by how much each sequence moves it, to the first order.

        Reference:
            Efron & Tibshirani 1993, section 6.7: the delta method, by the influence of each observation.
        """
        loss, scale = counts @ self.loss, counts @ self.scale
        present = scale > 0
        weight = present / np.where(present, scale, 1) / np.maximum(present.sum(-1, keepdims=True), 1)
        relative = loss / np.where(present, scale, 1)
        moves = (weight * relative) @ self.scale.T - weight @ self.loss.T
        return np.asarray(_mean_score(loss, scale)), moves


def _interval(terms: Sequence[tuple[int, Score]], samples: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a sum of scores, each with its sign, by the studentised bootstrap.

    Reference:
        Zou & Donner 2008, Construction of confidence limits about effect measures (squares of distances add up).
    """
    whole = np.ones((1, samples.shape[1]))
    # So many numbers at a time that they stay in a cache.
    blocks = np.array_split(samples, -(-samples.size // 100_000))
    (found, error), *drawn = (_value_and_error(terms, counts) for counts in (whole, *blocks))
    draws, errors = (np.concatenate(each) for each in zip(*drawn, strict=True))
    value = float(found[0])
    low, high = studentised_interval(value, float(error[0]), draws, errors, count=samples.shape[1])
    # Sequences that are all read without an error say nothing of how often one occurs: squares of distances add up.
    less, more = (sum(score.unseen**2 for sign, score in terms if sign == side) for side in (1, -1))
    return value - float(np.sqrt((value - low) ** 2 + less)), value + float(np.sqrt((high - value) ** 2 + more))


def _value_and_error(terms: Sequence[tuple[int, Score]], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a sum of scores in each sample, (draw,), and its standard error."""
    found = [(sign, *score.terms(counts)) for sign, score in terms]
    value = np.sum([sign * one for sign, one, _ in found], axis=0)
    moves = sum(sign * moved for sign, _, moved in found)
    many = counts.shape[1]
    return value, np.sqrt((counts * moves**2).sum(1) * many / max(many - 1, 1))


def _mean_score(loss: np.ndarray, scale: np.ndarray) -> np.ndarray | np.floating:
    """Return the mean of 1 - loss / scale over the classes whose scale is not 0; 0 if there is none."""
    present = scale > 0
    scores = np.where(present, 1 - loss / np.where(present, scale, 1), 0)
    return scores.sum(-1) / np.maximum(present.sum(-1), 1)


def of_numbers(
    target: Float[np.ndarray, " state"], predicted: Float[np.ndarray, " state"], sequence: np.ndarray, count: int
) -> Score:
    """Return the score of predicted numbers."""
    errors, whole = (target - predicted) ** 2, (target - target.mean()) ** 2
    return Score(*(np.bincount(sequence, each, count)[:, None] for each in (errors, whole)))


def of_categories(target: np.ndarray, predicted: np.ndarray, sequence: np.ndarray, count: int) -> Score:
    """Return the score of predicted categories; for the arguments see `of_numbers`."""
    levels, place = np.unique(target, return_inverse=True)
    at, weights = sequence * len(levels) + place, (target != predicted, np.ones(len(target)))
    return Score(*(np.bincount(at, each, count * len(levels)).reshape(count, -1) for each in weights))


def of_exact(target: np.ndarray, predicted: np.ndarray, sequence: np.ndarray, count: int) -> Score:
    """Return the share of states that are predicted exactly; for the arguments see `of_numbers`."""
    weights = (target != predicted, np.ones(len(target)))
    return Score(*(np.bincount(sequence, weight, count)[:, None] for weight in weights))


def of_parts(
    target: Float[np.ndarray, " state"],
    predicted: Float[np.ndarray, " state"],
    parts: list[np.ndarray],
    weight: Float[np.ndarray, " state"] | None = None,
) -> Score:
    """Return the score of predicted numbers, with a class for each held-out part."""
    loss, scale = [], []
    for part, weights in _weights(parts, len(target), weight):
        mean = weights @ target[part]
        total = weights @ (target[part] - mean) ** 2
        loss.append(weights @ (target[part] - predicted[part]) ** 2)
        scale.append(total if total > ROUNDING else 0.0)
    return Score(np.array([loss]), np.array([scale]))


def of_rounding(
    target: Float[np.ndarray, " state"],
    predicted: Float[np.ndarray, " state"],
    parts: list[np.ndarray],
    weight: Float[np.ndarray, " state"] | None = None,
) -> Score:
    """Return how often the rounded prediction is exact, with a class for each held-out part; see `of_parts`."""
    weighed = list(_weights(parts, len(target), weight))
    loss = [float((weights * (np.rint(predicted[part]) != target[part])).sum()) for part, weights in weighed]
    return Score(np.array([loss]), np.array([[float(weights.sum()) for _, weights in weighed]]))


def _weights(
    parts: list[np.ndarray], size: int, weight: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    every = np.ones(size) if weight is None else weight
    for part in parts:
        yield part, every[part] / every[part].sum()
