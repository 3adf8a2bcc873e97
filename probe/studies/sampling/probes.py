"""The linear probes of one concept: from states, and for comparison from the step or the last inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..definition.concepts import Known
from ..definition.prepared import Prepared
from .fits import predict_categories, predict_numbers, standardised
from .sample import MOST_BINS, Sample, reads_back
from .scores import Score, of_categories, of_numbers

#: How many other memories of the inputs are predicted, and how often the concept is shuffled.
MEMORIES, ORDERS, ORDERS_OF_CATEGORIES = 20, 5, 2
#: The probe on the last inputs reads at most so many numbers, and at most so many steps.
LAST_NUMBERS, LAST_STEPS = 256, 4


@dataclass(frozen=True, eq=False)
class Target:
    """The values of a concept at the states on which its probes are fitted and scored.

    Attributes:
        concept: the concept.
        values: its value at each state, (state,).
        sequence: the sequence of each state, (state,).
        fold: the fold of each state, (state,).
        bin: the bin of steps of each state, (state,).
        step: the step of each state, (state,).
        count: how many sequences there are.
        left: how many steps follow each state, (state,), if a layer reads from the end and may count them; else None.
    """

    concept: Known
    values: np.ndarray
    sequence: np.ndarray
    fold: np.ndarray
    bin: np.ndarray
    step: np.ndarray
    count: int
    left: np.ndarray | None = None

    @classmethod
    def of(cls, concept: Known, sample: Sample, prepared: Prepared) -> Target:
        """Return the values of a concept at its sampled states."""
        states = sample.of[concept.name]
        sequence, step = sample.sequence[states], sample.step[states]
        values = concept.values[sample.rows][sequence, step]
        bins = sample.bins(prepared.x.shape[1])[states]
        left = prepared.lengths[sample.rows][sequence] - 1 - step if reads_back(prepared) else None
        return cls(concept, values, sequence, sample.fold[sequence], bins, step, len(sample.rows), left)

    def score(self, features: Float[np.ndarray, "state number"]) -> Score:
        """Return the held-out score of a probe that predicts the concept from features."""
        if self.concept.is_named:
            predicted = predict_categories(features, self.values, self.fold)
            return of_categories(self.values, predicted, self.sequence, self.count)
        predicted = predict_numbers(features, self.values[:, None], self.fold)[:, 0]
        return of_numbers(self.values, predicted, self.sequence, self.count)

    def orders(self, seed: int) -> list[np.ndarray]:
        """Return the values shuffled among the states of each bin of steps, so what the step explains is kept."""
        rng = np.random.default_rng([seed, 3])
        orders = []
        for _ in range(ORDERS_OF_CATEGORIES if self.concept.is_named else ORDERS):
            # A stable sort by bin after a random permutation: the values of each bin are in random order.
            mixed = rng.permutation(len(self.values))
            mixed = mixed[np.argsort(self.bin[mixed], kind="stable")]
            values = np.empty_like(self.values)
            values[np.argsort(self.bin, kind="stable")] = self.values[mixed]
            orders.append(values)
        return orders

    def shuffled(self, features: Float[np.ndarray, "state number"], seed: int) -> list[Score]:
        """Return the held-out scores of probes that predict the shuffled concept from features."""
        orders = self.orders(seed)
        if self.concept.is_named:
            return [
                of_categories(values, predict_categories(features, values, self.fold), self.sequence, self.count)
                for values in orders
            ]
        pairs = zip(orders, predict_numbers(features, np.column_stack(orders), self.fold).T, strict=True)
        return [of_numbers(values, predicted, self.sequence, self.count) for values, predicted in pairs]

    def memories(self, features: Float[np.ndarray, "state number"], sums: np.ndarray) -> float:
        """Return the mean held-out R² with which the same features predict other memories of the inputs.

        Args:
            features: the numbers that the probe reads.
            sums: the memories at the states, (state, memory).
        """
        pairs = zip(sums.T, predict_numbers(features, sums, self.fold).T, strict=True)
        scores = [of_numbers(memory, predicted, self.sequence, self.count) for memory, predicted in pairs]
        return float(np.mean([score.value for score in scores]))


def clock(target: Target) -> Float[np.ndarray, "state number"]:
    """Return features that depend on the step alone: one column for each bin of steps, and the step itself.

    For a layer that reads from the end, the number of steps that follow is added in the same way.
    """
    bins = np.unique(target.bin)
    columns = (target.bin[:, None] == bins).astype(float)
    if target.left is None:
        return np.column_stack([columns, target.step])
    ends = np.minimum(target.left, MOST_BINS)
    return np.column_stack([columns, target.step, ends[:, None] == np.unique(ends), target.left])


def last_inputs(x: Float[Tensor, "sequence time feature"], target: Target) -> tuple[np.ndarray, int]:
    """Return the last inputs at each state as features, and how many steps they span.

    Args:
        x: the inputs of the sampled sequences.
        target: the concept at its states.
    """
    steps = int(np.clip(LAST_NUMBERS // x.shape[2], 1, min(LAST_STEPS, x.shape[1])))
    return _inputs_at(x, target, range(0, -steps, -1)), steps


def next_inputs(x: Float[Tensor, "sequence time feature"], target: Target, steps: int) -> np.ndarray:
    """Return the next inputs at each state as features: a layer that reads from the end has read them.

    Args:
        x: the inputs of the sampled sequences; zero at padding.
        target: the concept at its states.
        steps: how many steps.
    """
    return _inputs_at(x, target, range(1, steps + 1))


def _inputs_at(x: Tensor, target: Target, away: range) -> Float[np.ndarray, "state number"]:
    """Return the inputs at these distances from each state, side by side; 0 outside of the sequence."""
    most = max(map(abs, away))
    values = np.pad(x.double().numpy(), ((0, 0), (most, most), (0, 0)))
    return np.concatenate([values[target.sequence, most + target.step + steps] for steps in away], axis=1)


def sums_of_inputs(
    x: Float[Tensor, "sequence time feature"], target: Target, seed: int
) -> Float[np.ndarray, "state memory"]:
    """Return other memories of the inputs at each state: the inputs so far, summed with random signs.

    Args:
        x: the inputs of the sampled sequences; zero at padding.
        target: the concept at its states.
        seed: the seed of the signs.

    Reference:
        Hewitt & Liang 2019, Designing and interpreting probes with control tasks, section 2.
    """
    rng = np.random.default_rng([seed, 4])
    values = x.double().numpy()
    direction = rng.normal(size=(x.shape[2], MEMORIES))
    signs = rng.choice([-1.0, 1.0], size=(x.shape[1], MEMORIES))
    sums = np.cumsum((values @ direction) * signs, axis=1)[target.sequence, target.step]
    return standardised(sums)


def detrended(values: Float[np.ndarray, "state number"], target: Target) -> Float[np.ndarray, "state number"]:
    """Return numbers without what the step explains: the mean of each bin of steps, and a line within the bin.

    A count grows with the step. Without this, a unit that only follows the step would look like one that counts.
    """
    left = values.astype(float).copy()
    for number in np.unique(target.bin):
        rows = target.bin == number
        time = target.step[rows] - target.step[rows].mean()
        left[rows] -= left[rows].mean(0)
        spread = float(time @ time)
        if spread > 0 and rows.sum() > 2:
            left[rows] -= np.outer(time, time @ left[rows] / spread)
    return left


def within_steps(values: Float[np.ndarray, " state"], target: Target) -> Float[np.ndarray, " state"]:
    """Return a concept's values without what the step explains; categories as they are."""
    return values if target.concept.is_named else detrended(values[:, None], target)[:, 0]


def follows(
    states: Float[np.ndarray, "state unit"], values: np.ndarray, target: Target, picked: np.ndarray
) -> Float[np.ndarray, " unit"]:
    """Return how closely each unit follows a concept within steps: |r|, or the correlation ratio for categories.

    Args:
        states: the states of the units, detrended.
        values: the values of the concept there, see `within_steps`.
        target: the concept at its states.
        picked: which states are used.
    """
    units, goal = states[picked], values[picked]
    units = units - units.mean(0)
    total = (units**2).sum(0)
    if target.concept.is_named:
        explained = np.zeros(units.shape[1])
        for category in np.unique(goal):
            members = units[goal == category]
            explained += len(members) * members.mean(0) ** 2
        return np.sqrt(np.divide(explained, total, out=np.zeros_like(total), where=total > 1e-18))
    around = goal - goal.mean()
    scale = np.sqrt(total * float(around @ around))
    return np.abs(np.divide(around @ units, scale, out=np.zeros_like(total), where=scale > 1e-9))
