"""The sampled states of the network and of its controls, recorded when a question first needs them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor

from ...recurrent.layers import Layer
from ..definition.prepared import Prepared
from .network_states import Observed, observe
from .random_weights import twins
from .sample import Sample, draw

#: Twins of a network that costs little, and of one whose recordings take more than so many multiplications.
TWINS, TWINS_OF_LARGE, LARGE = 8, 4, 2e10
#: Sequences whose states are drawn over time.
EXAMPLES = 1
_GATES = {"cell_state": 4}


class Sightings:
    """Recordings of a prepared study, each made once.

    Args:
        prepared: the study.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    @cached_property
    def sample(self) -> Sample:
        """Which sequences and states are looked at."""
        return draw(self.prepared)

    @cached_property
    def own(self) -> Observed:
        """What the network itself computes."""
        return self._observe(self.prepared.opened.model, self.examples)

    @cached_property
    def of_twins(self) -> dict[str, Observed]:
        """What re-initialised networks compute, by name."""
        made = twins(self.prepared.opened.model, self.count, seed=self.prepared.seed)
        return {name: self._observe(twin, None) for name, twin in made}

    @property
    def count(self) -> int:
        """How many twins there are: a few where each takes long."""
        steps = len(self.sample.rows) * self.prepared.x.shape[1]
        cost = steps * sum(flops(layer) for layer in self.prepared.layers)
        return TWINS if cost <= LARGE else TWINS_OF_LARGE

    @property
    def inputs(self) -> Tensor:
        """The inputs of the sampled sequences, (sequence, time, feature)."""
        return self.prepared.x[self.sample.rows]

    @property
    def examples(self) -> list[int]:
        """Sequences that are drawn over time, by their place in the sample: of those of median length the first."""
        lengths = self.prepared.lengths[self.sample.rows]
        order = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
        return [int(place) for place in order[:EXAMPLES]]

    def _observe(self, model: object, examples: list[int] | None) -> Observed:
        from ...recurrent.layers import find_layers

        prepared = self.prepared
        layers = find_layers(model, [layer.name for layer in prepared.layers])  # pyright: ignore[reportArgumentType]
        return observe(
            model,  # pyright: ignore[reportArgumentType] - a module, as the twins are
            prepared.x,
            prepared.lengths,
            self.sample,
            layers,
            examples=examples,
        )


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    weights = layer.cell.weights
    return 2.0 * (weights.W.numel() + weights.U.numel())
