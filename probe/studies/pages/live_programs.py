"""Turns a study's concept and programs into what the page's explorer can run: a number that each symbol changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import ProbeError
from ...explorer import ExplorerProgram
from ...methods.abstraction.programs import as_tuples
from ...subjects.functions import calling
from ...subjects.subject import Subject

#: How far a value may lie from what the program gives.
_TOLERANCE = 1e-9
#: A concept is held against so many sequences at most, a program against all beginnings of so many; of each sequence
#: so many steps are read.
_SEQUENCES, _BEGINNINGS, _STEPS = 500, 40, 60
_WANTS = "It is called with a tuple of the first steps of a sequence, and must return one number."
#: Sequences as symbols, each with a value after every step.
Known = Sequence[tuple[str, np.ndarray]]


def programs(subject: Subject, letters: Mapping[tuple[float, ...], str]) -> list[ExplorerProgram]:
    """Return the concept that is answered and the study's programs, the concept first, as far as they can be written.

    Args:
        subject: a study's network with a head of several classes.
        letters: for each input, (feature,), the symbol that stands for it.
    """
    place = _places(subject)
    if place is None:
        return []
    offset, size = place
    chosen = [(row, text) for row in range(min(len(subject.x), _SEQUENCES)) if (text := _text(subject, row, letters))]
    answered = subject.answered
    held = [(text, (answered.values[row, : len(text)] - offset) / size) for row, text in chosen]
    drawn = [(text, (values - offset) / size) for text, values in _drawn(subject, letters)]
    said = (answered.name, answered.description or "what the study asks for")
    # What a reader types need not be what the study's sequences are like.
    concept = written(*said, [*held, *drawn]) or written(*said, held)
    found = [] if concept is None else [concept]
    for name, program in subject.programs.items():
        if concept is not None and name == concept.name:
            continue
        run = []
        for row, text in chosen[:_BEGINNINGS]:
            (steps,) = as_tuples(subject.x[row : row + 1, : len(text)])
            try:
                with calling(f"The program {name!r} on the start of a sequence", _WANTS):
                    values = [float(program(steps[: end + 1])) for end in range(len(steps))]
            except ProbeError:
                break
            run.append((text, (np.array(values) - offset) / size))
        else:
            made = written(name, "a program of the study", run)
            found += [] if made is None else [made]
    # A symbol that no sequence has would leave a program without an answer to it.
    return [program for program in found if set(program.steps) == set(letters.values())]


def written(name: str, role: str, known: Known) -> ExplorerProgram | None:
    """Return the program whose answer after every step of every sequence is the value there, or None if none is.

    Args:
        name: what the reader calls it by.
        role: what it does, in a few words.
        known: the sequences, with their values.
    """
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
    for _ in range(_BEGINNINGS):
        drawn = generator.integers(len(inputs), size=_STEPS)
        try:
            values = subject.answered.of_sequence(np.array([inputs[one] for one in drawn]))
        except ProbeError:
            return []
        found.append(("".join(letters[inputs[one]] for one in drawn), values))
    return found


def _places(subject: Subject) -> tuple[float, float] | None:
    """Return the value of the first class and the distance to the next one's, if all are equally far."""
    if subject.head is None:
        return None
    values = subject.head.values.numpy()
    between = np.diff(values)
    if not len(between) or not between[0] or np.abs(between - between[0]).max() > _TOLERANCE:
        return None
    return float(values[0]), float(between[0])


def _text(subject: Subject, row: int, letters: Mapping[tuple[float, ...], str]) -> str:
    """Return the first steps of a sequence as symbols, or an empty text if one is missing."""
    steps = subject.x[row, : min(_STEPS, int(subject.lengths[row]))].double().tolist()
    found = [letters.get(tuple(step)) for step in steps]
    return "" if None in found else "".join(map(str, found))


def _rounded(number: float) -> float:
    """Return a number without what division left of it."""
    return round(float(number), 9) + 0.0
