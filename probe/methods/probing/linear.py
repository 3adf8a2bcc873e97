"""The least-squares probe, and the share of variance that it explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import ProbeError

#: Below this a variance is rounding, and the quotient of two such residues would be any number.
ROUNDING = 1e-12


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
