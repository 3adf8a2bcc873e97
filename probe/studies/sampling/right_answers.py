"""The right answer after an interchange, by the study's own function, and a shuffled control that must fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ...methods.causal.task import Task
from ..definition.functions import calling
from ..definition.prepared import Prepared
from .tail import Tail

#: (base, source, step) -> the right answers, all of shape (row,).
Splice = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Spliced(Task):
    """A concept that is a function: the right answer is its last value on the source's beginning and the base's rest.

    Attributes:
        splice: computes the right answers.
    """

    splice: Splice

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if base rows go on from the states of source rows after a step."""
        return torch.as_tensor(self.splice(base.numpy(), source.numpy(), step))


@dataclass(frozen=True, eq=False, kw_only=True)
class Relabelled(Task):
    """A concept whose values belong to other rows: the same histogram, and nothing to find.

    Attributes:
        inner: the concept.
        order: the row from which each row takes its value, (row,).
    """

    inner: Task
    order: Tensor = field(repr=False)

    def so_far(self, rows: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the concept of the other rows after a step."""
        return self.inner.so_far(self.order[rows], step)

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if the source's state held the value of the other row."""
        return self.inner.target(base, self.order[source], step)


def task_of(prepared: Prepared, end: Tail) -> tuple[Task, str]:
    """Return the concept as a task, and in words how the right answer after a patch is known.

    Raises:
        ProbeError: the study's own function fails.
    """
    values = torch.as_tensor(np.nan_to_num(end.values))
    concept, combine = prepared.answered, prepared.readout.combine
    if concept.function is not None and combine is None:
        words = (
            f"the value of “{concept.name}”, by its own function, on the source's beginning followed by the base's "
            "rest"
        )
        return Spliced(values, splice=_splice(prepared, end)), words
    if callable(combine):
        return Task(values, _combined(combine)), "what the study's function combine returns"
    if combine == "added":
        words = "the source's value so far, plus the base's last value, minus the base's value so far"
        return Task(values), words
    words = "the source's value" if combine == "replaced" else "the source's value at its last step"
    return Task(values, lambda source, base, whole: source), words


def only_last(prepared: Prepared) -> bool:
    """Return whether only last states are patched, as nobody says how the value changes when more is read."""
    return prepared.answered.function is None and prepared.readout.combine is None


def _combined(combine: Callable[..., object]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def call(*parts: Tensor) -> Tensor:
        with calling("The function combine", "It is called with three arrays, (row,) each, and must return one."):
            answers = np.asarray(combine(*(part.numpy() for part in parts)), dtype=float)
        if answers.shape != tuple(parts[0].shape) or not np.isfinite(answers).all():
            raise ProbeError(
                f"The function combine returned shape {answers.shape}; it must return one finite number for each of "
                f"{len(parts[0])} rows."
            )
        return torch.as_tensor(answers)

    return call


def _splice(prepared: Prepared, end: Tail) -> Splice:
    x, lengths = prepared.x.double().numpy(), prepared.lengths
    concept, known = prepared.answered, dict[tuple[int, int, int], float]()

    def value(base: int, source: int, step: int) -> float:
        key = base, source, step
        if key not in known:
            b, s, left = int(end.rows[base]), int(end.rows[source]), end.steps - 1 - step
            read = np.concatenate([x[s, : lengths[s] - left], x[b, lengths[b] - left : lengths[b]]])
            last = float(concept.of_sequence(read)[-1])
            if not np.isfinite(last):
                raise ProbeError(
                    f"The concept {concept.name!r} is not defined at the last step of sequence {s} spliced with "
                    f"{b}. The concept that a readout answers must be defined there for all inputs that can occur. "
                    "Say with valid= which sequences can occur, or give combine=."
                )
            known[key] = last
        return known[key]

    return lambda base, source, step: np.array(
        [value(int(b), int(s), step) for b, s in zip(base, source, strict=True)]
    )
