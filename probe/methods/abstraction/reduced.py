"""Fits a small affine recurrence, with one map for each symbol, to a network's answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from ...errors import ProbeError, several
from ..machines import Machine
from .automata import as_symbols

#: How much a fit may follow single directions of states: ridge, in units of their mean variance.
_RIDGE = 1e-6
_STEPS, _STARTS = 60, 3


@dataclass(frozen=True, eq=False)
class AffineModel:
    """z_{t+1} = A_x z_t + b_x from z_0 = 0, read as y = r . z + r_0: an input-switched affine recurrence.

    Its maps A and shifts b are one for each symbol of the alphabet; `error` is the root of the mean squared error of
    y on what it was fitted to, each length of the same weight.
    """

    alphabet: Float64[np.ndarray, "symbol input"]
    maps: Float64[np.ndarray, "symbol dimension dimension"]
    shifts: Float64[np.ndarray, "symbol dimension"]
    readout: Float64[np.ndarray, " dimension"]
    constant: float
    error: float = float("nan")

    def predict(self, x: Shaped[Tensor, "batch time *input"]) -> Float64[np.ndarray, " batch"]:
        """Return y after whole sequences of any length.

        Raises:
            ProbeError: a sequence holds an input that the model was not fitted on.
        """
        z = np.zeros((len(x), len(self.readout)))
        for codes in _codes(x, self.alphabet).T:
            z = np.einsum("ijk,ik->ij", self.maps[codes], z) + self.shifts[codes]
        return z @ self.readout + self.constant


def _codes(x: Tensor, alphabet: np.ndarray) -> Int64[np.ndarray, "batch time"]:
    symbols = as_symbols(x)
    if symbols.alphabet.shape[1] == alphabet.shape[1]:
        same = (symbols.alphabet[:, None] == alphabet[None]).all(2)
        if same.any(1).all():
            return same.argmax(1)[symbols.codes]
    raise ProbeError(
        f"The sequences hold the inputs {', '.join(symbols.names)[:60]}; the model was fitted on "
        f"{several(len(alphabet), 'input')} of {several(alphabet.shape[1], 'feature')}, which are others."
    )


@dataclass(frozen=True, eq=False)
class _Prefixes:
    """All distinct prefixes of the clean run as a tree, the empty one first; the arrays hold all others."""

    alphabet: np.ndarray
    parent: np.ndarray
    symbol: np.ndarray
    length: np.ndarray
    states: np.ndarray
    y: np.ndarray

    @cached_property
    def groups(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """The prefixes of one length that end in one symbol, the shortest first: the symbol, numbers, parents."""
        found = []
        for length, symbol in itertools.product(np.unique(self.length), range(len(self.alphabet))):
            own = np.flatnonzero((self.length == length) & (self.symbol == symbol))
            if len(own):
                found.append((symbol, own + 1, self.parent[own]))
        return found


@torch.no_grad()
def _prefixes(machine: Machine) -> _Prefixes:
    clean = machine.clean
    if bool(clean.starts.any()):
        raise ProbeError("The sequences start in different states, and the empty prefix has one; give another model.")
    symbols = as_symbols(clean.inputs)
    number = np.zeros(len(clean.inputs), dtype=np.int64)  # each row's prefix; 0 is the empty one
    parts: list[tuple[np.ndarray, ...]] = []
    seen = 0
    for step, prefixes in enumerate(clean.prefixes):
        states, rows = clean.states[prefixes.rows, step], prefixes.rows.numpy()
        y = machine.answers(states).expected.numpy()
        parts.append((number[rows], symbols.codes[rows, step], np.full(len(rows), step + 1), states.numpy(), y))
        key = number * len(symbols.alphabet) + symbols.codes[:, step]
        number = seen + 1 + np.searchsorted(np.sort(key[rows]), key)
        order = np.argsort(key[rows])
        parts[-1] = tuple(values[order] for values in parts[-1])
        seen += len(rows)
    return _Prefixes(symbols.alphabet, *(np.concatenate(values) for values in zip(*parts, strict=True)))


def fit_affine(machine: Machine, lengths: Iterable[int], *, dimensions: int = 2, seed: int = 0) -> AffineModel:
    """Return the affine recurrence that follows a network's expected answers at several lengths best.

    The answer after a prefix is the head's reading of the state there, which is the answer to that prefix as a
    sequence of its own. Two stages. First the states are projected on those directions that say most about the
    answer now and after each possible next symbol (reduced-rank regression), and A_x, b_x and r are least squares
    between the projections. Then everything is refined together by Gauss-Newton steps with Levenberg's damping on y
    alone, each length of the same weight, from that start and two seeded disturbances of it; the least error wins.
    Best the machine runs all sequences of the longest length: their prefixes are what is fitted.

    Raises:
        ProbeError: a length does not exist, or there is no dimension; the state never changes; or fewer than
            two prefixes are followed by each of the inputs.

    Reference:
        Izenman 1975, Reduced-rank regression for the multivariate linear model; Foerster et al. 2017, Input switched
        affine networks, equation 1.
    """
    wanted = sorted(set(lengths))
    longest = machine.clean.inputs.shape[1]
    if not wanted or wanted[0] < 1 or wanted[-1] > longest:
        raise ProbeError(f"lengths={wanted} must name at least one, from 1 to the {longest} steps of the machine.")
    if dimensions < 1:
        raise ProbeError(f"dimensions={dimensions} must be at least 1.")
    tree = _prefixes(machine)
    weight = np.zeros(len(tree.y))
    for length in wanted:
        own = tree.length == length
        weight[own] = 1 / (own.sum() * len(wanted))
    first = _projected(tree, weight, dimensions)
    generator = np.random.default_rng(seed)
    best, error = first, np.inf
    for number in range(_STARTS):
        noise = 0.1 * (np.abs(first) + np.abs(first).mean()) * generator.standard_normal(len(first))
        start = first + noise if number else first
        found, reached = _refined(tree, weight, start, dimensions)
        if reached < error:
            best, error = found, reached
    maps, shifts, readout, constant = _unpacked(best, len(tree.alphabet), dimensions)
    return AffineModel(tree.alphabet, maps, shifts, readout, float(constant), float(np.sqrt(error)))


def _projected(tree: _Prefixes, weight: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the parameters of the first stage."""
    symbols = len(tree.alphabet)
    # What follows from a prefix: y now, and y after each next symbol where that prefix was run.
    ahead = np.full((len(tree.y) + 1, symbols), np.nan)
    ahead[tree.parent, tree.symbol] = tree.y
    futures = np.column_stack([tree.y, ahead[1:]])
    used = np.isfinite(futures).all(1)
    if used.sum() < 2:
        many = "one" if used.any() else "none"
        raise ProbeError(f"The fit needs two prefixes that are followed by each of the inputs, and there is {many}.")
    centre = tree.states[used].mean(0)
    states = tree.states - centre
    scale = (states[used] ** 2).mean()
    if not scale:
        raise ProbeError(
            "The state is the same after all prefixes that are followed by each of the inputs, and no recurrence can "
            "be fitted to it."
        )
    gram = states[used].T @ states[used] / used.sum() + _RIDGE * scale * np.eye(states.shape[1])
    wanted = futures[used] - futures[used].mean(0)
    slope = np.linalg.solve(gram, states[used].T @ wanted / used.sum())
    _, _, axes = np.linalg.svd(states[used] @ slope, full_matrices=False)
    rank = min(dimensions, len(axes))
    z = np.zeros((len(tree.y), dimensions))
    z[:, :rank] = states @ slope @ axes[:rank].T
    # The empty prefix is the origin: what the first symbols add is left to b.
    z_all = np.concatenate([np.zeros((1, dimensions)), z])
    maps, shifts = np.zeros((symbols, dimensions, dimensions)), np.zeros((symbols, dimensions))
    for symbol in range(symbols):
        own = (tree.symbol == symbol) & (tree.length > 1)
        before = np.column_stack([z_all[tree.parent[own]], np.ones(own.sum())])
        found = np.linalg.lstsq(before, z[own], rcond=1e-8)[0]
        maps[symbol], shifts[symbol] = found[:-1].T, found[-1]
    root = np.sqrt(weight)[:, None]
    read = np.linalg.lstsq(root * np.column_stack([z, np.ones(len(z))]), root[:, 0] * tree.y, rcond=1e-8)[0]
    return np.concatenate([maps.ravel(), shifts.ravel(), read])


def _unpacked(theta: np.ndarray, symbols: int, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    square, line = symbols * dimensions**2, symbols * dimensions
    maps = theta[:square].reshape(symbols, dimensions, dimensions)
    shifts = theta[square : square + line].reshape(symbols, dimensions)
    return maps, shifts, theta[square + line : -1], theta[-1]


def _refined(tree: _Prefixes, weight: np.ndarray, theta: np.ndarray, dimensions: int) -> tuple[np.ndarray, float]:
    """Return parameters with a smaller weighted squared error of y, and that error."""
    z, predicted = _forward(tree, theta, dimensions)
    error = float(weight @ (tree.y - predicted) ** 2)
    curvature, gradient = _normal_equations(tree, weight, theta, z, predicted)
    damping = 1e-2
    for _ in range(_STEPS):
        step = np.linalg.solve(
            curvature + damping * (np.diag(np.diag(curvature)) + 1e-9 * np.eye(len(theta))), gradient
        )
        z, predicted = _forward(tree, theta + step, dimensions)
        reached = float(weight @ (tree.y - predicted) ** 2)
        if np.isfinite(reached) and reached < error:
            done = error - reached < 1e-6 * error
            theta, error = theta + step, reached
            damping = max(damping / 5, 1e-9)
            if done or error < 1e-24:
                break
            curvature, gradient = _normal_equations(tree, weight, theta, z, predicted)
        else:
            damping *= 5
            if damping > 1e8:
                break
    return theta, error


def _normal_equations(
    tree: _Prefixes, weight: np.ndarray, theta: np.ndarray, z: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a Gauss-Newton step solves: the curvature, (parameter, parameter), and the gradient."""
    slope = _slope(tree, theta, z)
    across = slope.T * weight
    return across @ slope, across @ (tree.y - predicted)


def _forward(tree: _Prefixes, theta: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z of every prefix, the empty one first, (prefix, dimension), and y of all but that one, (prefix,)."""
    maps, shifts, readout, constant = _unpacked(theta, len(tree.alphabet), dimensions)
    z = np.zeros((len(tree.y) + 1, dimensions))
    for symbol, own, before in tree.groups:
        z[own] = z[before] @ maps[symbol].T + shifts[symbol]
    return z, z[1:] @ readout + constant


def _slope(tree: _Prefixes, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the derivative of y of every prefix by every parameter, (prefix, parameter)."""
    symbols, dimensions = len(tree.alphabet), z.shape[1]
    maps, _, readout, _ = _unpacked(theta, symbols, dimensions)
    moved = np.zeros((len(z), len(theta), dimensions))
    square = symbols * dimensions**2
    for symbol, own, before in tree.groups:
        # One product of matrices: numpy multiplies stacks of small ones one by one.
        change = (moved[before].reshape(-1, dimensions) @ maps[symbol].T).reshape(len(own), -1, dimensions)
        for axis in range(dimensions):
            start = (symbol * dimensions + axis) * dimensions
            change[:, start : start + dimensions, axis] += z[before]
            change[:, square + symbol * dimensions + axis, axis] += 1
        moved[own] = change
    slope = (moved[1:].reshape(-1, dimensions) @ readout).reshape(len(tree.y), -1)
    slope[:, -1 - dimensions : -1] += z[1:]
    slope[:, -1] = 1
    return slope
