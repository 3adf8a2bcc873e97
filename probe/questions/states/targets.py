"""A concept at the sampled states of a subject: what probes are fitted on, and why there may be nothing to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import several
from ...methods.probing import targets
from ...methods.probing.controls import relabelled
from ...methods.probing.targets import LEAST_SEQUENCES
from ...methods.probing.units import follows, held_out_unit
from ...recurrent.layers import OpenLayer
from ...subjects.concepts import Known
from ...subjects.ends import Ends
from ...subjects.states import Place, reads_back, sample_of, states_of
from ...subjects.subject import Subject, per_subject

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

    @property
    def follows_from_step(self) -> bool:
        """Whether all states of a step have one value: no unit can follow that within steps."""
        pairs = np.unique(np.stack([self.step, self.values]), axis=1)
        return pairs.shape[1] == len(np.unique(self.step))

    def of_values(self, values: np.ndarray) -> Target:
        """Return the target of some of the concept's values alone."""
        kept = np.isin(self.values, values)
        names = ("picked", "values", "sequence", "fold", "bin", "step", *(("left",) if self.left is not None else ()))
        return replace(self, **{name: getattr(self, name)[kept] for name in names})


@dataclass(frozen=True)
class BestUnit:
    """How closely the unit of a place follows a concept that does so most.

    Attributes:
        value: selected on half of the sequences and measured on the other half, the mean of both ways.
        selected: the units that the halves select, one or two.
        unit: the unit that follows most on all states.
    """

    value: float
    selected: tuple[int, ...]
    unit: int


@per_subject
def best_units(subject: Subject) -> dict[str, dict[Place, BestUnit]]:
    """Return the best unit at each place, of every concept that a probe can be fitted to."""
    every = (Target.of(subject, name) for name in subject.concepts if why_no_target(subject, name) is None)
    return {
        target.concept.name: {at: best for at, (best,) in _best(subject, target, [target.values]).items()}
        for target in every
    }


def best_units_of_shuffled(subject: Subject, name: str) -> dict[Place, list[BestUnit]]:
    """Return the best unit at each place for a concept that is shuffled `SHUFFLES` times."""
    target = Target.of(subject, name)
    orders = relabelled(target.values, target.bin, target.sequence, SHUFFLES, seed=subject.seed)
    return _best(subject, target, orders)


def _best(subject: Subject, target: Target, orders: Sequence[np.ndarray]) -> dict[Place, list[BestUnit]]:
    first, named = target.fold % 2 == 0, target.concept.is_named
    wanted, found = [target.within_steps(order) for order in orders], dict[Place, list[BestUnit]]()
    for at, every in states_of(subject).states.items():
        states = target.detrended(every[target.picked])
        found[at] = [
            BestUnit(
                *held_out_unit(states, values, target.bin, first, named=named),
                int(np.argmax(follows(states, values, target.bin, named=named))),
            )
            for values in wanted
        ]
    return found


def followed(subject: Subject, name: str) -> tuple[Place, int]:
    """Return the unit that a page of one network names for a concept: where, and which follows it most."""
    by_place = best_units(subject)[name]
    at = max(by_place, key=lambda place: by_place[place].value)
    return at, by_place[at].unit


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
            "sequences, where each distinct beginning is used once, in the first sequence that has it; the others "
            "have too few to hold any out"
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


def within_steps(subject: Subject) -> str | None:
    """A concept in which states of one step differ, so that a unit can follow it within steps."""
    name = subject.concept.name
    if Target.of(subject, name).follows_from_step:
        return f"“{name}” follows from the step alone: no two states of a step differ in it"
    return None


def following(subject: Subject, end: Ends) -> np.ndarray | None:
    """Return how closely each unit of the stack follows the concept, by the state that follows it more closely.

    Args:
        subject: the network under study.
        end: the ends of the sequences, with the stack.

    Returns:
        One number from 0 to 1 for each unit, (unit,), 0 in layers that are not studied; None if the concept does not
        vary within a step, or is defined in too few sequences.
    """
    name = subject.answered.name
    target = Target.of(subject, name)
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
    """Return the units of the stack, the one that the page names first and then those that follow the concept most.

    Args:
        subject: as of `following`.
        end: as of `following`.
    """
    how = following(subject, end)
    if how is None:
        return None
    order, at, states = np.argsort(-how, kind="stable").tolist(), 0, states_of(subject).states
    (name, signal), unit = followed(subject, subject.answered.name)
    for layer in end.stack:
        if layer.name == name:
            parts = layer.states if isinstance(layer, OpenLayer) else ()
            before = [states[name, part].shape[1] for part in parts[: parts.index(signal)]] if signal in parts else []
            first = at + sum(before) + unit
            return [first, *(other for other in order if other != first)]
        at += layer.units
    return order
