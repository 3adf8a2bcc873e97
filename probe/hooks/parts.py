"""`Part`: what a recording holds of one sequence of a layer, while its calls come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..recurrent.calls import own_order
from ..recurrent.layers import Layer
from ..recurrent.refusals import converted
from ..recurrent.signals import Signal, within

if TYPE_CHECKING:
    from .collector import Options


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

    def arranged(self, signal: Signal, value: Tensor, chosen: list[int] | None, options: Options) -> Tensor:
        """Return values of the layer's own order (time, batch, unit) in the input's order, padding as NaN."""
        lengths = self.lengths if self.ragged else None
        value, time = own_order(value, self.layer, lengths), value.shape[0]
        steps, dtype, device = options.steps, options.dtype, options.device
        if chosen is not None and len(chosen) < time:
            value = value[torch.tensor(chosen, dtype=torch.long)]
        if lengths is not None:
            valid = (torch.arange(time).unsqueeze(1) < lengths).to(value.device)
            value = value.masked_fill(~valid.unsqueeze(-1), float("nan"))
        if lengths is not None and steps is not None:
            _ = within("steps", steps, time, f"the input of layer {self.layer.name!r}")
            ends = torch.tensor(steps).unsqueeze(1).expand(len(steps), len(lengths))
            rows = torch.where(ends < 0, ends + lengths, ends).to(value.device)
            found = value.gather(0, rows.clamp(min=0).unsqueeze(-1).expand(*rows.shape, value.shape[2]))
            value = found.masked_fill((rows < 0).unsqueeze(-1), float("nan"))
        if device is dtype is None:
            return value
        dtype = dtype.to_complex() if dtype is not None and value.is_complex() else dtype
        what = f"The {str(signal)!r} of layer {self.layer.name!r}"
        advice = "Keep it with dtype={}, or leave it out with signals=."
        return converted(value, what, advice, dtype=dtype, device=device)
