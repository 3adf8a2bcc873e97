"""A network's answers to sequences, the right answers after an interchange, and which sequences are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import ProbeError
from ..methods import readouts
from ..methods.causal.task import Combine, Task, added, replaced
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer
from .ends import Ends, ends_of
from .functions import calling
from .readouts import NUMBER, Head, copied
from .states import drawn_rows, reads_ahead, run
from .subject import Subject, per_subject

#: At least so many sequences are looked at, however long they are.
FEWEST = 100
#: The right answer to a value is compared over so many sequences that have it.
SOURCES = 8
#: (base, source, step) -> the right answers, all of shape (row,).
Splice = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def answers(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answers to sequences of a study; see `answers_to`."""
    return answers_to(subject, subject.x[rows], subject.lengths[rows])


@torch.no_grad()
def answers_to(
    subject: Subject, x: Tensor, lengths: np.ndarray | None = None, model: nn.Module | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answer to each sequence, as a value of the concept and as the number before rounding.

    The network runs in its own type of number; a head runs in float64.

    Args:
        subject: the network under study.
        x: the sequences, (sequence, time, feature).
        lengths: how many steps each has, (sequence,); None where all have the whole time axis.
        model: a copy of the network that runs; None for the network.

    Raises:
        ProbeError: there is no readout, or it does not give one finite number a sequence.
    """
    lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
    model, output = model or subject.model, subject.asked.functions
    if output is not None:
        names, values = ("answer(...)", "expected(...)"), np.empty((2, len(x)))
        # A model that is called with padding reads it.
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            returned = model(x[rows, :length])
            for place, (name, read_off) in enumerate(zip(names, output, strict=True)):
                values[place, rows] = readouts.per_row(name, read_off(returned), len(rows)).cpu().numpy()
        return values[0], values[1]
    read, head = subject.reading
    last = _states(subject, model, x, lengths, read)[torch.arange(len(x)), torch.as_tensor(lengths - 1)]
    scores = copied(head)(last.double())
    return head.answer(scores).numpy(), head.expected(scores).numpy()


@torch.no_grad()
def answers_at_steps(
    subject: Subject, rows: np.ndarray
) -> tuple[Float[np.ndarray, "sequence step"], Float[np.ndarray, "sequence step"]]:
    """Return the network's answers, as `answers_to`, after the steps of `Readout.steps`, and NaN after the others."""
    (read, head), x, lengths = subject.reading, subject.x[rows], subject.lengths[rows]
    there = subject.asked.answered(lengths, x.shape[1])
    return _after(head, _states(subject, subject.model, x, lengths, read), there)


@torch.no_grad()
def answers_if_asked(subject: Subject, rows: np.ndarray) -> Float[np.ndarray, "sequence step"]:
    """Return what the network would answer if sequences ended after each of their steps; NaN at padding."""
    x, lengths, read, head = subject.x[rows], subject.lengths[rows], subject.read, subject.head
    if read is not None and head is not None and read.name not in reads_ahead(subject):
        return _after(head, _states(subject, subject.model, x, lengths, read), subject.data[rows])[0]
    values = np.full(x.shape[:2], np.nan)
    for length in range(1, int(lengths.max()) + 1):
        here = np.flatnonzero(lengths >= length)
        values[here, length - 1] = answers_to(subject, x[here, :length])[0]
    return values


def answers_by_length(
    subject: Subject, x: Mapping[int, Tensor]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return the answers and the expected answers to sequences of several lengths, by length, run in float64."""
    if subject.asked.functions is not None:
        return readouts.answers_by_length(subject.model, x, *subject.asked.functions)
    model = in_float64(subject.model)
    both = {n: answers_to(subject, batch.double(), model=model) for n, batch in x.items()}
    return {n: pair[0] for n, pair in both.items()}, {n: pair[1] for n, pair in both.items()}


def _states(subject: Subject, model: nn.Module, x: Tensor, lengths: np.ndarray, read: Layer) -> Tensor:
    """Return what a head reads after every step, (sequence, step, unit)."""
    return run(model, x, lengths, [read.name], [read.output], tolerance=subject.tolerance)[read.name, read.output]


def _after(head: Head, states: Tensor, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a head's answers and expected answers after some steps, (sequence, step) each; NaN after the others."""
    scores = copied(head)(states[torch.as_tensor(there[:, : states.shape[1]])].double())
    values = np.full((2, *there.shape), np.nan)
    values[0, there], values[1, there] = head.answer(scores).numpy(), head.expected(scores).numpy()
    return values[0], values[1]


def answered_rows(subject: Subject) -> np.ndarray:
    """Return the sequences whose answers are looked at: those with a right answer, or a random part of them."""
    return _drawn(subject, np.isfinite(subject.last_values))


def rows_at_steps(subject: Subject) -> np.ndarray:
    """Return the sequences whose answers at steps are looked at: all with a right answer, or a random part."""
    there = subject.asked.answered(subject.lengths, subject.x.shape[1])
    return _drawn(subject, np.any(there & np.isfinite(subject.answered.values), axis=1))


def _drawn(subject: Subject, wanted: np.ndarray) -> np.ndarray:
    most = np.clip(2 * subject.budget.steps // subject.x.shape[1], FEWEST, subject.budget.sequences)
    return drawn_rows(subject, np.flatnonzero(wanted), int(most), 6)


def head_of(subject: Subject) -> Head | None:
    """Return the head of a readout, or what says how the model's output is read; None where functions read it."""
    output = subject.asked.functions
    return subject.head if output is None else getattr(output[0], "head", None)


def gives_number(subject: Subject) -> bool:
    """Return whether the answer is a number, which is its own expected answer, and not one of several classes."""
    head = head_of(subject)
    return head is None or head.kind == NUMBER


def takes_levels(subject: Subject) -> bool:
    """Return whether answers take a few values, so that each is right or wrong."""
    return subject.head is None or bool(len(subject.head.values))


def _by_splice_alone(source: Tensor, base: Tensor, final: Tensor) -> Tensor:
    raise ProbeError("The right answer is a function of the whole sequence; values so far do not give it.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Spliced(Task):
    """A concept that is a function: its value on the source's beginning and the base's rest is the right answer."""

    splice: Splice
    combine: Combine = _by_splice_alone

    def target(self, base: Int64[Tensor, " row"], source: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if base rows go on from the states of source rows after a step."""
        return torch.as_tensor(self.splice(base.numpy(), source.numpy(), step))

    def with_value(self, value: Tensor, base: Int64[Tensor, " row"], step: int) -> Float[Tensor, " row"]:
        """Return the right answers if base rows go on from sources that have other values, (row,), after a step.

        Raises:
            ProbeError: no sequence has a value at the step, or the right answer depends on which of them it is.
        """
        targets = torch.empty(len(base), dtype=torch.float64)
        for level in value.unique():
            rows = (value == level).nonzero().flatten()
            sources = torch.isclose(self.concept[:, step], level).nonzero().flatten()
            if not len(sources):
                raise ProbeError(f"No sequence has the value {float(level):g} at step {step}.")
            tried = sources[torch.linspace(0, len(sources) - 1, min(SOURCES, len(sources))).round().long()]
            right = torch.stack([self.target(base[rows], source.expand(len(rows)), step) for source in tried])
            if bool((right != right[0]).any()):
                raise ProbeError(
                    f"The value {float(level):g} at step {step} does not decide the right answer: after two "
                    "sequences that have it, the same rest is answered differently. Only a concept that decides what "
                    "follows can be pushed from value to value."
                )
            targets[rows] = right[0]
        return targets


@per_subject
def task_of(subject: Subject) -> Task:
    """Return what the state is thought to hold, aligned to the rows and steps of the subject's machine."""
    end = ends_of(subject)
    values = torch.as_tensor(np.nan_to_num(end.values))
    function, combine = subject.answered.function, subject.asked.combine
    if function is not None and combine is None:
        return Spliced(values, splice=_splice(subject, end))
    return Task(values, _combine(combine) if callable(combine) else added if combine == "added" else replaced)


def right_answer(subject: Subject) -> str:
    """Return in words how the right answer after a patch is known."""
    concept, combine = subject.answered, subject.asked.combine
    if concept.function is not None and combine is None:
        return f"“{concept.name}”, by its own function, of the source's beginning and the base's rest"
    if callable(combine):
        return "what the study's function combine returns"
    if combine == "added":
        return "the source's value so far, plus the base's last value, minus the base's value so far"
    return "the source's value" if combine == "replaced" else "the source's value at its last step"


def only_last(subject: Subject) -> bool:
    """Return whether only last states are patched, as nobody says how the value changes when more is read."""
    return subject.answered.function is None and subject.asked.combine is None


def _combine(function: Callable[..., Any]) -> Combine:
    def call(*parts: Tensor) -> Tensor:
        with calling("The function combine", "It is called with three tensors, (row,), and must return one."):
            return function(*parts)

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
