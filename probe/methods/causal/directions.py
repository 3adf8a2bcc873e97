"""Finds directions of states along which a concept is written, or can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine
from .class_means import Classes

#: Penalties of the ridge weights, in units of the mean diagonal of the states' covariance.
PENALTIES = (0.01, 0.1, 1.0)


def encoding_slope(classes: Classes) -> Float[np.ndarray, " size"]:
    """Return Cov(s, concept): how states move with the concept; divided by Var(concept), by how much for one unit.

    Reference:
        Haufe et al. 2014, On the interpretation of weight vectors of linear models in multivariate neuroimaging,
        equation 6 (the pattern, not the filter).
    """
    return _centred(classes.states).T @ _centred(classes.concept) / len(classes.concept)


def shift_by_one(classes: Classes) -> Float[np.ndarray, " size"]:
    """Return how far states move along the encoding slope for one unit of the concept: Cov(s, n) / Var(n)."""
    variance = float(classes.concept.var())
    return encoding_slope(classes) / variance if variance else np.zeros(classes.states.shape[1])


def ridge_weight(classes: Classes, penalty: float = 0.0) -> Float[np.ndarray, " size"]:
    """Return the weight w that minimises mean (n - w s)^2 + lambda |w|^2, states and concept centred.

    Args:
        classes: the distinct states at a step.
        penalty: lambda in units of the mean diagonal of Cov(s); 0 is least squares, of smallest norm where many fit.

    Directions in which the states differ by no more than rounding makes of them are left out of the least squares: a
    clock is the same number in all states of a step, but for its last bits, and a weight on those fits anything. That
    is one rounding of each number in float32, and `Classes.rounding` where it is more: a recurrence rounds at every
    step.

    Reference:
        Hoerl & Kennard 1970, Ridge regression, equation 2.1.
    """
    states, concept = _centred(classes.states), _centred(classes.concept)
    if not penalty:
        largest = float(np.linalg.norm(states, 2))
        rounding = max(_rounding(classes.states), classes.rounding)
        return np.linalg.lstsq(states, concept, rcond=rounding / largest if largest else None)[0]
    covariance = states.T @ states / len(states)
    size = len(covariance)
    loaded = covariance + penalty * np.trace(covariance) / size * np.eye(size)
    # Where the states do not vary there is no direction, and nothing to solve.
    return np.linalg.solve(loaded, encoding_slope(classes)) if np.trace(covariance) else np.zeros(size)


def logistic_direction(classes: Classes) -> Float[np.ndarray, " size"]:
    """Return the first left singular vector of a multinomial logistic regression's centred coefficients, C = 1.

    Reference:
        docs/science.md, "Direction".
    """
    from sklearn.linear_model import LogisticRegression

    if len(classes.values) < 2:
        return np.zeros(classes.states.shape[1])
    # To convergence: L-BFGS stops where its direction is still off by several hundredths, at a place that rounding
    # chooses.
    fitted = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(classes.states, classes.member)
    coefficients = fitted.coef_.T
    if len(classes.values) > 2:  # two classes have one column, the difference of theirs
        coefficients = coefficients - coefficients.mean(1, keepdims=True)
    return np.linalg.svd(coefficients)[0][:, 0]


def joint_directions(
    states: Float[np.ndarray, "state size"], concepts: Float[np.ndarray, "state concept"]
) -> tuple[Float[np.ndarray, "concept size"], Float[np.ndarray, "concept size"]]:
    """Return for each of several concepts the direction along which states hold it, and what reads its coordinate.

    States are fitted by least squares as a sum of one direction for each concept: s = m + sum_k n_k e_k. A state's
    coordinates are those of the nearest such sum, so that the reading of a concept is 0 along the others' directions.

    Returns:
        The directions e, and the readings w: rows of the pseudoinverse, w_j e_k = 1 where j = k and 0 elsewhere.

    Raises:
        ProbeError: a concept does not vary or follows from the others, or states do not hold it in a direction of its
            own.

    Reference:
        Haufe et al. 2014, On the interpretation of weight vectors of linear models in multivariate neuroimaging,
        equation 6, of several concepts at once.
    """
    varied = _centred(concepts)
    if np.linalg.matrix_rank(varied) < varied.shape[1]:
        raise ProbeError(
            f"Of the {varied.shape[1]} concepts one is the same in all {len(varied)} states or follows from the "
            "others, so that no direction is its own. Give more states, or another step."
        )
    encodings = np.linalg.lstsq(varied, _centred(states))[0]
    # How much rounding moves an encoding: that of the states over how far the concepts vary.
    rounded = _rounding(states) / float(np.linalg.norm(varied, 2))
    if np.linalg.matrix_rank(encodings, tol=rounded) < len(encodings):
        raise ProbeError(
            "The states hold the concepts along directions that follow from each other: none is its own."
        )
    return encodings, np.linalg.pinv(encodings).T


def gradient_directions(
    machine: Machine, rows: Int64[Tensor, " row"], step: int, count: int
) -> Float[np.ndarray, "size direction"]:
    """Return the directions of states after a step along which the expected answer moves most, orthonormal.

    Where the answer is a line through the last state, the first of them is that line's weight.

    Args:
        machine: the network.
        rows: of the clean run, whose states they are of.
        step: after which step.
        count: how many directions.

    Reference:
        Constantine, Dow & Wang 2014, Active subspace methods in theory and practice, section 2.
    """
    states = machine.clean.states[rows, step].detach().clone().requires_grad_()
    with torch.enable_grad():
        left = machine.clean.inputs[rows, step + 1 :]
        last = machine.dynamics.advance(states, left) if left.shape[1] else states
        (slope,) = torch.autograd.grad(machine.readout.answers(last).expected.sum(), states)
    return np.linalg.svd(slope.numpy(), full_matrices=False)[2][:count].T


def _rounding(states: np.ndarray) -> float:
    """Return the largest singular value that the rounding of states in float32 alone can have."""
    return float(np.finfo(np.float32).eps * np.abs(states).max(initial=0.0) * np.sqrt(states.size))


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(0)


#: Kind of direction -> how it is found.
DIRECTIONS: Mapping[str, Callable[[Classes], np.ndarray]] = {
    "ols": ridge_weight,
    **{f"ridge_{penalty:g}": partial(ridge_weight, penalty=penalty) for penalty in PENALTIES},
    "logistic": logistic_direction,
    "slope": encoding_slope,
}
