"""Linear probes of a study: ridge for numbers, logistic for categories, held out by sequence."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

#: The penalties of the ridge, each times the number of states. One is selected on the training sequences.
PENALTIES = (1e-7, 1e-5, 1e-3, 1e-1, 10.0)
#: A probe of more features than this reads their largest principal components instead.
MOST_FEATURES = 512


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


def predict_numbers(
    features: Float[np.ndarray, "state number"], targets: Float[np.ndarray, "state target"], fold: np.ndarray
) -> Float[np.ndarray, "state target"]:
    """Return the predictions of ridge probes for each state, fitted on the states of the other folds.

    The penalty of each target is selected by cross-validation among the training folds. Then the probe is fitted on
    all of them.

    Args:
        features: the numbers that the probe reads, see `features_of`.
        targets: the numbers that it predicts.
        fold: the fold of each state; all states of one sequence are in the same fold.

    Reference:
        Hoerl & Kennard 1970, Ridge regression.
    """
    z = features_of(features)
    parts = [fold == number for number in np.unique(fold)]
    sums = [_Sums.of(z[part], targets[part]) for part in parts]
    predicted = np.zeros(targets.shape)
    for number, part in enumerate(parts):
        training = [place for place in range(len(parts)) if place != number]
        errors = np.zeros((len(PENALTIES), targets.shape[1]))
        for left_out in training if len(training) > 1 else ():
            fitted = _joined([sums[place] for place in training if place != left_out]).fit()
            rows = parts[left_out]
            errors += [((targets[rows] - z[rows] @ weight - bias) ** 2).sum(0) for weight, bias in fitted]
        penalty = np.argmin(errors, axis=0)
        for place, (weight, bias) in enumerate(_joined([sums[place] for place in training]).fit()):
            columns = penalty == place
            predicted[np.ix_(part, columns)] = z[part] @ weight[:, columns] + bias[columns]
    return predicted


class _Sums:
    """The sums over states that a ridge fit needs; the sums of several folds are added."""

    def __init__(self, count: int, z: np.ndarray, y: np.ndarray, zz: np.ndarray, zy: np.ndarray) -> None:
        self.count, self.z, self.y, self.zz, self.zy = count, z, y, zz, zy

    @classmethod
    def of(cls, z: np.ndarray, y: np.ndarray) -> _Sums:
        return cls(len(z), z.sum(0), y.sum(0), z.T @ z, z.T @ y)

    def fit(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the weight and bias for each penalty."""
        n = max(self.count, 1)
        mean, middle = self.z / n, self.y / n
        values, vectors = np.linalg.eigh(self.zz / n - np.outer(mean, mean))
        along = vectors.T @ (self.zy / n - np.outer(mean, middle))
        weights = [vectors @ (along / (np.maximum(values, 0) + penalty)[:, None]) for penalty in PENALTIES]
        return [(weight, middle - mean @ weight) for weight in weights]


def _joined(sums: list[_Sums]) -> _Sums:
    return _Sums(
        sum(part.count for part in sums),
        *(np.sum([getattr(part, name) for part in sums], axis=0) for name in ("z", "y", "zz", "zy")),
    )


def predict_categories(
    features: Float[np.ndarray, "state number"], target: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Return the category that a logistic probe predicts for each state, fitted on the states of the other folds.

    Each category has the same weight in the fit, however few states it has. With equal weights for states, the probe
    would ignore a rare category.

    Args:
        features: the numbers that the probe reads.
        target: the number of each state's category, (state,).
        fold: the fold of each state.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    z, predicted = features_of(features), np.zeros(len(target))
    levels, place = np.unique(target, return_inverse=True)
    for number in np.unique(fold):
        part = fold == number
        seen = np.unique(place[~part])
        if len(seen) < 2:
            predicted[part] = levels[seen[0]] if len(seen) else np.nan
            continue
        with warnings.catch_warnings():
            # A fit that stops early gives a weaker probe, and its held-out score shows that.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # The same holds for a fit on few states of each category.
            warnings.filterwarnings("ignore", "The number of unique classes")
            model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200).fit(z[~part], place[~part])
        predicted[part] = levels[model.predict(z[part])]
    return predicted
