"""Linear probes as values: least squares, ridge and logistic, each asked about states that it was not fitted on.

`held_out` takes the features (state, number), the targets (state, target), which are numbers or the places of
categories, and the states of each part (`probe.methods.probing.splits`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from .linear import fit_linear
from .splits import training_rows

#: A ridge or logistic probe of more features than this reads their largest principal components instead.
MOST_FEATURES = 512
States: TypeAlias = Float[np.ndarray, "state number"]
Targets: TypeAlias = Float[np.ndarray, "state target"]


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
        z = features_of(features)
        sums = [_Sums.of(z[part], targets[part]) for part in parts]
        predicted = np.zeros(targets.shape)
        for number, part in enumerate(parts):
            training = [place for place in range(len(parts)) if place != number]
            errors = np.zeros((len(self.penalties), targets.shape[1]))
            for left_out in training if len(training) > 1 else ():
                fitted = _joined([sums[place] for place in training if place != left_out]).fit(self.penalties)
                rows = parts[left_out]
                errors += [((targets[rows] - z[rows] @ weight - bias) ** 2).sum(0) for weight, bias in fitted]
            penalty = np.argmin(errors, axis=0)
            for place, (weight, bias) in enumerate(_joined([sums[place] for place in training]).fit(self.penalties)):
                columns = penalty == place
                predicted[np.ix_(part, columns)] = z[part] @ weight[:, columns] + bias[columns]
        return predicted


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
        z = features_of(features)
        return np.column_stack([self._named(z, target, parts) for target in targets.T])

    def _named(self, z: np.ndarray, target: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        predicted = np.zeros(len(target))
        levels, place = np.unique(target, return_inverse=True)
        for number, part in enumerate(parts):
            rows = np.sort(training_rows(parts, number)) if len(parts) > 1 else np.empty(0, dtype=int)
            seen = np.unique(place[rows])
            if len(seen) < 2:
                predicted[part] = levels[seen[0]] if len(seen) else np.nan
                continue
            with warnings.catch_warnings():
                # A fit that stops early gives a weaker probe, and its held-out score shows that.
                warnings.simplefilter("ignore", ConvergenceWarning)
                # The same holds for a fit on few states of each category.
                warnings.filterwarnings("ignore", "The number of unique classes")
                model = LogisticRegression(C=self.strength, class_weight="balanced", max_iter=200)
                model = model.fit(z[rows], place[rows])
            predicted[part] = levels[model.predict(z[part])]
        return predicted


Fit: TypeAlias = LeastSquares | Ridge | Logistic


def features_of(values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state feature"]:
    """Return the features of a probe: standardised numbers, or their largest principal components if there are many.

    The cost of a fit grows with the third power of the number of features. The components do not depend on the
    target, so held-out states stay held out; what lies in the other components is not read.

    Args:
        values: the numbers that the probe reads.
    """
    z = standardised(values)
    if z.shape[1] <= MOST_FEATURES:
        return z
    _, vectors = np.linalg.eigh(z.T @ z)
    return z @ vectors[:, -MOST_FEATURES:]


def standardised(values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state number"]:
    """Return numbers with mean 0 and standard deviation 1 over the states; constant ones become 0."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 1e-12, spread, np.inf)


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
