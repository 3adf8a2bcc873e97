"""Linear probes of a study: ridge for numbers, logistic for categories, held out by sequence."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

#: Penalties that are tried, each times the number of states; which one is used is decided on training sequences.
PENALTIES = (1e-7, 1e-5, 1e-3, 1e-1, 10.0)


#: Of more numbers than this a probe reads the largest principal components.
MOST_FEATURES = 512


def features_of(values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state feature"]:
    """Return what probes are fitted on: standardised numbers, or of many their largest principal components.

    A fit's cost grows with the third power of how many there are. The components look at no target, so that what is
    held out stays so; what lies in the others is not read.

    Args:
        values: what is read from.
    """
    z = standardised(values)
    if z.shape[1] <= MOST_FEATURES:
        return z
    _, vectors = np.linalg.eigh(z.T @ z)
    return z @ vectors[:, -MOST_FEATURES:]


def standardised(values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state number"]:
    """Return numbers with mean 0 and spread 1 over the states; constant ones become 0."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 1e-12, spread, np.inf)


def told_numbers(
    features: Float[np.ndarray, "state number"], targets: Float[np.ndarray, "state target"], fold: np.ndarray
) -> Float[np.ndarray, "state target"]:
    """Return what ridge probes say of each state's targets, fitted on the states of other folds.

    The training folds, each held out in turn, decide the penalty of each target; then all of them are fitted.

    Args:
        features: what is read from, see `features_of`.
        targets: what is looked for.
        fold: which part each state is in; states of one sequence are in one part.

    Reference:
        Hoerl & Kennard 1970, Ridge regression.
    """
    z = features_of(features)
    parts = [fold == number for number in np.unique(fold)]
    sums = [_Sums.of(z[part], targets[part]) for part in parts]
    told = np.zeros(targets.shape)
    for number, part in enumerate(parts):
        training = [place for place in range(len(parts)) if place != number]
        errors = np.zeros((len(PENALTIES), targets.shape[1]))
        for judge in training if len(training) > 1 else ():
            fitted = _joined([sums[place] for place in training if place != judge]).fit()
            held = parts[judge]
            errors += [((targets[held] - z[held] @ weight - bias) ** 2).sum(0) for weight, bias in fitted]
        penalty = np.argmin(errors, axis=0)
        for place, (weight, bias) in enumerate(_joined([sums[place] for place in training]).fit()):
            chosen = penalty == place
            told[np.ix_(part, chosen)] = z[part] @ weight[:, chosen] + bias[chosen]
    return told


class _Sums:
    """What a ridge fit needs of some states: sums, so that those of several parts are added."""

    def __init__(self, count: int, z: np.ndarray, y: np.ndarray, zz: np.ndarray, zy: np.ndarray) -> None:
        self.count, self.z, self.y, self.zz, self.zy = count, z, y, zz, zy

    @classmethod
    def of(cls, z: np.ndarray, y: np.ndarray) -> _Sums:
        return cls(len(z), z.sum(0), y.sum(0), z.T @ z, z.T @ y)

    def fit(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weight and bias for each penalty."""
        n = max(self.count, 1)
        mean, middle = self.z / n, self.y / n
        values, vectors = np.linalg.eigh(self.zz / n - np.outer(mean, mean))
        along = vectors.T @ (self.zy / n - np.outer(mean, middle))
        fitted = []
        for penalty in PENALTIES:
            weight = vectors @ (along / (np.maximum(values, 0) + penalty)[:, None])
            fitted.append((weight, middle - mean @ weight))
        return fitted


def _joined(sums: list[_Sums]) -> _Sums:
    return _Sums(
        sum(one.count for one in sums),
        *(np.sum([getattr(one, name) for one in sums], axis=0) for name in ("z", "y", "zz", "zy")),
    )


def told_categories(features: Float[np.ndarray, "state number"], target: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the category that a logistic probe says of each state, fitted on the states of other folds.

    Each category weighs the same in the fit, however few states it has: a probe that counts states alike would
    leave out a rare one.

    Args:
        features: what is read from.
        target: the number of each state's category, (state,).
        fold: which part each state is in.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    z, told = features_of(features), np.zeros(len(target))
    levels, place = np.unique(target, return_inverse=True)
    for number in np.unique(fold):
        part = fold == number
        seen = np.unique(place[~part])
        if len(seen) < 2:
            told[part] = levels[seen[0]] if len(seen) else np.nan
            continue
        with warnings.catch_warnings():
            # A probe that is stopped early is a weaker probe, and its held-out score says so.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # So is one that has seen few states of each category.
            warnings.filterwarnings("ignore", "The number of unique classes")
            model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200).fit(z[~part], place[~part])
        told[part] = levels[model.predict(z[part])]
    return told
