"""Controls of a probe: the step, the last inputs, other memories, shuffled values, and how the variance splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError, several

#: With more steps than this, neighbouring steps share a bin.
MOST_BINS = 64
#: The probe on the last inputs reads at most so many numbers, and at most so many steps.
LAST_NUMBERS, LAST_STEPS = 256, 4


def clock_r_squared(
    step: np.ndarray, concept: Float[np.ndarray, " state"], weight: Float[np.ndarray, " state"]
) -> float:
    """Return the share of the concept's variance that the step alone explains (0.6 for ones in ten bits)."""
    mean = np.average(concept, weights=weight)
    by_step = np.zeros_like(concept)
    for value in np.unique(step):
        rows = step == value
        by_step[rows] = np.average(concept[rows], weights=weight[rows])
    total = np.average((concept - mean) ** 2, weights=weight)
    return float(np.average((by_step - mean) ** 2, weights=weight) / total) if total > 0 else 0.0


def clock_features(step: np.ndarray, bins: np.ndarray, left: np.ndarray | None = None) -> np.ndarray:
    """Return features that depend on the step alone: one column for each bin of steps, and the step itself.

    Args:
        step: the step of each state, (state,).
        bins: the bin of steps of each, (state,).
        left: how many steps follow each, (state,), for a layer that reads from the end and may count them; else None.

    Returns:
        The features, (state, number).
    """
    columns = [bins[:, None] == np.unique(bins), step]
    if left is not None:
        ends = np.minimum(left, MOST_BINS)
        columns += [ends[:, None] == np.unique(ends), left]
    return np.column_stack(columns).astype(float)


def in_columns(x: Float[Tensor, "sequence time feature"]) -> Float[Tensor, "sequence time number"]:
    """Return inputs of one whole number each with a column for each value that occurs, the most frequent ones.

    A token's id says nothing by its size: a linear probe on the number reads less than the input tells. Others, and
    those of at most two values, are returned as they are.
    """
    values, counts = np.unique(x.detach().cpu().numpy(), return_counts=True)
    if x.shape[2] != 1 or len(values) <= 2 or not np.array_equal(values, values.round()):
        return x
    frequent = values[np.argsort(-counts, kind="stable")[: LAST_NUMBERS - 1]]
    return torch.cat([x, (x == torch.as_tensor(frequent).to(x)).to(x.dtype)], dim=2)


def steps_back(x: Float[Tensor, "sequence time number"]) -> int:
    """Return how many of the last inputs a probe reads, whose numbers are at most `LAST_NUMBERS`."""
    return int(np.clip(LAST_NUMBERS // max(x.shape[2], 1), 1, min(LAST_STEPS, x.shape[1])))


def inputs_around(
    x: Float[Tensor, "sequence time feature"], sequence: np.ndarray, step: np.ndarray, away: range
) -> Float[np.ndarray, "state number"]:
    """Return the inputs at some distances from each state, side by side; 0 outside of the sequence.

    Args:
        x: the inputs; zero at padding.
        sequence: the sequence of each state, (state,).
        step: its step, (state,).
        away: the distances: 0 is the last input that the state has read, -1 the one before, 1 the next.
    """
    most = max(map(abs, away))
    values = np.pad(x.double().numpy(), ((0, 0), (most, most), (0, 0)))
    return np.concatenate([values[sequence, most + step + steps] for steps in away], axis=1)


def inputs_read(
    x: Float[Tensor, "sequence time feature"], sequence: np.ndarray, step: np.ndarray, *, before: bool, after: bool
) -> tuple[Float[np.ndarray, "state number"], str]:
    """Return the inputs that a control reads at each state, side by side, and what they are called.

    Args:
        x: the inputs; zero at padding.
        sequence: the sequence of each state, (state,).
        step: its step, (state,).
        before: whether the state depends on inputs before its step.
        after: whether it depends on inputs after it.
    """
    read = in_columns(x)
    count = steps_back(read)
    away = range(1 - count if before else 0, count if after else 1)
    inputs = several(len(away), "input")
    name = f"{inputs} around" if before and after else f"{'next' if after else 'last'} {inputs}"
    return inputs_around(read, sequence, step, away), name


def relabelled(
    values: np.ndarray, bins: np.ndarray, blocks: Sequence[np.ndarray], count: int, *, seed: int
) -> list[np.ndarray]:
    """Return values in another order, in which nothing but the step could tell them.

    They are shuffled among the states of each bin of steps, so that what the step explains is kept. A concept that
    has one value in each group or sequence is shuffled among whole ones: its states are not independent, and by
    chance more is read of a few sequences than of many states.

    Args:
        values: the concept's value at each state, (state,).
        bins: the bin of steps of each, (state,).
        blocks: the group of each state, (state,), and its sequence; the largest in which the concept has one value.
        count: how often they are shuffled.
        seed: of the orders.

    Reference:
        Winkler et al. 2015, Multi-level block permutation.
    """
    rng, orders, place = np.random.default_rng([seed, 3]), [], np.argsort(bins, kind="stable")
    whole = next((found for block in blocks if (found := _of_one_value(values, block)) is not None), None)
    for _ in range(count):
        if whole is not None:
            first, own = whole
            orders.append(values[rng.permutation(first)][own])
            continue
        # A stable sort by bin after a random permutation: the values of each bin are in random order.
        mixed = rng.permutation(len(values))
        shuffled = np.empty_like(values)
        shuffled[place] = values[mixed[np.argsort(bins[mixed], kind="stable")]]
        orders.append(shuffled)
    return orders


def _of_one_value(values: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the first state of each block and the block of each state, or None where values differ in a block."""
    _, first, own = np.unique(block, return_index=True, return_inverse=True)
    return (first, own) if len(first) < len(values) and np.array_equal(values[first][own], values) else None


def signed_sums(
    x: Float[Tensor, "batch time input"], *, count: int = 200, seed: int = 0
) -> Float[np.ndarray, "batch time sum"]:
    """Return other memories of the inputs: sums of those read so far, with random signs that nearly cancel.

    Labels at random cannot tell a trained network from an untrained one here; sums that no training asked for
    can: a reservoir holds them about as well as the count. The signs of a sum add up to at most 2, or half of the
    root of how many numbers a sequence has, where that is more, so that no sum is nearly the count itself.

    Args:
        x: inputs; zero at padding.
        count: how many sums.
        seed: of the signs.

    Raises:
        ProbeError: fewer than two inputs in a sequence, so that no signs cancel.

    Reference:
        Hewitt & Liang 2019, Designing and interpreting probes with control tasks, section 2.
    """
    values = x.detach().cpu().double().numpy()
    shape = values.shape[1:]
    size = int(np.prod(shape))
    if size < 2:
        raise ProbeError(f"Signed sums need at least two inputs in a sequence; given {size}.")
    most = max(2, math.isqrt(size) // 2)
    generator = np.random.default_rng(seed)
    signs: list[np.ndarray] = []
    while len(signs) < count:
        drawn = generator.choice([-1.0, 1.0], size=size)
        if abs(drawn.sum()) <= most and abs(drawn.sum()) < size:
            signs.append(drawn.reshape(shape))
    return np.cumsum(np.einsum("btf,ktf->btk", values, np.array(signs)), axis=1)


@dataclass(frozen=True)
class VarianceShares:
    """How the variance of states splits; the four shares sum to 1.

    Attributes:
        clock: between steps.
        linear: within steps, along the concept linearly.
        curved: within steps, between concept values, beyond the line.
        other: within concept values.
    """

    clock: float
    linear: float
    curved: float
    other: float


def variance_shares(
    step: np.ndarray,
    concept: Float[np.ndarray, " state"],
    states: Float[np.ndarray, "state unit"],
    weight: Float[np.ndarray, " state"],
) -> VarianceShares:
    """Split the total variance of states (summed over units) by step and concept value."""
    weights = weight / weight.sum()
    mean = weights @ states
    total = float((weights @ (states - mean) ** 2).sum())
    if total <= 0:
        return VarianceShares(0.0, 0.0, 0.0, 1.0)
    clock = linear = between = 0.0
    for value in np.unique(step):
        rows = step == value
        share = weights[rows].sum()
        own = weights[rows] / share
        centre = own @ states[rows]
        clock += share * float(((centre - mean) ** 2).sum())
        offset = concept[rows] - own @ concept[rows]
        spread = float(own @ offset**2)
        if spread > 0:
            slope = (own * offset) @ (states[rows] - centre) / spread
            linear += share * spread * float((slope**2).sum())
        for level in np.unique(concept[rows]):
            picked = concept[rows] == level
            mass = own[picked].sum()
            level_mean = own[picked] @ states[rows][picked] / mass
            between += share * mass * float(((level_mean - centre) ** 2).sum())
    clock, linear, between = clock / total, linear / total, between / total
    return VarianceShares(clock, linear, between - linear, 1 - clock - between)


def online_codelength(
    states: Float[np.ndarray, "state unit"],
    concept: Float[np.ndarray, " state"],
    *,
    classes: int,
    seed: int = 0,
) -> float:
    """Return the bits a state that it takes to transmit the concept given the states, block by block.

    The first block is sent with a uniform code; each later one with a logistic probe fitted on all before it.

    Args:
        states: distinct states.
        concept: whole numbers from 0 to classes - 1.
        classes: how many values the concept can take.
        seed: of the one order in which they are sent.

    Reference:
        Voita & Titov 2020, Information-theoretic probing with minimum description length, equation 3.
    """
    from sklearn.linear_model import LogisticRegression

    order = np.random.default_rng(seed).permutation(len(concept))
    inputs, labels = states[order], concept[order].astype(int)
    scale = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / np.where(scale > 0, scale, 1)
    ends = [round(share * len(labels)) for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)]
    bits = ends[0] * np.log2(classes)
    for start, end in pairwise(ends):
        seen = np.unique(labels[:start])
        probabilities = np.full((end - start, classes), 1e-3 / classes)
        if len(seen) > 1:
            model = LogisticRegression(C=1.0, solver="newton-cholesky").fit(inputs[:start], labels[:start])
            # A label not seen yet must keep a price that can be paid, or one string costs infinitely many bits.
            probabilities[:, model.classes_] += (1 - 1e-3) * model.predict_proba(inputs[start:end])
        else:
            probabilities[:, seen] += 1 - 1e-3
        bits -= np.log2(probabilities[np.arange(end - start), labels[start:end]]).sum()
    return float(bits / len(labels))
