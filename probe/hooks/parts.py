"""`Part`: what a recording holds of one sequence of a layer, while its calls come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..recurrent.layers import Layer
from ..recurrent.signals import Signal, within


@dataclass(eq=False)
class Part:
    """The calls of a layer that make one sequence, while they come in.

    Attributes:
        ragged: whether rows end at different steps; such a call is alone.
        taps: for each call the zeros added, then their derivatives.
        chosen: for each call which of its steps are kept, or None for all.
        kept: those of all calls, as steps of the sequence.
        time: how many steps came so far.
    """

    layer: Layer
    number: int
    initial: Mapping[Signal, Tensor]
    lengths: Tensor | None
    shapes: Mapping[Signal, tuple[int, ...]]
    inputs: list[Tensor] | None
    ragged: bool
    signals: list[Mapping[Signal, Tensor]] = field(default_factory=list)
    taps: list[Mapping[Signal, Tensor]] = field(default_factory=list)
    chosen: list[list[int] | None] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    time: int = 0

    def choose(self, time: int, steps: tuple[int, ...] | None) -> list[int] | None:
        """Return which steps of the next call, which has so many, may be asked for; None for all."""
        if steps is None or self.ragged:
            return None
        tail = time + min(0, *steps)  # which steps will be the last is not known yet
        return [step for step in range(time) if step >= tail or self.time + step in steps]

    def add(self, time: int, chosen: list[int] | None) -> None:
        """Note that a call of so many steps came, and which of them were chosen."""
        self.kept += [self.time + step for step in chosen or ()]
        self.chosen.append(chosen)
        self.time += time

    def places(self, steps: tuple[int, ...]) -> list[int]:
        """Return where steps stand among those kept.

        Raises:
            ProbeError: a step did not come.
        """
        alone = len(self.chosen) == 1 and not self.layer.is_cell
        what = f"the input of layer {self.layer.name!r}" if alone else f"the calls of cell {self.layer.name!r}"
        return [self.kept.index(step) for step in within("steps", steps, self.time, what)]
