"""Turns the concept that a network answers into a program of the explorer: a number that each symbol changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import ProbeError
from ...explorer import ExplorerProgram
from ...subjects.subject import Subject

#: How far a value may lie from what the program gives.
_TOLERANCE = 1e-9
#: A concept is held against so many sequences of the study, and so many drawn ones; of each so many steps are read.
_SEQUENCES, _DRAWN, _STEPS = 500, 40, 60
#: Sequences as symbols, each with a value after every step.
Known = Sequence[tuple[str, np.ndarray]]


def truth(subject: Subject, letters: Mapping[tuple[float, ...], str]) -> ExplorerProgram | None:
    """Return the concept that is answered as a program, or None where it cannot be written as one."""
    values = subject.head.values.numpy() if subject.head is not None else np.zeros(1)
    between = np.diff(values)
    if not len(between) or not between[0] or np.abs(between - between[0]).max() > _TOLERANCE:
        return None
    answered, known = subject.answered, []
    for row in range(min(len(subject.x), _SEQUENCES)):
        steps = subject.x[row, : min(_STEPS, int(subject.lengths[row]))].double().tolist()
        symbols = [letters.get(tuple(step)) for step in steps]
        if None not in symbols:
            known.append(("".join(map(str, symbols)), (answered.values[row, : len(steps)] - values[0]) / between[0]))
    drawn = [(text, (found - values[0]) / between[0]) for text, found in _drawn(subject, letters)]
    about = (answered.name, answered.description or "what the study asks for")
    # What a reader types need not be what the study's sequences are like.
    program = written(*about, [*known, *drawn]) or written(*about, known)
    # A symbol that no sequence has would leave it without an answer to that.
    return program if program is not None and set(program.steps) == set(letters.values()) else None


def written(name: str, role: str, known: Known) -> ExplorerProgram | None:
    """Return the program whose answer after every step of every sequence is the value there, or None if none is."""
    if not known or not all(np.isfinite(values).all() for _, values in known):
        return None
    steps: dict[str, tuple[float, float]] = {}
    for symbol in sorted({symbol for text, _ in known for symbol in text}):
        pairs = [
            (values[step - 1], values[step])
            for text, values in known
            for step in range(1, len(text))
            if text[step] == symbol
        ]
        if not pairs:
            return None
        (first, then), (other, after) = min(pairs), max(pairs)
        factor = 1.0 if first == other else _rounded((after - then) / (other - first))
        steps[symbol] = (factor, _rounded(then - factor * first))
    begins = [(steps[text[0]], values[0]) for text, values in known if steps[text[0]][0]]
    start = _rounded((begins[0][1] - begins[0][0][1]) / begins[0][0][0]) if begins else 0.0
    program = ExplorerProgram(name, start, steps, role)
    for text, values in known:
        if np.abs([program(text[: end + 1]) for end in range(len(text))] - values).max() > _TOLERANCE:
            return None
    return program


def _drawn(subject: Subject, letters: Mapping[tuple[float, ...], str]) -> list[tuple[str, np.ndarray]]:
    """Return random sequences with the concept's values, or none where it has no function for them."""
    generator, inputs = np.random.default_rng(subject.seed), list(letters)
    found = []
    for _ in range(_DRAWN):
        drawn = [inputs[one] for one in generator.integers(len(inputs), size=_STEPS)]
        try:
            found.append(("".join(letters[one] for one in drawn), subject.answered.of_sequence(np.array(drawn))))
        except ProbeError:
            return []
    return found


def _rounded(number: float) -> float:
    """Return a number without what division left of it."""
    return round(float(number), 9) + 0.0
