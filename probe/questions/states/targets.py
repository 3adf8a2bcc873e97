"""A concept at the sampled states of a subject: what probes are fitted on, and why there may be nothing to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...errors import several
from ...intervals import bootstrap_counts
from ...methods.probing import targets
from ...methods.probing.controls import inputs_read
from ...methods.probing.targets import FOLDS, LEAST_SEQUENCES
from ...recurrent.layers import OpenLayer
from ...subjects.concepts import Known
from ...subjects.ends import Ends
from ...subjects.states import Place, reads_ahead, reads_back, sample_of, states_of
from ...subjects.subject import Subject

#: How often a concept is shuffled, for the unit that follows it most by chance.
SHUFFLES = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class Target(targets.Target):
    """The values of a concept at the sampled states of a subject.

    Attributes:
        concept: the concept.
        picked: which of the sampled states these are, (state,); their sequences are places in the sample.
    """

    concept: Known
    picked: np.ndarray

    @classmethod
    def of(cls, subject: Subject, name: str) -> Target:
        """Return the values of a concept at its sampled states."""
        concept, sample = subject.concepts[name], sample_of(subject)
        picked = sample.of[name]
        sequence, step = sample.sequence[picked], sample.step[picked]
        return cls(
            concept=concept,
            picked=picked,
            values=concept.values[sample.rows][sequence, step],
            named=concept.is_named,
            sequence=sequence,
            group=sample.group[name],
            fold=sample.fold[name],
            bin=sample.bins(subject.x.shape[1])[picked],
            step=step,
            count=len(sample.rows) if subject.groups is None else len(np.unique(sample.group[name])),
            left=subject.lengths[sample.rows][sequence] - 1 - step if reads_back(subject) else None,
        )

    @property
    def follows_from_step(self) -> bool:
        """Whether all states of a step have one value: no unit can follow that within steps."""
        pairs = np.unique(np.stack([self.step, self.values]), axis=1)
        return pairs.shape[1] == len(np.unique(self.step))


def unit_follows(subject: Subject, name: str, at: Place) -> bool:
    """Return whether the best unit of a place follows a concept: more than a shuffled one, or a recent input."""
    target = Target.of(subject, name)
    states = states_of(subject).states[at][target.picked]
    x, ahead = subject.x[sample_of(subject).rows], at[0] in reads_ahead(subject)
    inputs, _ = inputs_read(x, target.sequence, target.step, before=True, after=ahead)
    orders = target.shuffled(SHUFFLES, seed=subject.seed)
    controls = [
        target.best_unit(inputs)[0],
        *(replace(target, values=order).best_unit(states)[0] for order in orders),
    ]
    best = max(controls, key=lambda score: score.value)
    own = target.best_unit(states)[0]
    return own.above(best, bootstrap_counts(len(own.loss), subject.seed))[0] > 0


def followed(subject: Subject, name: str) -> Place:
    """Return where the unit is that follows a concept most."""
    target, states = Target.of(subject, name), states_of(subject).states
    return max(states, key=lambda at: target.follows(states[at][target.picked]).max())


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
            "sequences, where each distinct beginning is used once"
        )
    if float(np.ptp(values)) == 0:
        known = f"“{concept.said(values[0])}”" if concept.is_categorical else concept.said(values[0])
        return f"“{name}” is {known} at every state that was studied, and a value that does not vary cannot be read"
    count = len(np.unique(sample.sequence[picked]))
    if count < LEAST_SEQUENCES:
        return (
            f"“{name}” is defined after {several(len(values), 'distinct beginning')} of sequences, each used once, "
            f"in {several(count, 'sequence')}; {LEAST_SEQUENCES} are needed to hold some out"
        )
    groups = len(np.unique(sample.group[name]))
    if subject.groups is not None and groups < FOLDS:
        return f"“{name}” is defined in {several(groups, 'group')} of sequences; {FOLDS} are needed to hold some out"
    return None


def within_steps(subject: Subject) -> str | None:
    """A concept in which states of one step differ, so that a unit can follow it within steps."""
    name = subject.concept.name
    if Target.of(subject, name).follows_from_step:
        return f"“{name}” follows from the step alone: no two states of a step differ in it"
    return None


def following(subject: Subject, end: Ends) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, (unit,); None if it varies in no step."""
    target = Target.of(subject, subject.answered.name)
    if target.follows_from_step or len(np.unique(target.sequence)) < LEAST_SEQUENCES:
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


def by_following(subject: Subject, end: Ends) -> list[int] | None:
    """Return the units of the stack, those that follow the concept most first; None as of `following`."""
    how = following(subject, end)
    return None if how is None else np.argsort(-how, kind="stable").tolist()
