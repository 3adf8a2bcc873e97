"""`Task`: the value that a state is thought to hold, and the right answer after it is replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..readouts import per_row

#: (concept of the source so far, of the base so far, of the whole base) -> what the answer should be, (row,) each.
Combine = Callable[[Tensor, Tensor, Tensor], Tensor]


def added(source: Tensor, base: Tensor, final: Tensor) -> Tensor:
    """Return what a sum should be after a patch: the source's so far, plus what the base's suffix adds.

    Args:
        source: the concept after the source's prefix, (row,).
        base: the concept after the base's prefix, (row,).
        final: the concept at the end of the base, (row,).
    """
    return source + final - base


def replaced(source: Tensor, base: Tensor, final: Tensor) -> Tensor:
    """Return the source's value, for what later inputs do not change; arguments as of `added`."""
    return source


@dataclass(frozen=True, eq=False)
class Task:
    """A concept, and how it makes the answer.

    Attributes:
        concept: its value after each step of each sequence, (batch, time), kept in float64;
            the answer should be the last one.
        combine: what the answer should be after a patch; the default is right for anything that adds up.
    """

    concept: Tensor
    combine: Combine = added

    def __post_init__(self) -> None:
        if self.concept.dim() != 2 or not bool(torch.isfinite(self.concept.double()).all()):
            raise ProbeError(
                f"The concept has shape {tuple(self.concept.shape)}; it must be (batch, time) and finite everywhere."
            )
        object.__setattr__(self, "concept", self.concept.double())

    def check_fits(self, inputs: Float[Tensor, "batch time input"]) -> None:
        """Refuse inputs of other rows or steps than the concept's.

        Raises:
            ProbeError: (batch, time) differ, or sequences differ in length.
        """
        if self.concept.shape != inputs.shape[:2]:
            raise ProbeError(
                f"The concept has shape {tuple(self.concept.shape)}; it must be aligned to the input's "
                f"(batch, time), {tuple(inputs.shape[:2])}."
            )
        if inputs.shape[1] and bool(inputs[:, -1].isnan().any()):
            raise ProbeError(
                "The sequences differ in length, and a Task's right answer stands at the last step of all. Give "
                "sequences of one length, or read their answers step by step: probe.methods.causal.patched_states."
            )

    def so_far(self, rows: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the concept after a step."""
        return self.concept[rows, step]

    def final(self, rows: Int64[Tensor, " row"]) -> Float[Tensor, " row"]:
        """Return what the answers to whole sequences should be."""
        return self.concept[rows, -1]

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return what the answers should be where base rows go on from what source rows held after a step.

        Raises:
            ProbeError: `combine` does not give one finite number a row.
        """
        return self.with_value(self.so_far(source, step), base, step)

    def with_value(self, value: Tensor, base: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return what the answers should be where base rows go on from other values of the concept after a step.

        Args:
            value: the concept's value that is put in, (row,).
            base: the rows.
            step: after which step.

        Raises:
            ProbeError: `combine` does not give one finite number a row.
        """
        found = self.combine(value, self.so_far(base, step), self.final(base))
        return per_row("combine(...)", found, len(base)).double()
