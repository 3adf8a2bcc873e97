"""A network's answers to sequences, and which sequences a study asks about."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ProbeError
from ...methods import outputs
from ...recurrent.double import in_float64
from ...recurrent.layers import Layer
from ..odds import Odds
from ..readouts import EVERY, NUMBER, Head, copied
from ..subject import Subject
from .network_states import run
from .sample import POINTS, SEQUENCES, reads_ahead

#: At least so many sequences are looked at, however long they are.
FEWEST = 100


def answers(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answers to sequences of a study; see `answers_to`."""
    return answers_to(subject, subject.x[rows], subject.lengths[rows])


@torch.no_grad()
def answers_to(subject: Subject, x: Tensor, lengths: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answer to each sequence, as a value of the concept and as the number before rounding.

    The network runs in its own type of number; a head runs in float64.

    Args:
        subject: the network under study.
        x: the sequences, (sequence, time, feature).
        lengths: how many steps each has, (sequence,); None where all have the whole time axis.

    Returns:
        The answers, (sequence,), and the expected answers, (sequence,).

    Raises:
        ProbeError: there is no readout, or it does not give one finite number a sequence.
    """
    return _answers(subject, subject.model, x, np.full(len(x), x.shape[1]) if lengths is None else lengths)


@torch.no_grad()
def answers_at_steps(
    subject: Subject, x: Tensor, lengths: np.ndarray | None = None
) -> tuple[Float[np.ndarray, "sequence step"], Float[np.ndarray, "sequence step"]]:
    """Return the network's answers to sequences after every step that its readout names (`Readout.steps`).

    The network runs in its own type of number; a head runs in float64.

    Args:
        subject: the network under study, whose readout has a head.
        x: the sequences, (sequence, time, feature).
        lengths: how many steps each has, (sequence,); None where all have the whole time axis.

    Returns:
        The answers as values of the concept, and the expected answers; NaN at padding and at steps without an answer.

    Raises:
        ProbeError: there is no head, or a step of the readout does not exist in one of the sequences.
    """
    read, head = subject.read, subject.head
    ends = np.full(len(x), x.shape[1]) if lengths is None else lengths
    if read is None or head is None:
        raise ProbeError(
            "Answers at steps are read by a head from the hidden state; give a readout with weight (and bias), or "
            "function."
        )
    there = subject.asked.answered(ends, x.shape[1])
    states = _states(subject, x, ends, read)
    scores = copied(head)(states[torch.as_tensor(there[:, : states.shape[1]])].double())
    found = np.full((2, *there.shape), np.nan)
    found[0, there], found[1, there] = head.answer(scores).numpy(), head.expected(scores).numpy()
    return found[0], found[1]


@torch.no_grad()
def with_threshold(subject: Subject) -> Subject:
    """Return a subject whose odds of symbols have their threshold, and whose card says it; any other as it is.

    The threshold is fitted to the states after the steps that the readout names, of the sequences of the study.
    """
    head, read, concept = subject.head, subject.read, subject.answered if subject.readout is not None else None
    if head is None or read is None or concept is None or not isinstance(odds := getattr(head, "inner", None), Odds):
        return subject
    rows = rows_at_steps(subject)
    states = _states(subject, subject.x[rows], subject.lengths[rows], read)
    values = concept.values[rows][:, : states.shape[1]]
    there = subject.asked.answered(subject.lengths[rows], values.shape[1]) & np.isfinite(values)
    found = copied(odds).log_odds(states[torch.as_tensor(there)].double())
    odds.fit(found.numpy(), np.isclose(values[there], concept.levels[1]))
    said = odds.said(subject.asked.probability_of or (), f"“{concept.name}” is {concept.said(concept.levels[1])}")
    return replace(subject, card={**subject.card, "its answer": said})


@torch.no_grad()
def answers_if_asked(subject: Subject, rows: np.ndarray) -> Float[np.ndarray, "sequence step"]:
    """Return what the network would answer if each sequence ended after each of its steps, whenever it is asked.

    Args:
        subject: the network under study.
        rows: which sequences.

    Returns:
        The answers as values of the concept, (sequence, step); NaN at padding.

    Raises:
        ProbeError: there is no readout, or it does not give one finite number a sequence.
    """
    x, lengths, read, head = subject.x[rows], subject.lengths[rows], subject.read, subject.head
    found = np.full(x.shape[:2], np.nan)
    if read is not None and head is not None and read.name not in reads_ahead(subject):
        states = _states(subject, x, lengths, read)
        there = np.arange(states.shape[1]) < lengths[:, None]
        scores = copied(head)(states[torch.as_tensor(there)].double())
        found[:, : states.shape[1]][there] = head.answer(scores).numpy()
        return found
    for length in range(1, int(lengths.max()) + 1):
        here = np.flatnonzero(lengths >= length)
        found[here, length - 1] = answers_to(subject, x[here, :length])[0]
    return found


def answers_by_length(
    subject: Subject, x: Mapping[int, Tensor]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return the answers and the expected answers to sequences of several lengths, run in float64.

    Args:
        subject: the network under study.
        x: length -> sequences, (sequence, time, feature).

    Returns:
        Both by length, (sequence,) each.

    Raises:
        ProbeError: as of `answers_to`.
    """
    if subject.asked.output is not None:
        given, shown = outputs.answers_by_length(subject.model, x, *subject.asked.output)
    else:
        model = in_float64(subject.model)
        found = {n: _answers(subject, model, batch.double(), np.full(len(batch), n)) for n, batch in x.items()}
        given, shown = ({n: pair[place] for n, pair in found.items()} for place in range(2))
    return given, shown


@torch.no_grad()
def _answers(subject: Subject, model: nn.Module, x: Tensor, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    read, head, readout = subject.read, subject.head, subject.asked
    if readout.output is not None:
        names, found = ("answer(...)", "expected(...)"), np.empty((2, len(x)))
        # A model that is called with padding reads it.
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            output = model(x[rows, :length])
            for place, (name, read_off) in enumerate(zip(names, readout.output, strict=True)):
                found[place, rows] = outputs.per_row(name, read_off(output), len(rows)).cpu().numpy()
        return found[0], found[1]
    if read is None or head is None:
        raise ProbeError("The study has no readout, and so no answers.")
    _check_last(subject, lengths)
    recording = run(model, x, lengths, read.name, [read.output], tolerance=subject.tolerance)
    last = recording[read.name, read.output][torch.arange(len(x)), torch.as_tensor(lengths - 1)]
    scores = copy.deepcopy(head).double()(last.double())
    return head.answer(scores).numpy(), head.expected(scores).numpy()


def _states(subject: Subject, x: Tensor, lengths: np.ndarray, read: Layer) -> Tensor:
    """Return what a head reads after every step, (sequence, step, unit)."""
    recording = run(subject.model, x, lengths, read.name, [read.output], tolerance=subject.tolerance)
    return recording[read.name, read.output]


def _check_last(subject: Subject, lengths: np.ndarray) -> None:
    ends = subject.asked.at_last(lengths)
    if not ends.all():
        raise ProbeError(
            f"The readout answers after steps {subject.asked.steps}, and sequence {np.flatnonzero(~ends)[0]} has "
            f"another last step, whose answer is asked here. Add -1 to steps, or give steps={EVERY!r}."
        )


def answered_rows(subject: Subject) -> np.ndarray:
    """Return the sequences whose answers are looked at: those with a right answer, or a random part of them."""
    right = subject.answered.values[np.arange(len(subject.x)), subject.lengths - 1]
    return _drawn(subject, np.isfinite(right))


def rows_at_steps(subject: Subject) -> np.ndarray:
    """Return the sequences whose answers at steps are looked at, or a random part of them.

    They are those with a right answer to one of the steps that the readout names at least.

    Raises:
        ProbeError: a step of the readout does not exist in one of the sequences.
    """
    there = subject.asked.answered(subject.lengths, subject.x.shape[1])
    return _drawn(subject, np.any(there & np.isfinite(subject.answered.values), axis=1))


def _drawn(subject: Subject, wanted: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(wanted)
    most = int(np.clip(2 * POINTS // subject.x.shape[1], FEWEST, SEQUENCES))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([subject.seed, 6]).choice(rows, most, replace=False))
    return rows


def head_of(subject: Subject) -> Head | None:
    """Return the head of a readout, or what says how the model's output is read; None where functions read it."""
    output = subject.asked.output
    return subject.head if output is None else getattr(output[0], "head", None)


def gives_number(subject: Subject) -> bool:
    """Return whether the answer is a number, which is its own expected answer, and not one of several classes."""
    head = head_of(subject)
    return head is None or head.kind == NUMBER


def takes_levels(subject: Subject) -> bool:
    """Return whether answers take a few values, so that each is right or wrong."""
    return subject.head is None or bool(len(subject.head.values))
