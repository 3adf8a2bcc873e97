"""LEACE: changes states as little as possible so that no linear probe can read a concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import ProbeError

#: Below this share of the concept's own spread a covariance with the states is rounding, not a direction.
_ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class Eraser:
    """An affine map that takes some directions out of states and leaves their mean: x - left right (x - mean).

    Attributes:
        mean: of the states that it was made from, (size,).
        left: directions that are taken out, (size, rank).
        right: how much of each a state has, (rank, size).
    """

    mean: Float[np.ndarray, " size"]
    left: Float[np.ndarray, "size rank"]
    right: Float[np.ndarray, "rank size"]

    @property
    def rank(self) -> int:
        """How many directions are taken out."""
        return self.left.shape[1]

    def __call__(self, states: Float[np.ndarray, "state size"]) -> Float[np.ndarray, "state size"]:
        """Return states without them.

        Args:
            states: any states of the same size, not only those that it was made from.
        """
        return states - (states - self.mean) @ self.right.T @ self.left.T


def leace(states: Float[np.ndarray, "state size"], concept: np.ndarray) -> Eraser:
    """Return what erases a concept: the least change, in any norm of an inner product, that leaves no covariance.

    r(x) = x - W+ P W (x - mean), W the pseudoinverse of the square root of the states' covariance and P the
    orthogonal projection onto the columns of W Cov(states, concept). Nothing is shrunk: constant numbers, and fewer
    states than numbers, are taken care of by the pseudoinverse. A constant concept leaves the states as they are.

    Args:
        states: each of the same weight.
        concept: its value at each, (state,), or columns such as `one_hot` gives, (state, column). One column
            erases what a linear map reads; a code that is curved keeps the rest, which one-hot columns erase too.

    Raises:
        ProbeError: fewer than two states, or a concept that is not aligned to them, or a value is not finite.

    Reference:
        Belrose et al. 2023, LEACE: Perfect linear concept erasure in closed form, theorem 4.3.
    """
    states, columns = _checked(states, concept)
    mean = states.mean(0)
    centred, about = states - mean, columns - columns.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(states))
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    vectors, root = vectors[:, kept], np.sqrt(values[kept])
    whiten, unwhiten = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
    directions, sizes, _ = np.linalg.svd(whiten @ (centred.T @ about) / len(states), full_matrices=False)
    spread = np.sqrt((about**2).sum() / len(states))
    directions = directions[:, sizes > _ROUNDING * spread]
    return Eraser(mean, unwhiten @ directions, directions.T @ whiten)


def projected_out(states: Float[np.ndarray, "state size"], basis: Float[np.ndarray, "number dimension"]) -> Eraser:
    """Return what puts the mean of states in place of their part in a subspace: x - Q Q^T (x - mean).

    Args:
        states: whose mean is put in.
        basis: columns that span the subspace; they are made orthonormal first.

    Raises:
        ProbeError: the columns have another length than the states.
    """
    if basis.ndim != 2 or basis.shape[0] != states.shape[1]:
        raise ProbeError(f"The basis has shape {basis.shape}; its columns must have {states.shape[1]} numbers each.")
    q = np.linalg.qr(basis)[0]
    return Eraser(states.mean(0), q, q.T)


def one_hot(values: Float[np.ndarray, " state"]) -> Float[np.ndarray, "state class"]:
    """Return a column for each value that occurs, ascending: 1 where it does, else 0."""
    return (values[:, None] == np.unique(values)[None]).astype(float)


def _checked(states: np.ndarray, concept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    states, concept = np.asarray(states, dtype=float), np.asarray(concept, dtype=float)
    columns = concept[:, None] if concept.ndim == 1 else concept
    if states.ndim != 2 or len(states) < 2:
        raise ProbeError(f"The states have shape {states.shape}; give at least two, (state, size).")
    if columns.ndim != 2 or len(columns) != len(states):
        raise ProbeError(
            f"The concept has shape {concept.shape}; it must have a value, or a row of columns, for each of the "
            f"{len(states)} states."
        )
    if not (np.isfinite(states).all() and np.isfinite(columns).all()):
        raise ProbeError("States and concept must be finite everywhere; leave the other rows out.")
    return states, columns
