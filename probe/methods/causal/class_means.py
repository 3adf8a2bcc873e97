"""Groups the distinct states at a step by the concept's value, and takes the mean of each group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ..machines import Machine
from .task import Task


@dataclass(frozen=True, eq=False)
class Classes:
    """The distinct states at one step, each once however many rows share its prefix.

    Attributes:
        step: after which step.
        states: (prefix, size), float64.
        concept: the concept's value at each, (prefix,).
        values: the values that occur, ascending, (class,).
        member: which of them each state has, (prefix,).
        of_row: which of them each row of the clean run has, (row,).
        rounding: the largest singular value of what rounding is known to make of the states; 0 where that is not
            known.
    """

    step: int
    states: Float[np.ndarray, "prefix size"]
    concept: Float[np.ndarray, " prefix"]
    values: Float[np.ndarray, " class"]
    member: Int64[np.ndarray, " prefix"]
    of_row: Int64[Tensor, " row"]
    rounding: float = 0.0

    @cached_property
    def sizes(self) -> Int64[np.ndarray, " class"]:
        """How many distinct states each class has."""
        return np.bincount(self.member, minlength=len(self.values))

    @cached_property
    def means(self) -> Float[np.ndarray, "class size"]:
        """The mean state of each class."""
        sums = np.zeros((len(self.values), self.states.shape[1]))
        np.add.at(sums, self.member, self.states)
        return sums / self.sizes[:, None]


def classes_at(machine: Machine, task: Task, step: int) -> Classes:
    """Return the distinct states after a step by the concept's value.

    Raises:
        ProbeError: rows that have read the same so far have other values of the concept, or other rows or steps.

    Reference:
        docs/science.md, "Class mean at (t, n)".
    """
    task.check_fits(machine.clean.inputs)
    prefixes = machine.clean.prefixes[step]
    at_rows = task.concept[:, step]
    concept = at_rows[prefixes.rows]
    if not torch.equal(concept[prefixes.group], at_rows):
        raise ProbeError(
            f"Rows that have read the same up to step {step} differ in the concept, so that no state can hold it. "
            "Give a concept that follows from what was read so far."
        )
    values, member = np.unique(concept.numpy(), return_inverse=True)
    member = member.ravel().astype(np.int64)
    states = machine.clean.states[prefixes.rows, step].numpy()
    return Classes(step, states, concept.numpy(), values, member, torch.as_tensor(member)[prefixes.group])
