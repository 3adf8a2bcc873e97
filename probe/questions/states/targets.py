"""A concept at the sampled states of a subject: what probes are fitted on, and why there may be nothing to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...errors import several
from ...methods.probing.fits import Fit, Logistic, Ridge
from ...methods.probing.scores import Score, of_categories, of_numbers
from ...methods.probing.splits import by_sequence
from ...methods.probing.units import detrended, follows
from ...recurrent.layers import OpenLayer
from ...subjects.computed.ends import Ends
from ...subjects.computed.sample import reads_back
from ...subjects.computed.sampled import sample_of, states_of
from ...subjects.concepts import Known
from ...subjects.subject import LEAST_SEQUENCES, Subject


@dataclass(frozen=True, eq=False)
class Target:
    """The values of a concept at the states on which its probes are fitted and scored.

    Attributes:
        concept: the concept.
        values: its value at each state, (state,).
        picked: which of the sampled states these are, (state,).
        sequence: the sequence of each state, as a place in the sample, (state,).
        fold: the fold of each state, (state,); all states of a sequence are in the same one.
        bin: the bin of steps of each state, (state,).
        step: the step of each state, (state,).
        count: how many sequences the sample has.
        left: how many steps follow each state, (state,), if a layer reads from the end and may count them; else None.
    """

    concept: Known
    values: np.ndarray
    picked: np.ndarray
    sequence: np.ndarray
    fold: np.ndarray
    bin: np.ndarray
    step: np.ndarray
    count: int
    left: np.ndarray | None = None

    @classmethod
    def of(cls, subject: Subject, name: str) -> Target:
        """Return the values of a concept at its sampled states."""
        concept, sample = subject.concepts[name], sample_of(subject)
        picked = sample.of[name]
        sequence, step = sample.sequence[picked], sample.step[picked]
        values = concept.values[sample.rows][sequence, step]
        bins = sample.bins(subject.x.shape[1])[picked]
        left = subject.lengths[sample.rows][sequence] - 1 - step if reads_back(subject) else None
        return cls(concept, values, picked, sequence, sample.fold[sequence], bins, step, len(sample.rows), left)

    @property
    def fit(self) -> Fit:
        """How probes of the concept are fitted: logistic for categories, ridge for numbers."""
        return Logistic() if self.concept.is_named else Ridge()

    def score(self, features: Float[np.ndarray, "state number"]) -> Score:
        """Return the held-out score of a probe that predicts the concept from features."""
        return self.scores(features, [self.values])[0]

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
        return [of(own, each, self.sequence, self.count) for own, each in zip(columns, predicted.T, strict=True)]

    def detrended(self, values: Float[np.ndarray, "state number"]) -> Float[np.ndarray, "state number"]:
        """Return numbers without what the step explains."""
        return detrended(values, self.bin, self.step)

    def within_steps(self, values: Float[np.ndarray, " state"]) -> Float[np.ndarray, " state"]:
        """Return values of the concept without what the step explains; categories as they are."""
        return values if self.concept.is_named else self.detrended(values[:, None])[:, 0]

    def follows(
        self, states: Float[np.ndarray, "state unit"], picked: Bool[np.ndarray, " state"] | None = None
    ) -> Float[np.ndarray, " unit"]:
        """Return how closely each unit follows the concept within steps, on all states or some of them."""
        rows = np.ones(len(self.values), dtype=bool) if picked is None else picked
        values = self.within_steps(self.values)
        return follows(self.detrended(states)[rows], values[rows], named=self.concept.is_named)


def why_no_target(subject: Subject, name: str) -> str | None:
    """Return the reason why no probe of a concept can be fitted and scored, or None."""
    concept, sample = subject.concepts[name], sample_of(subject)
    picked = sample.of[name]
    values = concept.values[sample.rows][sample.sequence, sample.step][picked]
    if not len(values):
        return f"“{name}” is not defined anywhere in the sequences that were studied"
    if float(np.ptp(values)) == 0 and concept.is_named and len(concept.levels) > 1:
        return (
            f"of the values of “{name}”, only “{concept.said(values[0])}” has states in at least {LEAST_SEQUENCES} "
            "of the sequences that were studied, and the others are too rare to hold any out"
        )
    if float(np.ptp(values)) == 0:
        known = f"“{concept.said(values[0])}”" if concept.is_categorical else concept.said(values[0])
        return f"“{name}” is {known} at every state that was studied, and a value that does not vary cannot be read"
    count = len(np.unique(sample.sequence[picked]))
    if count < LEAST_SEQUENCES:
        return (
            f"“{name}” is defined after {several(len(values), 'distinct beginning')} of sequences. Each is used "
            f"once, in the first sequence that has it, which gives {several(count, 'sequence')}. With fewer than "
            f"{LEAST_SEQUENCES} no part of them can be held out, so neither a probe nor its controls were scored"
        )
    return None


def following(subject: Subject, end: Ends) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, by the state that follows it more closely.

    Args:
        subject: the network under study.
        end: the ends of the sequences, with the stack.

    Returns:
        One number from 0 to 1 for each unit, (unit,), 0 in layers that are not studied; None if the concept does not
        vary, or is defined in too few sequences.
    """
    name = subject.answered.name
    target = Target.of(subject, name)
    if len(np.unique(target.values)) < 2 or len(np.unique(target.sequence)) < LEAST_SEQUENCES:
        return None
    by_layer = []
    for layer in end.stack:
        by_state = {
            signal: target.follows(states[target.picked])
            for (own, signal), states in states_of(subject).states.items()
            if own == layer.name
        }
        if not by_state:
            by_layer.append(np.zeros(layer.units))
        elif isinstance(layer, OpenLayer):  # each number of the state is a unit
            by_layer += [by_state[signal] for signal in layer.states]
        else:
            by_layer.append(np.max(list(by_state.values()), axis=0))
    return np.concatenate(by_layer)
