"""The sampled states of the network and of its controls, recorded when a question first needs them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor, nn

from ...recurrent.layers import Layer, find_layers
from ..definition.prepared import Prepared
from .network_states import NetworkStates, record_states
from .random_weights import random_weights
from .sample import Sample, draw

#: How many networks with random weights are recorded; and how many where recording all takes more than `LARGE`
#: multiplications.
COPIES, COPIES_OF_LARGE, LARGE = 8, 4, 2e10
#: How many whole sequences are kept, to be drawn over time.
EXAMPLES = 1


class Activations:
    """The recordings of a study, each made once, when a question first needs it.

    Args:
        prepared: the study.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    @cached_property
    def sample(self) -> Sample:
        """Which sequences and states the questions look at."""
        return draw(self.prepared)

    @cached_property
    def network(self) -> NetworkStates:
        """The states of the network under study."""
        return self._states_of(self.prepared.opened.model, self.examples)

    @cached_property
    def random_weights(self) -> dict[str, NetworkStates]:
        """The states of networks with random weights, by name."""
        copies = random_weights(self.prepared.opened.model, self.copies, seed=self.prepared.seed)
        return {name: self._states_of(copy, None) for name, copy in copies}

    @property
    def copies(self) -> int:
        """How many networks with random weights there are; fewer where each takes long."""
        steps = len(self.sample.rows) * self.prepared.x.shape[1]
        cost = steps * sum(flops(layer) for layer in self.prepared.layers)
        return COPIES if cost <= LARGE else COPIES_OF_LARGE

    @property
    def inputs(self) -> Tensor:
        """The inputs of the sampled sequences, (sequence, time, feature)."""
        return self.prepared.x[self.sample.rows]

    @property
    def examples(self) -> list[int]:
        """The sequences that are drawn over time, as places in the sample: the first ones of about median length."""
        lengths = self.prepared.lengths[self.sample.rows]
        order = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
        return [int(place) for place in order[:EXAMPLES]]

    def _states_of(self, model: nn.Module, examples: list[int] | None) -> NetworkStates:
        prepared = self.prepared
        layers = find_layers(model, [layer.name for layer in prepared.layers])
        return record_states(model, prepared.x, prepared.lengths, self.sample, layers, examples=examples)


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    weights = layer.cell.weights
    return 2.0 * (weights.W.numel() + weights.U.numel())
