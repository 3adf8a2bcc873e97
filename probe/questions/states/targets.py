"""A concept at the sampled states of a subject: what probes are fitted on, and why there may be nothing to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import several
from ...methods.probing import targets
from ...methods.probing.targets import LEAST_SEQUENCES
from ...recurrent.layers import OpenLayer
from ...subjects.computed.ends import Ends
from ...subjects.computed.sample import reads_back
from ...subjects.computed.sampled import sample_of, states_of
from ...subjects.concepts import Known
from ...subjects.subject import Subject


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
        values = concept.values[sample.rows][sequence, step]
        bins = sample.bins(subject.x.shape[1])[picked]
        left = subject.lengths[sample.rows][sequence] - 1 - step if reads_back(subject) else None
        return cls(
            concept=concept,
            picked=picked,
            values=values,
            named=concept.is_named,
            sequence=sequence,
            fold=sample.fold[sequence],
            bin=bins,
            step=step,
            count=len(sample.rows),
            left=left,
        )


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
