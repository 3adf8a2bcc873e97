"""Are the network's answers right, and which program gives the same ones?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProbeError, several
from ...evidence.findings import Finding
from ...evidence.intervals import share_interval
from ...evidence.measurements import tabulate
from ...methods.abstraction.programs import as_tuples
from ..definition.functions import answers_of
from ..definition.prepared import Prepared
from ..definition.readouts import NUMBER
from ..rows import NULL, listed, row, said
from ..sampling.activations import Activations
from ..sampling.answers import answered_rows, answers

TITLE = "Are its answers right?"
#: Two answers that are numbers agree if they differ by no more than this.
NEAR = 0.5


def mostly_wrong(right: int, count: int, frequent: float) -> str:
    """Return a warning if the answers are right clearly less often than always giving the most frequent one.

    Args:
        right: how many answers are right.
        count: how many answers there are.
        frequent: the share of sequences whose right answer is the most frequent one.

    Returns:
        A sentence; empty if the answers are right often enough.
    """
    _, high = share_interval(right, count) or (0.0, 1.0)
    if high >= frequent:
        return ""
    return (
        f"The answers are mostly wrong: {right / count:.1%} are right, and always giving the most frequent answer "
        f"is right on {frequent:.1%}. Are the scores (or answers=) in another order? Is it the head of another "
        "network?"
    )


def wrong_in(answers: np.ndarray, right: np.ndarray) -> str:
    """Return the warning of `mostly_wrong` for answers and the right answers."""
    hits = int(np.isclose(answers, right).sum())
    return mostly_wrong(hits, len(right), float(np.unique(right, return_counts=True)[1].max() / len(right)))


def ask(activations: Activations, question: str) -> Finding:
    """Return how often the answers are right, and how often each program gives the same answer."""
    prepared = activations.prepared
    concept, head, rows = prepared.answered, prepared.head, answered_rows(prepared)
    if not len(rows) or head is None:
        note = (
            f"“{concept.name}” is not defined at the last step of any sequence, so no answer can be right or wrong."
        )
        return Finding(question, TITLE, tabulate([]), notes={"lead": note, "answer": note})
    given, expected = answers(prepared, rows)
    right = concept.values[rows, prepared.lengths[rows] - 1]
    table, continuous = [], head.kind == NUMBER and not len(head.values)
    hits, low, high, frequent = 0, 0.0, 0.0, 0.0
    if continuous:
        share = 1 - float(((expected - right) ** 2).sum() / max(float(((right - right.mean()) ** 2).sum()), 1e-12))
    else:
        hits = int(np.isclose(given, right).sum())
        share = hits / len(rows)
        low, high = share_interval(hits, len(rows)) or (share, share)
        frequent = float(np.unique(right, return_counts=True)[1].max() / len(right))
        table += [row(question, "accuracy_low", low), row(question, "accuracy_high", high)]
        table.append(row(question, "accuracy", frequent, subject=NULL, network="the most frequent answer"))
    table.insert(0, row(question, "r_squared" if continuous else "accuracy", share))
    if continuous:
        lead = (
            f"The network's answers predict “{concept.name}” at the last step with R² {said(share)} "
            f"({several(len(rows), 'sequence')})."
        )
    else:
        lead = (
            f"The network answers “{concept.name}” right on {share:.1%} of {several(len(rows), 'sequence')} (95 % "
            f"interval {low:.1%} to {high:.1%}); always giving the most frequent answer is right on {frequent:.1%}."
        )
        lead = f"{mostly_wrong(hits, len(rows), frequent)} {lead}".strip()
    programs = _programs(prepared, rows, given if not continuous else expected, question)
    table += programs
    notes = {"lead": lead, "answer": lead, "programs": _words(programs)}
    return Finding(question, TITLE, tabulate(table), notes=notes)


def _programs(prepared: Prepared, rows: np.ndarray, given: np.ndarray, question: str) -> list[dict[str, Any]]:
    """Return how often each program gives the network's answer, and the right answer."""
    table: list[dict[str, Any]] = []
    concept = prepared.answered
    right = concept.values[rows, prepared.lengths[rows] - 1]
    sequences = [as_tuples(prepared.x[[place], : prepared.lengths[place]])[0] for place in rows]
    for name, program in prepared.study.programs.items():
        results = answers_of(name, program, sequences)
        if not concept.is_categorical and any(isinstance(result, str) for result in results):
            raise ProbeError(
                f"The program {name!r} answers with texts and the concept {concept.name!r} is a number; return "
                "numbers."
            )
        codes = concept.codes_of(results)
        near = 1e-9 if concept.is_categorical else NEAR
        hits = int((np.abs(codes - given) <= near + 1e-9).sum())
        low, high = share_interval(hits, len(rows)) or (0.0, 0.0)
        numbers = {"agreement": hits / len(rows), "agreement_low": low, "agreement_high": high}
        numbers["right"] = float((np.abs(codes - right) <= near + 1e-9).mean())
        table += [row(question, metric, value, signal=name) for metric, value in numbers.items()]
    return table


def _words(programs: list[dict[str, Any]]) -> str:
    if not programs:
        return ""
    shares = {line["signal"]: line["value"] for line in programs if line["metric"] == "agreement"}
    best = max(shares.values())
    ties = [f"“{name}”" for name, value in shares.items() if value == best]
    which = f"{listed(ties)} {'agree' if len(ties) > 1 else 'agrees'} with the network most often"
    return (
        f"Of {several(len(shares), 'rival program')}, {which}: on {best:.1%} of the answers. The same answers on "
        "these sequences do not make it the same program. Sequences on which the programs differ can decide between "
        "them."
    )
