"""Are the answers right, and which program gives the same ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..abstraction.programs import as_tuples
from ..errors import ProbeError
from ..findings import Finding
from ..measurements import tabulate
from ..signals import Signal
from ..statistics import share_interval
from ..words import several
from .functions import calling
from .observed import run
from .prepared import Prepared
from .readouts import NUMBER
from .sample import POINTS, SEQUENCES
from .sightings import Sightings
from .tables import NULL, row, said

TITLE = "Are its answers right?"
#: An answer that is a number agrees with another one that is nearer than this.
NEAR = 0.5
#: However long sequences are, so many are looked at.
FEWEST = 100
_WANTS = (
    "It is called with one sequence, a tuple with a number (or a tuple of features) for each step, and must return "
    "one answer."
)


def told(name: str, program: Callable[[tuple], Any], sequences: Sequence[tuple]) -> list[Any]:
    """Return what a program answers to each sequence.

    Raises:
        ProbeError: it raises, or returns something that is no single answer.
    """
    found = []
    for number, sequence in enumerate(sequences):
        with calling(f"The program {name!r} on sequence {number}", _WANTS):
            answer = program(sequence)
            answer = answer.item() if hasattr(answer, "item") else answer
        if not isinstance(answer, (int, float, str, bool)) or answer != answer:  # noqa: PLR0124 - NaN
            raise ProbeError(f"The program {name!r} returned {str(answer)[:60]} on sequence {number}. {_WANTS}")
        found.append(answer)
    return found


def answers(prepared: Prepared, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answers to sequences of a study; see `answers_to`."""
    return answers_to(prepared, prepared.x[rows], prepared.lengths[rows])


@torch.no_grad()
def answers_to(prepared: Prepared, x: Tensor, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's answers to any sequences as the concept's numbers, and the raw number of each.

    Args:
        prepared: the study.
        x: the sequences, (sequence, time, feature).
        lengths: how many steps each has, (sequence,).

    Raises:
        ProbeError: there is no readout.
    """
    read, head = prepared.read, prepared.head
    if read is None or head is None:
        raise ProbeError("The study has no readout, and so no answers.")
    import copy

    recording = run(prepared.opened.model, x, lengths, read.name, [Signal.HIDDEN_STATE])
    last = recording[read.name, Signal.HIDDEN_STATE][torch.arange(len(x)), torch.as_tensor(lengths - 1)]
    output = copy.deepcopy(head).double()(last.double())
    return head.answer(output).numpy(), head.expected(output).numpy()


def chosen(prepared: Prepared) -> np.ndarray:
    """Return the sequences whose answers are looked at: those with a right one, drawn where there are many."""
    ends = prepared.answered.values[np.arange(len(prepared.x)), prepared.lengths - 1]
    rows = np.flatnonzero(np.isfinite(ends))
    most = int(np.clip(2 * POINTS // prepared.x.shape[1], FEWEST, SEQUENCES))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([prepared.seed, 6]).choice(rows, most, replace=False))
    return rows


def mostly_wrong(right: int, count: int, frequent: float) -> str:
    """Return what is to be looked at first where answers are right clearly less often than one value always is.

    Args:
        right: how many answers are right.
        count: of how many.
        frequent: the share that always giving the most frequent answer is right on.

    Returns:
        A sentence; empty where they are not.
    """
    _, high = share_interval(right, count) or (0.0, 1.0)
    if high >= frequent:
        return ""
    return (
        f"The answers are mostly wrong: right on {right / count:.1%}, where always giving the most frequent one is "
        f"on {frequent:.1%}. Are the scores (or answers=) in another order, or is it the head of another network?"
    )


def wrong_in(given: np.ndarray, right: np.ndarray) -> str:
    """Return the same sentence of answers and the right ones; empty where they are not mostly wrong."""
    hits = int(np.isclose(given, right).sum())
    return mostly_wrong(hits, len(right), float(np.unique(right, return_counts=True)[1].max() / len(right)))


def ask(sightings: Sightings, question: str) -> Finding:
    """Return how often the answers are right, and how often each program gives them."""
    prepared = sightings.prepared
    concept, head, rows = prepared.answered, prepared.head, chosen(prepared)
    if not len(rows) or head is None:
        note = (
            f"“{concept.name}” is not defined at the last step of any sequence, so that no answer can be right or "
            "wrong."
        )
        return Finding(question, TITLE, tabulate([]), notes={"lead": note, "answer": note})
    given, shown = answers(prepared, rows)
    right = concept.values[rows, prepared.lengths[rows] - 1]
    found, continuous = [], head.kind == NUMBER and not len(head.values)
    hits, low, high, frequent = 0, 0.0, 0.0, 0.0
    if continuous:
        share = 1 - float(((shown - right) ** 2).sum() / max(float(((right - right.mean()) ** 2).sum()), 1e-12))
    else:
        hits = int(np.isclose(given, right).sum())
        share = hits / len(rows)
        low, high = share_interval(hits, len(rows)) or (share, share)
        frequent = float(np.unique(right, return_counts=True)[1].max() / len(right))
        found += [row(question, "accuracy_low", low), row(question, "accuracy_high", high)]
        found.append(row(question, "accuracy", frequent, subject=NULL, network="the most frequent answer"))
    found.insert(0, row(question, "r_squared" if continuous else "accuracy", share))
    if continuous:
        lead = (
            f"Its answers tell “{concept.name}” at the last step with R² {said(share)} "
            f"({several(len(rows), 'sequence')})."
        )
    else:
        lead = (
            f"The network answers “{concept.name}” right on {share:.1%} of {several(len(rows), 'sequence')} (95 % "
            f"interval {low:.1%} to {high:.1%}); always giving the most frequent answer is right on {frequent:.1%}."
        )
        lead = f"{mostly_wrong(hits, len(rows), frequent)} {lead}".strip()
    programs = _programs(prepared, rows, given if not continuous else shown, question)
    found += programs
    notes = {"lead": lead, "answer": lead, "programs": _words(programs)}
    return Finding(question, TITLE, tabulate(found), notes=notes)


def _programs(prepared: Prepared, rows: np.ndarray, given: np.ndarray, question: str) -> list[dict[str, Any]]:
    """Return how often each program gives the network's answer, and the right one."""
    found: list[dict[str, Any]] = []
    concept = prepared.answered
    right = concept.values[rows, prepared.lengths[rows] - 1]
    sequences = [as_tuples(prepared.x[[one], : prepared.lengths[one]])[0] for one in rows]
    for name, program in prepared.study.programs.items():
        said_by = told(name, program, sequences)
        if not concept.is_categorical and any(isinstance(one, str) for one in said_by):
            raise ProbeError(
                f"The program {name!r} answers with texts and the concept {concept.name!r} is a number; return "
                "numbers."
            )
        codes = concept.codes_of(said_by)
        near = 1e-9 if concept.is_categorical else NEAR
        hits = int((np.abs(codes - given) <= near + 1e-9).sum())
        low, high = share_interval(hits, len(rows)) or (0.0, 0.0)
        numbers = {"agreement": hits / len(rows), "agreement_low": low, "agreement_high": high}
        numbers["right"] = float((np.abs(codes - right) <= near + 1e-9).mean())
        found += [row(question, metric, value, signal=name) for metric, value in numbers.items()]
    return found


def _words(programs: list[dict[str, Any]]) -> str:
    if not programs:
        return ""
    shares = [(one["signal"], one["value"]) for one in programs if one["metric"] == "agreement"]
    best = max(shares, key=lambda one: one[1])
    ties = [name for name, value in shares if value == best[1]]
    which = (
        "several answer equally often as the network does (" + ", ".join(ties) + ")"
        if len(ties) > 1
        else f"“{best[0]}” answers most often as the network does"
    )
    return (
        f"Of {several(len(shares), 'rival program')} {which}: {best[1]:.1%} of the network's answers. Equal "
        "answers on these sequences do not make it the same program: several may fit the same behaviour, and "
        "sequences where rivals differ decide."
    )
