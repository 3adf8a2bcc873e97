"""Which estimator reads a planted network's count best after seven bits, and how the answer follows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from tests.repo.oracle_changes import PREFIXES, score_along
from tests.repo.oracle_network import HEADLINE, Plain
from tests.repo.oracle_reading import parts_of

SPLITS = 10
#: What reads as well as the best to so much of R2 may be the best in another draw of halves.
TIE = 1e-4
Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _ridge(penalty: float) -> Estimator:
    def fitted(states: np.ndarray, counts: np.ndarray) -> np.ndarray:
        strength = penalty * states.var(0).mean() * len(states)
        return Ridge(alpha=strength, solver="svd").fit(states, counts).coef_

    return fitted


def _logistic(states: np.ndarray, counts: np.ndarray) -> np.ndarray:
    found = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(states, counts).coef_
    return np.linalg.svd((found - found.mean(0)).T)[0][:, 0]


ESTIMATORS: dict[str, Estimator] = {
    "logistic": _logistic,
    "least squares": lambda states, counts: np.linalg.lstsq(states - states.mean(0), counts - counts.mean())[0],
    "ridge .01": _ridge(0.01),
    "ridge .1": _ridge(0.1),
    "ridge 1": _ridge(1.0),
    "slope": lambda states, counts: (states - states.mean(0)).T @ (counts - counts.mean()),
}


def readings(net: Plain) -> dict[str, float]:
    """Return the held-out R2 of the count along each estimator's direction, with an affine map of its own."""
    states, found = net.at[HEADLINE], {name: list[float]() for name in ESTIMATORS}
    for split in range(SPLITS):
        for fitted, other in parts_of(len(PREFIXES), 2, split):
            for name, estimate in ESTIMATORS.items():
                along = states @ estimate(states[fitted], PREFIXES[fitted])
                line = np.polyfit(along[fitted], PREFIXES[fitted], 1)
                missed = PREFIXES[other] - np.polyval(line, along[other])
                found[name].append(float(1 - (missed**2).mean() / PREFIXES[other].var()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def best_scores(net: Plain) -> dict[str, float]:
    """Return the interchange scores along the directions that read best, by estimator; several where they tie."""
    read, states = readings(net), net.at[HEADLINE]
    best = [name for name, value in read.items() if value >= max(read.values()) - TIE]
    return {name: score_along(net, ESTIMATORS[name](states, PREFIXES)) for name in best}
