"""Monotone probes of one unit: its correlation within a step, and a monotone map scored on held-out states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import require
from .prefixes import Pooled
from .splits import training_rows


def within_step_correlation(pooled: Pooled, states: Float[np.ndarray, "state unit"]) -> Float[np.ndarray, " unit"]:
    """Return each unit's correlation with the concept after the mean of every step is taken off both.

    A count and the clock correlate (r = sqrt(0.6) over ten fair bits): without this, a unit that only tells
    the time would pass for a counter.

    Args:
        pooled: steps, concept and weights of the states.
        states: the units' values at them.

    Returns:
        Correlation a unit, 0 where a unit does not vary.
    """
    columns = np.column_stack([pooled.concept, states])
    for step in np.unique(pooled.step):
        rows = pooled.step == step
        columns[rows] -= columns[rows].mean(0)
    concept, units = columns[:, 0], columns[:, 1:]
    covariance = (pooled.weight * concept) @ units
    scale = np.sqrt(pooled.weight @ concept**2 * (pooled.weight @ units**2))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-12)


@dataclass(frozen=True)
class MonotoneScore:
    """A monotone code of one unit, mean over the held-out parts.

    Attributes:
        accuracy: share of held-out states whose rounded prediction is exact.
        units: the unit chosen on each fitting part.
    """

    accuracy: float
    units: tuple[int, ...]


def monotone_score(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    parts: list[np.ndarray],
    weight: Float[np.ndarray, " state"] | None = None,
) -> MonotoneScore:
    """Choose a unit and fit an isotonic map from it to the concept, both on all parts but one; score that one.

    Choosing the unit on the scored states too would count the luck of the best of many as a code.

    Args:
        states: distinct states.
        concept: whole numbers.
        parts: what `probe.methods.probing.splits.folds` gave.
        weight: weight of each state, above 0, or None for equal ones.
    """
    weights = np.ones(len(concept)) if weight is None else weight
    accuracies, units = [], []
    for number, held_out in enumerate(parts):
        rows = training_rows(parts, number)
        fits = [_fit(states[rows, unit], concept[rows], weights[rows]) for unit in range(states.shape[1])]
        unit = int(np.argmin([fit.error for fit in fits]))
        prediction = fits[unit].predict(states[held_out, unit])
        accuracies.append(np.average(np.rint(prediction) == concept[held_out], weights=weights[held_out]))
        units.append(unit)
    return MonotoneScore(float(np.mean(accuracies)), tuple(units))


@dataclass(frozen=True, eq=False)
class _Map:
    """A monotone map of a unit: its value at each of the unit's, straight lines between them, level beyond."""

    unit: np.ndarray
    value: np.ndarray
    error: float

    def predict(self, unit: np.ndarray) -> np.ndarray:
        return np.interp(unit, self.unit, self.value)


def _fit(unit: np.ndarray, concept: np.ndarray, weight: np.ndarray) -> _Map:
    """Return the isotonic fit in the better direction."""
    require("An isotonic fit", "study", "scipy")
    from scipy.optimize import isotonic_regression

    knots, place = np.unique(unit, return_inverse=True)
    mass = np.bincount(place, weight)
    mean = np.bincount(place, weight * concept) / mass
    fits = []
    for increasing in (True, False):
        value = isotonic_regression(mean, weights=mass, increasing=increasing).x
        fits.append(_Map(knots, value, float(np.average((value[place] - concept) ** 2, weights=weight))))
    return min(fits, key=lambda fit: fit.error)
