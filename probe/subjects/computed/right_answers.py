"""The right answer after an interchange: by the study's own function, by `combine`, or by adding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ProbeError
from ...methods.causal.alignment_loss import Loss, answer_loss
from ...methods.causal.task import Combine, Task, added, replaced
from ..functions import calling
from ..subject import Subject, per_subject
from .ends import Ends, ends_of

#: The right answer to a value is compared over so many sequences that have it.
SOURCES = 8
#: (base, source, step) -> the right answers, all of shape (row,).
Splice = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _by_splice_alone(source: Tensor, base: Tensor, final: Tensor) -> Tensor:
    raise ProbeError("The right answer is a function of the whole sequence; values so far do not give it.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Spliced(Task):
    """A concept that is a function: the right answer is its last value on the source's beginning and the base's rest.

    Attributes:
        splice: computes the right answers.
    """

    splice: Splice
    combine: Combine = _by_splice_alone

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if base rows go on from the states of source rows after a step."""
        return torch.as_tensor(self.splice(base.numpy(), source.numpy(), step))

    def with_value(self, value: Tensor, base: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if base rows go on from sources that have other values after a step.

        Args:
            value: the concept's value that is put in, (row,).
            base: the rows.
            step: after which step.

        Raises:
            ProbeError: no sequence has a value at the step, or the right answer depends on which of them it is.
        """
        targets = torch.empty(len(base), dtype=torch.float64)
        for one in value.unique():
            rows = (value == one).nonzero().flatten()
            sources = torch.isclose(self.concept[:, step], one).nonzero().flatten()
            if not len(sources):
                raise ProbeError(f"No sequence has the value {float(one):g} at step {step}.")
            tried = sources[torch.linspace(0, len(sources) - 1, min(SOURCES, len(sources))).round().long()]
            found = torch.stack([self.target(base[rows], source.expand(len(rows)), step) for source in tried])
            if bool((found != found[0]).any()):
                raise ProbeError(
                    f"The value {float(one):g} at step {step} does not decide the right answer: after two sequences "
                    "that have it, the same rest is answered differently. Only a concept that decides what follows "
                    "can be pushed from value to value."
                )
            targets[rows] = found[0]
        return targets


def loss_of(subject: Subject) -> Loss:
    """Return how wrong an output is: the loss of the readout's head, or that of the model's own output."""
    return answer_loss if subject.head is None else subject.head.loss


def combine_of(subject: Subject) -> Combine:
    """Return the function that gives the right answer after a patch, where answers stand in the model's output."""
    given: Any = subject.asked.combine
    return replaced if given == "replaced" else added if given in (None, "added") else given


@per_subject
def task_of(subject: Subject) -> Task:
    """Return what the state is thought to hold, aligned to the rows and steps of the subject's machine.

    Raises:
        ProbeError: the study's own function fails, or the network cannot be run from its states.
    """
    end = ends_of(subject)
    values = torch.as_tensor(np.nan_to_num(end.values))
    concept, combine = subject.answered, subject.asked.combine
    if concept.function is not None and combine is None:
        return Spliced(values, splice=_splice(subject, end))
    if callable(combine):
        return Task(values, combine_of(subject) if subject.asked.output is not None else _combined(combine))
    return Task(values) if combine == "added" else Task(values, replaced)


def right_answer(subject: Subject) -> str:
    """Return in words how the right answer after a patch is known."""
    concept, combine = subject.answered, subject.asked.combine
    if concept.function is not None and combine is None:
        return (
            f"the value of “{concept.name}”, by its own function, on the source's beginning followed by the base's "
            "rest"
        )
    if callable(combine):
        return "what the study's function combine returns"
    if combine == "added":
        return "the source's value so far, plus the base's last value, minus the base's value so far"
    return "the source's value" if combine == "replaced" else "the source's value at its last step"


def only_last(subject: Subject) -> bool:
    """Return whether only last states are patched, as nobody says how the value changes when more is read."""
    return subject.answered.function is None and subject.asked.combine is None


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


def _splice(subject: Subject, end: Ends) -> Splice:
    x, lengths = subject.x.double().numpy(), subject.lengths
    concept, known = subject.answered, dict[tuple[int, int, int], float]()

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
