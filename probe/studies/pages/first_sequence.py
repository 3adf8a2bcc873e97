"""Which sequence a page's live network reads first: one that tells something, with the sentence that says what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import several
from ...evidence.words import said
from ...questions import needs
from ...questions.answers.answers import at_steps
from ...recurrent.global_state import in_float64
from ...subjects.answers import answered_rows, answers_at_steps, answers_to, rows_at_steps
from ...subjects.readouts import EVERY, NUMBER
from ...subjects.states import drawn_rows
from ...subjects.subject import Subject

#: A wrong answer is sought in so many sequences, and in about so many steps.
ASKED, ASKED_STEPS = 1_024, 16_000
#: So many of those that are found are run once more, as the page runs them.
TRIED = 8


@dataclass(frozen=True)
class First:
    """The sequence that is shown first.

    Attributes:
        row: which of the study's.
        steps: how many of its steps are shown.
        why: the sentence that says why this one; empty where nothing sets one apart.
    """

    row: int
    steps: int
    why: str = ""


def first_of(subject: Subject, most: int, *, answered: bool, called: str) -> First:
    """Return a sequence that the network answers wrong, or else the one in which the concept changes most often.

    Args:
        subject: the network under study.
        most: so many steps are shown at once.
        answered: whether the page shows what the study's readout answers.
        called: what the page calls a sequence.
    """
    wrong = next(_wrong(subject, most, called), None) if answered else None
    return wrong or _changing(subject, most, called)


def _wrong(subject: Subject, most: int, called: str) -> Iterator[First]:
    """Yield sequences that the network answers wrong, also in float64, after a step that is shown.

    Those of usual length come first, then those in which the concept changes most often, then the least wrong ones.
    """
    every, concept = subject.asked.steps == EVERY, subject.answered
    if (at_steps(subject) if every else needs.right_answers(subject) or needs.exact(subject)) is not None:
        return
    rows = rows_at_steps(subject) if every else answered_rows(subject)
    rows = rows[every | (subject.lengths[rows] <= most)]
    rows = drawn_rows(subject, rows, int(np.clip(ASKED_STEPS // subject.x.shape[1], TRIED, ASKED)), 23)
    if not len(rows):
        return
    right = concept.values[rows][:, :most]
    given, numbers = (values[:, :most] for values in answers_at_steps(subject, rows))
    wrong = np.isfinite(given) & np.isfinite(right) & ~np.isclose(given, right)
    at, every_row = wrong.argmax(1), np.arange(len(rows))
    off = np.zeros(len(rows)) if concept.is_categorical else np.abs(numbers - right)[every_row, at]
    order = np.lexsort([off, -_changes(right), _away(subject)[rows]])
    model = in_float64(subject.model)
    for place in order[wrong[order].any(1)][:TRIED].tolist():
        row, step = int(rows[place]), int(at[place])
        read = subject.x[[row], : step + 1].double()
        again, number = (float(one[0]) for one in answers_to(subject, read, model=model))
        if not np.isclose(again, given[place, step]):
            continue
        answer = _named(subject, again)
        if subject.head is not None and subject.head.kind == NUMBER and said(number) != said(again):
            answer = f"{said(number)}, which counts as {answer}"
        when = f"after {several(step + 1, 'step')} " * every
        shown = min(most, int(subject.lengths[row]))
        part = f"the first {shown} steps of " * bool(shown < subject.lengths[row])
        why = f"{when}it answers {answer}, and {_named(subject, right[place, step])} is right"
        yield First(row, shown, f"It starts with {part}a {called} that the network gets wrong: {why}.")


def _changing(subject: Subject, most: int, called: str) -> First:
    """Return the sequence in whose shown steps the concept changes most often, of several the one of usual length."""
    changes, name = _changes(subject.concept.values[:, :most]), subject.concept.name
    row = int(np.lexsort([_away(subject), -changes])[0])
    if changes[row] == changes.min():
        return First(0, min(most, int(subject.lengths[0])))
    article = "a" if (changes == changes[row]).sum() > 1 else "the"
    where = f"in whose first {most} steps" if (subject.lengths > most).any() else "in which"
    why = f"“{name}” changes most often, {several(int(changes[row]), 'time')}"
    return First(row, min(most, int(subject.lengths[row])), f"It starts with {article} {called} {where} {why}.")


def _changes(values: np.ndarray) -> np.ndarray:
    """Return how often a concept's value is another one than after the step before, of values (sequence, step)."""
    return ((np.diff(values, axis=1) != 0) & np.isfinite(np.diff(values, axis=1))).sum(1)


def _away(subject: Subject) -> np.ndarray:
    """Return how far each sequence's length lies from the usual one."""
    return np.abs(subject.lengths - np.median(subject.lengths))


def _named(subject: Subject, value: float) -> str:
    """Return a value of the answered concept in a sentence."""
    name = subject.answered.said(value)
    return f"“{name}”" if subject.answered.is_categorical else name.replace("-", "\N{MINUS SIGN}")
