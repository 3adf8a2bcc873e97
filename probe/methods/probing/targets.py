"""The values of a concept at distinct states: what probes are fitted on and scored against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .controls import relabelled
from .groups import by_sequence
from .linear import Fit, LeastSquares, Logistic, Ridge
from .scores import Score, of_categories, of_numbers
from .units import detrended, follows

#: The most states on which the probe of a number, and of categories (as many of each), is fitted and scored.
STATES, STATES_OF_CATEGORIES = 4_000, 2_000
#: The number of folds: each is scored with a probe that was fitted on the others.
FOLDS = 4
#: With fewer sequences nothing can be held out; a category that stands in fewer is left out.
LEAST_SEQUENCES = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """The values of a concept at the states on which its probes are fitted and scored.

    Attributes:
        values: its value at each state, (state,): numbers, or the places of categories.
        named: whether they are places of categories.
        sequence: the sequence of each state, (state,).
        group: the group of each state, (state,): what is held out, and drawn for intervals, as a whole. It is the
            sequence where no groups were given.
        fold: the fold of each state, (state,); all states of a group are in the same one.
        bin: the bin of steps of each state, (state,).
        step: the step of each state, (state,).
        count: how many groups there are.
        left: how many steps follow each state, (state,), if a layer reads from the end and may count them; else None.
    """

    values: np.ndarray
    named: bool
    sequence: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    bin: np.ndarray
    step: np.ndarray
    count: int
    left: np.ndarray | None = None

    @property
    def follows_from_step(self) -> bool:
        """Whether all states of a step have one value: no unit can follow that within steps."""
        pairs = np.unique(np.stack([self.step, self.values]), axis=1)
        return pairs.shape[1] == len(np.unique(self.step))

    @property
    def score_name(self) -> str:
        """What its scores are: R² of a number, balanced accuracy of categories."""
        return "balanced accuracy" if self.named else "R²"

    @property
    def fit(self) -> Fit:
        """How probes of the concept are fitted: logistic for categories, ridge for numbers."""
        return Logistic() if self.named else Ridge()

    def score(self, features: Float[np.ndarray, "state number"], fit: Fit | None = None) -> Score:
        """Return the held-out score of a probe that predicts the concept from features."""
        return self.scores(features, [self.values], fit)[0]

    def scores(
        self, features: Float[np.ndarray, "state number"], columns: Sequence[np.ndarray], fit: Fit | None = None
    ) -> list[Score]:
        """Return the held-out scores of probes that predict other values from features.

        Args:
            features: the numbers that the probes read.
            columns: the values, (state,) each.
            fit: how the probes are fitted; None for the concept's own way.
        """
        fit = self.fit if fit is None else fit
        predicted = fit.held_out(features, np.column_stack(columns), by_sequence(self.fold))
        of = of_categories if isinstance(fit, Logistic) else of_numbers
        return [of(own, each, self.group, self.count) for own, each in zip(columns, predicted.T, strict=True)]

    def detrended(self, values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state number"]:
        """Return numbers without what the step explains."""
        return detrended(values, self.bin, self.step)

    def within_steps(self, values: Float[np.ndarray, " state"]) -> Float[np.ndarray, " state"]:
        """Return values of the concept without what the step explains; categories as they are."""
        return values if self.named else self.detrended(values[:, None])[:, 0]

    def shuffled(self, count: int, *, seed: int) -> list[np.ndarray]:
        """Return the values in other orders, which keep what the step explains; see `relabelled`."""
        return relabelled(self.values, self.bin, (self.group, self.sequence), count, seed=seed)

    def follows(
        self, states: Float[np.ndarray, "state unit"], picked: Bool[np.ndarray, " state"] | None = None
    ) -> Float[np.ndarray, " unit"]:
        """Return how closely each unit follows the concept within steps, on all states or some of them."""
        rows = np.ones(len(self.values), dtype=bool) if picked is None else picked
        values = self.within_steps(self.values)
        return follows(self.detrended(states)[rows], values[rows], self.bin[rows], named=self.named)

    def best_unit(
        self, states: Float[np.ndarray, "state unit"], *, within: bool = True
    ) -> tuple[Score, tuple[int, ...]]:
        """Return the score of the unit that follows the concept best, and the units that were selected.

        Within steps what the step explains is taken off; else units are read as they are, by one map for all steps.
        A unit is selected and fitted on half of the folds, and scored on the other half, both ways: scored where
        it was selected, the best of many units would look good by chance.
        """
        units, goal, bins = states, self.values, np.zeros_like(self.bin)
        if within:
            units, goal, bins = self.detrended(states), self.within_steps(self.values), self.bin
        # In units of its spread: a concept may be given in any.
        goal = goal if self.named else goal / (goal.std() or 1.0)
        fit: Fit = Logistic() if self.named else LeastSquares()
        halves = by_sequence(self.fold % 2)
        predicted, selected = np.zeros(len(goal)), []
        for half, other in (halves, halves[::-1]):
            unit = int(np.argmax(follows(units[half], goal[half], bins[half], named=self.named)))
            predicted[other] = fit.held_out(units[:, [unit]], goal[:, None], halves)[other, 0]
            selected.append(unit)
        score = (of_categories if self.named else of_numbers)(goal, predicted, self.group, self.count)
        return score, tuple(dict.fromkeys(selected))


def often(codes: np.ndarray, sequence: np.ndarray, group: np.ndarray) -> Bool[np.ndarray, " state"]:
    """Return the states whose category occurs often enough to be fitted and scored: a category of one group never is.

    Args:
        codes: the category of each state, (state,).
        sequence: its sequence.
        group: its group.
    """
    kept = np.ones(len(codes), dtype=bool)
    for where, least in ((sequence, LEAST_SEQUENCES), (group, 2)):
        pairs = np.unique(np.column_stack([codes, where]), axis=0)
        categories, counts = np.unique(pairs[:, 0], return_counts=True)
        kept &= np.isin(codes, categories[counts >= least])
    return kept


def chosen(values: np.ndarray, rng: np.random.Generator, *, named: bool) -> np.ndarray:
    """Return the places of the states that probes of a concept are fitted and scored on, ascending.

    Args:
        values: the concept's value at each state, (state,).
        rng: what draws them where there are more than `STATES`, or of categories `STATES_OF_CATEGORIES`.
        named: whether the values are places of categories, of which equally many states are drawn; of a category that
            has fewer, all.
    """
    if named:
        return _evenly(values, STATES_OF_CATEGORIES, rng)
    every = np.arange(len(values))
    return every if len(every) <= STATES else np.sort(rng.choice(every, STATES, replace=False))


def _evenly(codes: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    categories, first, counts = np.unique(codes, return_index=True, return_counts=True)
    # Those with the fewest states come first; of equally many the one that comes first, whatever it is called.
    order, picked = np.lexsort([first, counts]), list[np.ndarray]()
    for place, which in enumerate(order):
        share = (most - sum(map(len, picked))) // (len(order) - place)
        members = np.flatnonzero(codes == categories[which])
        picked.append(members if len(members) <= share else rng.choice(members, share, replace=False))
    return np.sort(np.concatenate(picked)) if picked else np.empty(0, dtype=int)
