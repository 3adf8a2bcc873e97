"""Which sequences and states a study looks at: each distinct prefix once, drawn by seed where there are many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from ...errors import ProbeError, several
from ...evidence.words import listed
from ...methods.probing.controls import MOST_BINS
from ...methods.probing.prefixes import first_of_prefix, turned
from ...methods.probing.targets import FOLDS, LEAST_SEQUENCES, chosen, often
from ...recurrent.finding import find_layers, whole_module
from ..concepts import Known
from ..subject import Subject

#: The most steps that are recorded (over all sequences), and the most sequences.
POINTS, SEQUENCES = 40_000, 2_000
#: The most numbers that a question holds of all steps of a layer at once.
NUMBERS = 40_000_000


@dataclass(frozen=True, eq=False)
class Sample:
    """The states that the questions look at, each after another prefix.

    Attributes:
        rows: the sequences that are recorded, (sequence,), ascending.
        sequence: the sequence of each state, as a place in `rows`, (state,).
        step: the step of each state, (state,).
        of: concept -> the states of its probes.
        fold: the fold of each sequence, (sequence,).
        distinct: how many distinct prefixes the recorded sequences have.
    """

    rows: np.ndarray
    sequence: np.ndarray
    step: np.ndarray
    of: Mapping[str, np.ndarray]
    fold: np.ndarray
    distinct: int

    def bins(self, steps: int) -> np.ndarray:
        """Return the bin of steps of each state, (state,): the step itself if there are few steps."""
        return self.step if steps <= MOST_BINS else self.step * MOST_BINS // steps


def draw(subject: Subject) -> Sample:
    """Return the states that the questions look at.

    A state depends on its prefix alone. Each distinct prefix is used once, in the first sequence that has it: a copy
    in another fold would be scored on its own training example. If a layer reads from the end, each distinct rest is
    used once too.

    Raises:
        ProbeError: no concept has a value at any of these states.
    """
    rows = recorded_rows(len(subject.x), subject.x.shape[1], subject.seed)
    lengths = subject.lengths[rows]
    first = first_of_prefix(subject.x[rows].float().numpy(), lengths)
    if reads_back(subject):
        first &= turned(first_of_prefix(turned(subject.x[rows].float().numpy(), lengths), lengths), lengths)
    every = np.argwhere(first)
    of = {name: _of_concept(concept, rows, every, subject.seed) for name, concept in subject.concepts.items()}
    used = np.unique(np.concatenate(list(of.values())))
    fold = np.random.default_rng([subject.seed, 2]).permutation(len(rows)) % FOLDS
    places = {name: np.searchsorted(used, states) for name, states in of.items()}
    if not len(used):
        names = listed([repr(name) for name in subject.concepts])
        raise ProbeError(
            f"No concept ({names}) has a value in the {several(len(rows), 'sequence')} that were drawn from "
            f"{len(subject.x):,}. Leave out the sequences without a value, or give values at more steps."
        )
    return Sample(rows, every[used, 0], every[used, 1], places, fold, len(every))


def reads_back(subject: Subject) -> bool:
    """Return whether a layer under study has seen later inputs."""
    ahead = reads_ahead(subject)
    return any(layer.name in ahead for layer in subject.layers)


def reads_ahead(subject: Subject) -> frozenset[str]:
    """Return the names of the layers that have seen later inputs: layers that read from the end, and those above.

    Args:
        subject: the study; its layers are sorted from the inputs up.
    """
    ahead = set[str]()
    for layer in find_layers(subject.model):
        below = [other for other in whole_module(layer) if other.level < layer.level]
        if layer.reads_back or any(other.reads_back for other in below):
            ahead.add(layer.name)
    for wrapper in (module for module in subject.model.modules() if isinstance(module, nn.Sequential)):
        seen = False
        for part in wrapper:
            inside = [layer for layer in find_layers(subject.model) if layer.module in set(part.modules())]
            ahead.update(layer.name for layer in inside if seen)
            seen = seen or any(layer.name in ahead for layer in inside)
    return frozenset(ahead)


def recorded_rows(batch: int, time: int, seed: int) -> np.ndarray:
    """Return which sequences are recorded: all, or a random part with at most `POINTS` steps."""
    most = int(np.clip(POINTS // time, LEAST_SEQUENCES, SEQUENCES))
    if batch <= most:
        return np.arange(batch)
    return np.sort(np.random.default_rng([seed, 0]).choice(batch, most, replace=False))


def rows_within_budget(subject: Subject, width: int) -> np.ndarray:
    """Return which sequences can be held with all their steps, ascending: all, or a part that is drawn by the seed.

    Args:
        subject: the network under study.
        width: how many numbers are held of a step.
    """
    batch, time = subject.x.shape[:2]
    rows = recorded_rows(batch, time, subject.seed)
    most = max(LEAST_SEQUENCES, NUMBERS // (time * max(width, 1)))
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([subject.seed, 9]).choice(rows, most, replace=False))


def _of_concept(concept: Known, rows: np.ndarray, every: np.ndarray, seed: int) -> np.ndarray:
    """Return the states of a concept's probes. They do not depend on how its values are spelled."""
    rng = np.random.default_rng([seed, 1])
    values = concept.values[rows][every[:, 0], every[:, 1]]
    defined = np.flatnonzero(np.isfinite(values))
    if concept.is_named:
        common = defined[often(values[defined], every[defined, 0])]
        defined = common if len(common) else defined
    return defined[chosen(values[defined], rng, named=concept.is_named)]
