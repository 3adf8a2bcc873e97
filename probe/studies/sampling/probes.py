"""The linear probes of one concept: from states, and for comparison from the step or the last inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..definition.concepts import Known
from ..definition.prepared import Prepared
from .fits import standardised, told_categories, told_numbers
from .sample import MOST_BINS, Sample, reads_back
from .scores import Score, of_categories, of_numbers

#: How many other memories of the inputs are looked for, and orders of the concept.
MEMORIES, ORDERS, ORDERS_OF_CATEGORIES = 20, 5, 2
#: The last inputs have at most so many numbers, and at most so many steps.
LAST_NUMBERS, LAST_STEPS = 256, 4


@dataclass(frozen=True, eq=False)
class Target:
    """A concept at the states of its probes.

    Attributes:
        concept: which.
        values: at each state, (state,).
        sequence: which sequence each is of, (state,).
        fold: which part each is in, (state,).
        bin: each one's bin of steps, (state,).
        step: after which step each stands, (state,).
        count: how many sequences there are.
        left: how many steps follow, (state,), where a layer reads from the end and may count these; else None.
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
        """Return a concept at its sampled states."""
        picked = sample.of[concept.name]
        sequence, step = sample.sequence[picked], sample.step[picked]
        values = concept.values[sample.rows][sequence, step]
        bins = sample.bins(prepared.x.shape[1])[picked]
        left = prepared.lengths[sample.rows][sequence] - 1 - step if reads_back(prepared) else None
        return cls(concept, values, sequence, sample.fold[sequence], bins, step, len(sample.rows), left)

    def score(self, features: Float[np.ndarray, "state number"]) -> Score:
        """Return how well the concept is told from features, held out."""
        if self.concept.is_named:
            return of_categories(
                self.values, told_categories(features, self.values, self.fold), self.sequence, self.count
            )
        told = told_numbers(features, self.values[:, None], self.fold)[:, 0]
        return of_numbers(self.values, told, self.sequence, self.count)

    def orders(self, seed: int) -> list[np.ndarray]:
        """Return the values in other orders: those of one bin of steps among each other, so that the clock stays."""
        rng = np.random.default_rng([seed, 3])
        found = []
        for _ in range(ORDERS_OF_CATEGORIES if self.concept.is_named else ORDERS):
            # A random order, then a stable one by bin: within each bin the values stand at random.
            mixed = rng.permutation(len(self.values))
            mixed = mixed[np.argsort(self.bin[mixed], kind="stable")]
            values = np.empty_like(self.values)
            values[np.argsort(self.bin, kind="stable")] = self.values[mixed]
            found.append(values)
        return found

    def shuffled(self, features: Float[np.ndarray, "state number"], seed: int) -> list[Score]:
        """Return how well the concept in other orders is told from features."""
        orders = self.orders(seed)
        if self.concept.is_named:
            told = [told_categories(features, values, self.fold) for values in orders]
            pairs = zip(orders, told, strict=True)
            return [of_categories(values, said, self.sequence, self.count) for values, said in pairs]
        told_all = told_numbers(features, np.column_stack(orders), self.fold)
        pairs = zip(orders, told_all.T, strict=True)
        return [of_numbers(values, said, self.sequence, self.count) for values, said in pairs]

    def memories(self, features: Float[np.ndarray, "state number"], sums: np.ndarray) -> float:
        """Return the mean held-out R² of other memories of the inputs, told from the same features.

        Args:
            features: what is read from.
            sums: the memories at the states, (state, memory).
        """
        told = told_numbers(features, sums, self.fold)
        pairs = zip(sums.T, told.T, strict=True)
        return float(np.mean([of_numbers(one, said, self.sequence, self.count).value for one, said in pairs]))


def clock(target: Target) -> Float[np.ndarray, "state number"]:
    """Return what tells a state's step and nothing else: one column for each bin, and the step itself.

    Of a layer that reads from the end the same of the steps that follow.
    """
    bins = np.unique(target.bin)
    columns = (target.bin[:, None] == bins).astype(float)
    if target.left is None:
        return np.column_stack([columns, target.step])
    ends = np.minimum(target.left, MOST_BINS)
    return np.column_stack([columns, target.step, ends[:, None] == np.unique(ends), target.left])


def last_inputs(x: Float[Tensor, "sequence time feature"], target: Target) -> tuple[np.ndarray, int]:
    """Return the last inputs at each state as numbers, and of how many steps they are.

    Args:
        x: the inputs of the sampled sequences.
        target: whose states.
    """
    steps = int(np.clip(LAST_NUMBERS // x.shape[2], 1, min(LAST_STEPS, x.shape[1])))
    return _inputs_at(x, target, range(0, -steps, -1)), steps


def next_inputs(x: Float[Tensor, "sequence time feature"], target: Target, steps: int) -> np.ndarray:
    """Return the inputs that come next at each state as numbers: what a layer that reads from the end has read.

    Args:
        x: the inputs of the sampled sequences; zero at padding.
        target: whose states.
        steps: how many of them.
    """
    return _inputs_at(x, target, range(1, steps + 1))


def _inputs_at(x: Tensor, target: Target, away: range) -> Float[np.ndarray, "state number"]:
    """Return the inputs so many steps from each state, side by side; 0 outside of the sequence."""
    most = max(map(abs, away))
    values = np.pad(x.double().numpy(), ((0, 0), (most, most), (0, 0)))
    return np.concatenate([values[target.sequence, most + target.step + steps] for steps in away], axis=1)


def sums_of_inputs(
    x: Float[Tensor, "sequence time feature"], target: Target, seed: int
) -> Float[np.ndarray, "state memory"]:
    """Return other memories of the inputs at each state: what was read so far, summed with random signs.

    Args:
        x: the inputs of the sampled sequences; zero at padding.
        target: whose states.
        seed: of the signs.

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
    """Return numbers less what the step tells of them: the mean of each bin of steps, and a line within it.

    A count and the clock correlate: without this, a unit that only tells the time would pass for one that counts.
    """
    left = values.astype(float).copy()
    for one in np.unique(target.bin):
        rows = target.bin == one
        time = target.step[rows] - target.step[rows].mean()
        left[rows] -= left[rows].mean(0)
        spread = float(time @ time)
        if spread > 0 and rows.sum() > 2:
            left[rows] -= np.outer(time, time @ left[rows] / spread)
    return left


def within_steps(values: Float[np.ndarray, " state"], target: Target) -> Float[np.ndarray, " state"]:
    """Return a concept's values less what the step tells of them; categories as they are."""
    return values if target.concept.is_named else detrended(values[:, None], target)[:, 0]


def follows(
    states: Float[np.ndarray, "state unit"], values: np.ndarray, target: Target, picked: np.ndarray
) -> Float[np.ndarray, " unit"]:
    """Return how closely each unit follows a concept within steps: |r|, of categories the correlation ratio.

    Args:
        states: of the units, detrended.
        values: of the concept at them, see `within_steps`.
        target: its kind and steps.
        picked: over which states.
    """
    own, given = states[picked], values[picked]
    own = own - own.mean(0)
    total = (own**2).sum(0)
    if target.concept.is_named:
        explained = np.zeros(own.shape[1])
        for category in np.unique(given):
            members = own[given == category]
            explained += len(members) * members.mean(0) ** 2
        return np.sqrt(np.divide(explained, total, out=np.zeros_like(total), where=total > 1e-18))
    around = given - given.mean()
    scale = np.sqrt(total * float(around @ around))
    return np.abs(np.divide(around @ own, scale, out=np.zeros_like(total), where=scale > 1e-9))


__all__ = [
    "MOST_BINS",
    "Target",
    "clock",
    "detrended",
    "follows",
    "last_inputs",
    "next_inputs",
    "sums_of_inputs",
    "within_steps",
]
