"""Linear probes as values: least squares, ridge and logistic, each asked about states that it was not fitted on.

`held_out` takes the features (state, number), the targets (state, target), which are numbers or the places of
categories, and the states of each part (`probe.methods.probing.groups`). `fitted` takes the same, and returns the
probe of all states as weights of the numbers as they were given.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Float

from ...errors import ProbeError
from .groups import training_rows

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

#: Below this a variance is rounding, and the quotient of two such residues would be any number.
ROUNDING = 1e-12
#: A ridge or logistic probe of more features than this reads their largest principal components instead.
MOST_FEATURES = 512
States: TypeAlias = Float[np.ndarray, "state number"]
Targets: TypeAlias = Float[np.ndarray, "state target"]


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted linear map from states to concept values.

    A weight is not the direction that encodes the concept (Haufe et al. 2014): it also cancels noise.

    Attributes:
        weight: (target, unit).
        bias: (target,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def predict(self, states: Float[np.ndarray, "state unit"]) -> Float[np.ndarray, "state target"]:
        """Return the concept values read out of states."""
        return states @ self.weight.T + self.bias


def fit_linear(
    states: Float[np.ndarray, "state unit"],
    targets: Float[np.ndarray, "row target"],
    weight: Float[np.ndarray, " state"] | None = None,
) -> LinearProbe:
    """Return the least-squares probe, one row a target; of smallest norm where many fit.

    Raises:
        ProbeError: the numbers of states and targets differ, or there is no state.
    """
    if len(states) != len(targets) or not len(states):
        raise ProbeError(f"A probe needs a target for each state; given {len(states)} and {len(targets)}.")
    weights = np.ones(len(states)) if weight is None else weight
    centre, middle = (np.average(values, axis=0, weights=weights) for values in (states, targets))
    root = np.sqrt(weights)[:, None]
    slope = np.linalg.lstsq(root * (states - centre), root * (targets - middle))[0].T
    return LinearProbe(slope, middle - slope @ centre)


def r_squared(
    target: Float[np.ndarray, "state ..."], prediction: Float[np.ndarray, "state ..."]
) -> Float[np.ndarray, " ..."]:
    """Return the share of each target's variance that is explained; 0 where a target varies by rounding alone."""
    weights = np.full(len(target), 1 / len(target))
    mean = weights @ target
    total = weights @ (target - mean) ** 2
    residual = weights @ (target - prediction) ** 2
    varies = total > ROUNDING
    return np.where(varies, 1 - residual / np.where(varies, total, 1), 0.0)


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """Least squares without a penalty, of smallest norm where many fit.

    Attributes:
        weight: the weight of each state, (state,); None for equal ones.
    """

    weight: np.ndarray | None = None
    name = "least squares"

    def held_out(self, features: States, targets: Targets, parts: list[np.ndarray]) -> Targets:
        """Return what probes of the other parts predict for each state."""
        predicted = np.zeros(targets.shape)
        for number, part in enumerate(parts):
            rows = training_rows(parts, number)
            fitted = fit_linear(features[rows], targets[rows], None if self.weight is None else self.weight[rows])
            predicted[part] = fitted.predict(features[part])
        return predicted

    def fitted(self, features: States, targets: Targets, parts: list[np.ndarray]) -> LinearProbe:
        """Return the probe of all states, a row of weights for each target."""
        del parts  # nothing is selected
        return fit_linear(features, targets, self.weight)


@dataclass(frozen=True)
class Ridge:
    """Least squares with a penalty on the weights, for standardised numbers.

    The penalty of each target is selected by cross-validation among the parts that the probe is fitted on. Then it is
    fitted on all of them.

    Attributes:
        penalties: those to select from, each times the number of states.

    Reference:
        Hoerl & Kennard 1970, Ridge regression.
    """

    penalties: tuple[float, ...] = (1e-7, 1e-5, 1e-3, 1e-1, 10.0)
    name = "ridge"

    def held_out(self, features: States, targets: Targets, parts: list[np.ndarray]) -> Targets:
        """Return what probes of the other parts predict for each state."""
        z = Features.of(features).of_states(features)
        sums = [_Sums.of(z[part], targets[part]) for part in parts]
        predicted = np.zeros(targets.shape)
        for number, part in enumerate(parts):
            weight, bias = self._fit(z, targets, parts, sums, [n for n in range(len(parts)) if n != number])
            predicted[part] = z[part] @ weight + bias
        return predicted

    def fitted(self, features: States, targets: Targets, parts: list[np.ndarray]) -> LinearProbe:
        """Return the probe of all states, a row of weights for each target."""
        read = Features.of(features)
        z = read.of_states(features)
        sums = [_Sums.of(z[part], targets[part]) for part in parts]
        return read.as_given(*self._fit(z, targets, parts, sums, list(range(len(parts)))))

    def _fit(
        self, z: States, targets: Targets, parts: list[np.ndarray], sums: list[_Sums], training: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights and the bias of some parts, with the penalty that does best among them."""
        errors = np.zeros((len(self.penalties), targets.shape[1]))
        for left_out in training if len(training) > 1 else ():
            fitted = _joined([sums[place] for place in training if place != left_out]).fit(self.penalties)
            rows = parts[left_out]
            errors += [((targets[rows] - z[rows] @ weight - bias) ** 2).sum(0) for weight, bias in fitted]
        columns = range(targets.shape[1])
        fitted = _joined([sums[place] for place in training]).fit(self.penalties)
        best = [fitted[place] for place in np.argmin(errors, axis=0)]
        return (
            np.column_stack([weight[:, target] for (weight, _), target in zip(best, columns, strict=True)]),
            np.array([bias[target] for (_, bias), target in zip(best, columns, strict=True)]),
        )


@dataclass(frozen=True)
class Logistic:
    """A logistic probe, for standardised numbers.

    Each category has the same weight in the fit, however few states it has. With equal weights for states, the probe
    would ignore a rare category.

    Attributes:
        strength: the inverse of the penalty, scikit-learn's C.
    """

    strength: float = 1.0
    name = "logistic"

    def held_out(self, features: States, targets: Targets, parts: list[np.ndarray]) -> Targets:
        """Return which category probes of the other parts name for each state; NaN where they saw none."""
        z = Features.of(features).of_states(features)
        return np.column_stack([self._named(z, target, parts) for target in targets.T])

    def fitted(self, features: States, targets: Targets, parts: list[np.ndarray]) -> LinearProbe:
        """Return the probe of all states of one target: a row of weights for each category, or one where two are."""
        del parts  # nothing is selected
        read = Features.of(features)
        (target,) = targets.T
        model = self._model(read.of_states(features), target)
        return read.as_given(model.coef_.T, np.asarray(model.intercept_))

    def _named(self, z: np.ndarray, target: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        predicted = np.zeros(len(target))
        levels, place = np.unique(target, return_inverse=True)
        for number, part in enumerate(parts):
            rows = np.sort(training_rows(parts, number)) if len(parts) > 1 else np.empty(0, dtype=int)
            seen = np.unique(place[rows])
            if len(seen) < 2:
                predicted[part] = levels[seen[0]] if len(seen) else np.nan
            else:
                predicted[part] = levels[self._model(z[rows], place[rows]).predict(z[part])]
        return predicted

    def _model(self, z: np.ndarray, target: np.ndarray) -> LogisticRegression:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            # A fit that stops early gives a weaker probe, and its held-out score shows that.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # The same holds for a fit on few states of each category.
            warnings.filterwarnings("ignore", "The number of unique classes")
            return LogisticRegression(C=self.strength, class_weight="balanced", max_iter=200).fit(z, target)


Fit: TypeAlias = LeastSquares | Ridge | Logistic


@dataclass(frozen=True, eq=False)
class Features:
    """What a probe reads: standardised numbers, or their largest principal components if there are many.

    The cost of a fit grows with the third power of the number of features. The components do not depend on the
    target, so held-out states stay held out; what lies in the other components is not read.

    Attributes:
        mean: of each number.
        scale: its standard deviation over the states; infinite if it is constant.
        components: the directions that are read, (number, feature), or None where each number is a feature.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray | None

    @classmethod
    def of(cls, values: States) -> Features:
        """Return the features that probes of some states read."""
        spread = values.std(0)
        every = cls(values.mean(0), np.where(spread > 1e-12, spread, np.inf), None)
        if values.shape[1] <= MOST_FEATURES:
            return every
        z = every.of_states(values)
        return replace(every, components=np.linalg.eigh(z.T @ z)[1][:, -MOST_FEATURES:])

    def of_states(self, values: States) -> Float[np.ndarray, "state feature"]:
        """Return the features of states."""
        z = (values - self.mean) / self.scale
        return z if self.components is None else z @ self.components

    def as_given(self, weight: Float[np.ndarray, "feature target"], bias: np.ndarray) -> LinearProbe:
        """Return a probe of the features as a probe of the numbers that they are made of."""
        own = (weight if self.components is None else self.components @ weight) / self.scale[:, None]
        return LinearProbe(own.T, bias - self.mean @ own)


class _Sums:
    """The sums over states that a ridge fit needs; the sums of several parts are added."""

    def __init__(self, count: int, z: np.ndarray, y: np.ndarray, zz: np.ndarray, zy: np.ndarray) -> None:
        self.count, self.z, self.y, self.zz, self.zy = count, z, y, zz, zy

    @classmethod
    def of(cls, z: np.ndarray, y: np.ndarray) -> _Sums:
        return cls(len(z), z.sum(0), y.sum(0), z.T @ z, z.T @ y)

    def fit(self, penalties: tuple[float, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the weight and bias for each penalty."""
        n = max(self.count, 1)
        mean, middle = self.z / n, self.y / n
        values, vectors = np.linalg.eigh(self.zz / n - np.outer(mean, mean))
        along = vectors.T @ (self.zy / n - np.outer(mean, middle))
        weights = [vectors @ (along / (np.maximum(values, 0) + penalty)[:, None]) for penalty in penalties]
        return [(weight, middle - mean @ weight) for weight in weights]


def _joined(sums: list[_Sums]) -> _Sums:
    return _Sums(
        sum(part.count for part in sums),
        *(np.sum([getattr(part, name) for part in sums], axis=0) for name in ("z", "y", "zz", "zy")),
    )
