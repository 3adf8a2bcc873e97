"""The sampled states of a subject, recorded when a question first needs them, and how many controls it gets."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...recurrent.layers import Layer, OpenLayer
from ..subject import Subject, per_subject
from .network_states import NetworkStates, record_states
from .sample import draw

#: How many networks with random weights are recorded, by up to how many multiplications each of them takes. The best
#: of them counts, and of eight another seed has another best one by far: a few random networks read much better.
COPIES = ((1e9, 32), (2e10, 8), (float("inf"), 4))
#: How many whole sequences are kept, to be drawn over time.
EXAMPLES = 4

#: Which sequences and states the questions look at.
sample_of = per_subject(draw)


@per_subject
def states_of(subject: Subject) -> NetworkStates:
    """Return the sampled states of the network, with a few whole sequences."""
    sample = sample_of(subject)
    return record_states(
        subject.model,
        subject.x,
        subject.lengths,
        sample,
        subject.layers,
        examples=examples_of(subject),
        tolerance=subject.tolerance,
    )


def copies_of(subject: Subject) -> int:
    """Return how many networks with random weights are recorded beside a network; fewer where each takes long."""
    steps = len(sample_of(subject).rows) * subject.x.shape[1]
    cost = steps * sum(flops(layer) for layer in subject.layers)
    return next(copies for most, copies in COPIES if cost <= most)


def inputs_of_sample(subject: Subject) -> Tensor:
    """Return the inputs of the sampled sequences, (sequence, time, feature)."""
    return subject.x[sample_of(subject).rows]


def examples_of(subject: Subject) -> list[int]:
    """Return the sequences that are drawn over time, as places in the sample.

    They are different ones of about median length, those first in which the concept changes most often.
    """
    rows = sample_of(subject).rows
    x, lengths, values = subject.x[rows], subject.lengths[rows], subject.concept.values[rows]
    changes = (np.diff(values, axis=1, prepend=values[:, :1]) != 0) & np.isfinite(values)
    away = np.abs(lengths - np.median(lengths))
    found: dict[bytes, int] = {}
    for place in np.lexsort([-changes.sum(1), away]).tolist():
        _ = found.setdefault(x[place, : lengths[place]].numpy().tobytes(), place)
        if len(found) == EXAMPLES:
            break
    return list(found.values())


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    if isinstance(layer, OpenLayer):
        return 2.0 * sum(parameter.numel() for parameter in layer.module.parameters())
    weights = layer.cell.weights
    return 2.0 * (weights.W.numel() + weights.U.numel())
