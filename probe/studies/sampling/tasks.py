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

#: (base, source, step) -> what the answers should be, (row,) each.
Splice = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Spliced(Task):
    """A concept that is a function: the right answer is its last value on the source's prefix and the base's rest.

    Attributes:
        splice: gives it.
    """

    splice: Splice

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return what the answers should be where base rows go on from what source rows held after a step."""
        return torch.as_tensor(self.splice(base.numpy(), source.numpy(), step))


@dataclass(frozen=True, eq=False, kw_only=True)
class Relabelled(Task):
    """A concept whose values are those of other rows: the same histogram, and nothing to find.

    Attributes:
        inner: the concept.
        order: whose value each row is given, (row,).
    """

    inner: Task
    order: Tensor = field(repr=False)

    def so_far(self, rows: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the concept of the rows' partners after a step."""
        return self.inner.so_far(self.order[rows], step)

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return what the answers should be if the source's state held what its partner's does."""
        return self.inner.target(base, self.order[source], step)


def task_of(prepared: Prepared, end: Tail) -> tuple[Task, str]:
    """Return what states are thought to hold, and the sentence how the right answer after an exchange is known.

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
        return Task(values, _own(combine)), "what the study's own combine function says"
    if combine == "added":
        return Task(
            values
        ), "what the source has so far, plus what the base has in all, less what the base has so far"
    words = "what the source has" if combine == "replaced" else "what the source has at its last step"
    return Task(values, lambda source, base, whole: source), words


def only_last(prepared: Prepared) -> bool:
    """Return whether nothing says what becomes of a value later, so that only last states are exchanged."""
    return prepared.answered.function is None and prepared.readout.combine is None


def _own(combine: Callable[..., object]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def call(*parts: Tensor) -> Tensor:
        with calling("The function combine", "It is called with three arrays, (row,) each, and must return one."):
            found = np.asarray(combine(*(part.numpy() for part in parts)), dtype=float)
        if found.shape != tuple(parts[0].shape) or not np.isfinite(found).all():
            raise ProbeError(
                f"The function combine returned shape {found.shape}; it must return one finite number for each of "
                f"{len(parts[0])} rows."
            )
        return torch.as_tensor(found)

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
                    f"{b}; a concept that is a readout's answer must be defined there for any inputs. Say with "
                    "valid= which sequences can occur, or give combine=."
                )
            known[key] = last
        return known[key]

    return lambda base, source, step: np.array(
        [value(int(b), int(s), step) for b, s in zip(base, source, strict=True)]
    )
