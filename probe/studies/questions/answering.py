"""Are the network's answers right, and which program gives the same ones?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProbeError
from ...evidence.findings import Finding
from ...evidence.intervals import share_interval
from ...evidence.measurements import tabulate
from ...methods.abstraction.programs import as_tuples
from ...words import several
from ..definition.functions import answers_of
from ..definition.prepared import Prepared
from ..definition.readouts import NUMBER
from ..sampling.activations import Sightings
from ..sampling.answers import answers, chosen
from ..tables import NULL, row, said

TITLE = "Are its answers right?"
#: An answer that is a number agrees with another one that is nearer than this.
NEAR = 0.5


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
        said_by = answers_of(name, program, sequences)
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
