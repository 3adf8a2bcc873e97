"""Which sequences a study runs whole, where a question asks for answers after several steps."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import several
from ..subject import Subject
from .ends import BUDGET, cost_of_head
from .sample import rows_within_budget
from .stacks import cost, stack_of

#: At most so many sequences are run whole.
MOST_SEQUENCES = 512


def affordable_runs(subject: Subject, times: int = 1) -> int:
    """Return how many sequences can be run whole: by a budget of operations, and of numbers that are held.

    Args:
        subject: the network under study, whose readout has a head that reads a layer.
        times: how often each is run.
    """
    if subject.read is None:
        return 0
    stack = stack_of(subject.read)
    held = rows_within_budget(subject, sum(layer.units * len(layer.states) for layer in stack))
    one = (cost(stack) + cost_of_head(subject)) * subject.x.shape[1] * times
    return int(min(MOST_SEQUENCES, len(held), BUDGET / one))


def part_of(subject: Subject, sequences: int | None) -> Subject:
    """Return the network with so many of its sequences, drawn by the subject's seed; the same ones of its controls.

    Args:
        subject: the network under study.
        sequences: how many at most; None for all.
    """
    count = len(subject.x)
    if sequences is None or sequences >= count:
        return subject
    rows = np.sort(np.random.default_rng([subject.seed, 8]).choice(count, sequences, replace=False))
    concepts = {
        name: dataclasses.replace(known, values=known.values[rows]) for name, known in subject.concepts.items()
    }
    return dataclasses.replace(subject, x=subject.x[rows], lengths=subject.lengths[rows], concepts=concepts)


def said_of(subject: Subject, sequences: int | None) -> str:
    """Return in words which sequences `part_of` takes.

    Args:
        subject: the network under study.
        sequences: how many at most; None for all.
    """
    count = len(subject.x)
    if sequences is None or sequences >= count:
        return f"all {several(count, 'sequence')}"
    return f"{sequences:,} of the {several(count, 'sequence')}, drawn by the seed"
