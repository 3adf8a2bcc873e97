"""The sampled states of a subject, recorded when a question first needs them, and how many controls it gets."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...recurrent.layers import Layer, OpenLayer
from ..subject import Subject, per_subject
from .network_states import NetworkStates, record_states
from .sample import draw

#: How many networks with random weights are recorded; and how many where recording all takes more than `LARGE`
#: multiplications.
COPIES, COPIES_OF_LARGE, LARGE = 8, 4, 2e10
#: How many whole sequences are kept, to be drawn over time.
EXAMPLES = 1

#: Which sequences and states the questions look at.
sample_of = per_subject(draw)


@per_subject
def states_of(subject: Subject) -> NetworkStates:
    """Return the sampled states of the network, with a few whole sequences."""
    sample = sample_of(subject)
    return record_states(
        subject.model, subject.x, subject.lengths, sample, subject.layers, examples=examples_of(subject)
    )


def copies_of(subject: Subject) -> int:
    """Return how many networks with random weights are recorded beside a network; fewer where each takes long."""
    steps = len(sample_of(subject).rows) * subject.x.shape[1]
    cost = steps * sum(flops(layer) for layer in subject.layers)
    return COPIES if cost <= LARGE else COPIES_OF_LARGE


def inputs_of_sample(subject: Subject) -> Tensor:
    """Return the inputs of the sampled sequences, (sequence, time, feature)."""
    return subject.x[sample_of(subject).rows]


def examples_of(subject: Subject) -> list[int]:
    """Return the sequences that are drawn over time, as places in the sample: first ones of about median length."""
    lengths = subject.lengths[sample_of(subject).rows]
    order = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
    return [int(place) for place in order[:EXAMPLES]]


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    if isinstance(layer, OpenLayer):
        return 2.0 * sum(parameter.numel() for parameter in layer.module.parameters())
    weights = layer.cell.weights
    return 2.0 * (weights.W.numel() + weights.U.numel())
