"""Monotone probes of one unit: its correlation within a step, and a monotone map scored on held-out states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .groups import training_rows
from .prefixes import Pooled


def within_step_correlation(pooled: Pooled, states: Float[np.ndarray, "state unit"]) -> Float[np.ndarray, " unit"]:
    """Return each unit's correlation with the concept after the mean of every step is taken off both.

    A count and the clock correlate (r = sqrt(0.6) over ten fair bits): without this, a unit that only tells
    the time would pass for a counter.

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
    """
    weights = np.ones(len(concept)) if weight is None else weight
    predicted, units = monotone_held_out(states, concept, parts, weights)
    accuracies = [np.average(predicted[part] == concept[part], weights=weights[part]) for part in parts]
    return MonotoneScore(float(np.mean(accuracies)), units)


def monotone_held_out(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    parts: list[np.ndarray],
    weights: Float[np.ndarray, " state"],
    *,
    by_share: bool = False,
) -> tuple[Float[np.ndarray, " state"], tuple[int, ...]]:
    """Return the rounded predictions of each part by a unit and a map of the others, and the units."""
    predicted, units = np.zeros(len(concept)), []
    for number, held_out in enumerate(parts):
        rows = training_rows(parts, number)
        wanted, mass = concept[rows], weights[rows]
        fits, read = zip(*(_fit(unit, wanted, mass) for unit in states[rows].T), strict=True)
        missed = [np.average(np.rint(one) != wanted, weights=mass) for one in (read if by_share else ())]
        unit = int(np.argmin(missed or [fit.error for fit in fits]))
        predicted[held_out] = np.rint(fits[unit].predict(states[held_out, unit]))
        units.append(unit)
    return predicted, tuple(units)


#: Predictions further than this from the value are another whole number's.
HALF = 0.5


def each_unit_read(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    splits: Sequence[list[np.ndarray]],
    weight: Float[np.ndarray, " state"],
) -> Float[np.ndarray, " unit"]:
    """Return for each unit how many held-out states a monotone map of it alone reads exactly.

    A map is fitted on all parts of a split but one and scored on that one; the share is the mean over all parts of
    all splits. Exact is a prediction within a half of the value, so that values need not be whole numbers.

    Args:
        states: distinct states.
        concept: the values, a whole number apart or more within a step.
        splits: several times what `probe.methods.probing.groups.folds` gave.
        weight: weight of each state, above 0.
    """
    found = np.zeros(states.shape[1])
    held_out = [np.isin(np.arange(len(concept)), part) for parts in splits for part in parts]
    for unit in range(states.shape[1]):
        order = np.argsort(states[:, unit], kind="stable")
        x, y, mass = states[order, unit], concept[order], weight[order]
        for out in (each[order] for each in held_out):
            exact = np.abs(_along(x[~out], y[~out], mass[~out]).predict(x[out]) - y[out]) < HALF
            found[unit] += np.average(exact, weights=mass[out]) / len(held_out)
    return found


#: Of the maps beside a clock: the slopes in the step that a fit starts from, and how often it is improved.
SLOPES, ROUNDS = (-1.0, -0.5, 0.0, 0.5, 1.0), 30


def each_unit_read_beside_a_clock(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    step: np.ndarray,
    splits: Sequence[list[np.ndarray]],
    weight: Float[np.ndarray, " state"],
) -> Float[np.ndarray, " unit"]:
    """Return for each unit how many held-out states one map reads, where the concept may be shifted at every step.

    The map f rises or falls, and g is one number a step: both are fitted so that f(unit) is near concept + g(step),
    by least squares in turns from several starts, of which the one that reads the fitted states best is taken. A
    state is read where f(unit) - g(step) is within a half of the concept. With g = 0 it is `each_unit_read`.

    Args:
        states: distinct states.
        concept: the values, a whole number apart or more within a step.
        step: of each state, (state,); all parts of a split but any one of them have every step.
        splits: several times what `probe.methods.probing.groups.folds` gave.
        weight: weight of each state, above 0.

    Reference:
        Breiman & Friedman 1985, Estimating optimal transformations for multiple regression, for fitting in turns.
    """
    found = np.zeros(states.shape[1])
    held_out = [np.isin(np.arange(len(concept)), part) for parts in splits for part in parts]
    times = np.unique(step, return_inverse=True)[1]
    for unit in range(states.shape[1]):
        order = np.argsort(states[:, unit], kind="stable")
        x, y, t, mass = states[order, unit], concept[order], times[order], weight[order]
        for out in (each[order] for each in held_out):
            read, shift = _shifted(x[~out], y[~out], t[~out], mass[~out])
            exact = np.abs(read.predict(x[out]) - shift[t[out]] - y[out]) < HALF
            found[unit] += np.average(exact, weights=mass[out]) / len(held_out)
    return found


def _shifted(x: np.ndarray, y: np.ndarray, times: np.ndarray, mass: np.ndarray) -> tuple[_Map, np.ndarray]:
    """Return the map of ascending values and the shift of each step that read the values best."""
    within = np.bincount(times, mass)
    found = []
    for slope in SLOPES:
        shift = slope * np.arange(len(within), dtype=float)
        read = _along(x, y + shift[times], mass)
        for _ in range(ROUNDS):
            shift = np.bincount(times, mass * (read.predict(x) - y)) / within
            read = _along(x, y + shift[times], mass)
        # Exact: starts that read the same states are equal on every processor, and the first of them is taken.
        found.append((math.fsum(mass[np.abs(read.predict(x) - shift[times] - y) < HALF]), read, shift))
    _, read, shift = max(found, key=lambda each: each[0])
    return read, shift


def monotone_predictions(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    weight: Float[np.ndarray, " state"],
    others: Float[np.ndarray, "other unit"],
) -> Float[np.ndarray, "other unit"]:
    """Return what each unit's monotone map predicts of other states; beyond the fitted states it is level."""
    orders = np.argsort(states, axis=0, kind="stable").T
    maps = [_along(states[order, unit], concept[order], weight[order]) for unit, order in enumerate(orders)]
    return np.column_stack([each.predict(others[:, unit]) for unit, each in enumerate(maps)])


@dataclass(frozen=True, eq=False)
class _Map:
    """A monotone map of a unit: its value at each of the unit's, straight lines between them, level beyond."""

    unit: np.ndarray
    value: np.ndarray
    error: float

    def predict(self, unit: np.ndarray) -> np.ndarray:
        return np.interp(unit, self.unit, self.value)


def _fit(unit: np.ndarray, concept: np.ndarray, weight: np.ndarray) -> tuple[_Map, np.ndarray]:
    """Return the isotonic fit in the better direction, and what it gives for the values themselves."""
    knots, place = np.unique(unit, return_inverse=True)
    mass = np.bincount(place, weight)
    mean = np.bincount(place, weight * concept) / mass
    read = [value[place] for value in _both_ways(mean, mass)]
    errors = [float(np.average((one - concept) ** 2, weights=weight)) for one in read]
    best = int(np.argmin(errors))
    values = np.zeros(len(knots))
    values[place] = read[best]
    return _Map(knots, values, errors[best]), read[best]


def _along(unit: np.ndarray, concept: np.ndarray, weight: np.ndarray) -> _Map:
    """Return the same of a unit's values in ascending order; its error is that of the means at each value."""
    first = np.flatnonzero(np.append(True, unit[1:] != unit[:-1]))
    mass = np.add.reduceat(weight, first)
    mean = np.add.reduceat(weight * concept, first) / mass
    fits = [_Map(unit[first], value, math.fsum(mass * (value - mean) ** 2)) for value in _both_ways(mean, mass)]
    return min(fits, key=lambda fit: fit.error)


def _both_ways(mean: np.ndarray, mass: np.ndarray) -> list[np.ndarray]:
    """Return the isotonic fit that rises and the one that falls."""
    from scipy.optimize import isotonic_regression

    return [isotonic_regression(mean, weights=mass, increasing=increasing).x for increasing in (True, False)]
