"""The clean run: what was read, the states after each step with nothing changed, and which of them are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import ProbeError, unknown
from ..recurrent.signals import Signal
from .probing.groups import LEAST_STATES
from .probing.prefixes import grouped_prefixes
from .readouts import Answers


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The distinct stretches of input up to a step; a state depends on them and on where its row starts alone.

    Attributes:
        rows: the first row that starts with each, ascending, (prefix,).
        group: which of them each row starts with, (row,).
    """

    rows: Int64[Tensor, " prefix"]
    group: Int64[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class CleanRun:
    """A run of a model with nothing changed.

    Attributes:
        inputs: what the recurrent layers read.
        initial: the states before the first step.
        states: the states after each step.
        answers: what the model answered.
        starts: a number for each row; rows of other numbers start in other states, and share no prefix.
        signals: what else was recorded, a gate for instance, (time, batch, unit) each.
        lengths: how many steps each row has; None where each has all. Later inputs and states are padding, NaN, which
            nobody reads.
    """

    inputs: Float[Tensor, "batch time input"]
    initial: Float[Tensor, "batch size"]
    states: Float[Tensor, "batch time size"]
    answers: Answers
    starts: Int64[Tensor, " batch"]
    signals: Mapping[Signal, Tensor] = field(default_factory=dict)
    lengths: Int64[Tensor, " batch"] | None = None

    def has(self, step: int) -> Bool[Tensor, " batch"]:
        """Return which rows have a step, counted from 0."""
        if self.lengths is None:
            return torch.full((len(self.inputs),), 0 <= step < self.inputs.shape[1])
        return self.lengths > step

    @cached_property
    def prefixes(self) -> tuple[Prefixes, ...]:
        """The distinct prefixes after each step."""
        return tuple(
            Prefixes(torch.as_tensor(rows), torch.as_tensor(group))
            for rows, group in grouped_prefixes(self.inputs, self.starts.numpy())
        )

    def parents(self, step: int) -> Int64[Tensor, " prefix"]:
        """Return for each distinct prefix after a step its place among those of the step before."""
        return self.prefixes[step - 1].group[self.prefixes[step].rows]

    @property
    def headline_step(self) -> int:
        """The middle step, or the first later one with 128 distinct prefixes, or with the most where all have fewer.

        The last step is none of these: nothing is left to be read after it.
        """
        sizes = [len(prefixes.rows) for prefixes in self.prefixes[:-1]]
        enough = min(LEAST_STATES, max(sizes, default=0))
        middle = max(min((len(sizes) + 1) // 2, len(sizes) - 1), 0)
        return max(middle, next((step for step, size in enumerate(sizes) if size >= enough), 0))

    def recorded(self, signal: Signal) -> Float[Tensor, "batch time unit"]:
        """Return a signal of the run, a gate for instance.

        Raises:
            ProbeError: it was not recorded.
        """
        if signal not in self.signals:
            raise ProbeError(unknown("signal", str(signal), [str(name) for name in self.signals]))
        return self.signals[signal].transpose(0, 1)
