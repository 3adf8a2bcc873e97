"""Answers a study of several networks: judges the rules over networks, and says how each was measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import several
from ..evidence.findings import Finding
from ..subjects.subject import Subject
from .answer import MISSING, SETUP, decides, figures, in_words, judged, not_asked, unjudged
from .measuring import Outcome, Plan, measure_all, plan_of
from .store import Store

if TYPE_CHECKING:
    from .study import Study

#: A number in a sentence, which is no part of a name.
NUMBER = re.compile(r"(?<![\w.\[-])\N{MINUS SIGN}?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\w)")
MEASURED, POPULATION = "measured", "networks"


def answers(
    study: Study, subjects: Sequence[Subject], folder: Path, report: Callable[[str, int, int], None], *, jobs: int = 1
) -> Iterator[Finding]:
    """Yield the finding of each question, measured on every network that meets its needs and judged over networks.

    Args:
        study: the study.
        subjects: its networks.
        folder: the report's; what is measured stays in it, and a run that was interrupted goes on from there.
        report: called with a network's name, its number, and how many there are, when it is measured.
        jobs: worker processes.
    """
    parts = folder / MEASURED
    plan = plan_of(study, subjects, Store(parts, parts, POPULATION))
    outcomes = measure_all(plan.calls, report, jobs=jobs)
    yield from findings(study, plan, outcomes)


def findings(study: Study, plan: Plan, outcomes: Sequence[Outcome] = ()) -> Iterator[Finding]:
    """Yield the finding of each question, judged over networks.

    Args:
        study: the study.
        plan: what was measured.
        outcomes: what that came to.
    """
    tables = plan.tables()
    rules = [*study.rules, *(rule for question in plan.questions for rule in question.rules)]
    counted = sum(not rule.check and any(decides(table, rule) for table in tables.values()) for rule in rules)
    family = study.family or max(counted, 1)
    for question in plan.questions:
        table, name = tables[question.name], question.name
        reasons = [one.reasons[name].rstrip(".") for one in outcomes if name in one.reasons]
        if table.empty:
            why = "; ".join(sorted(set(reasons or ["no network of the study is asked"])))
            yield not_asked(question, f"Not asked: {why}.")
        else:
            claims = judged(table, (*question.rules, *study.rules), family)
            first = question.tell_many(table) if question.tell_many is not None else ""
            beside = " ".join(filter(None, (first, unjudged(question, table))))
            notes = {"answer": in_words(table, claims, beside), "text": question.text, "beside": beside}
            notes |= _missing(reasons)
            notes |= how([one.setups[name] for one in outcomes if one.setups.get(name)])
            yield Finding(question.name, question.title, table, claims, figures(question, table), notes=notes)


def _missing(reasons: Sequence[str]) -> dict[str, str]:
    """Return the note on the networks that a question was not asked of, while others were."""
    why = "; ".join(sorted(set(reasons)))
    return {MISSING: f"Not asked of {several(len(reasons), 'network')}: {why}."} if reasons else {}


def how(setups: Sequence[str]) -> dict[str, str]:
    """Return the note on how all networks were measured: each wording once, a number that differs as a range.

    Args:
        setups: how each of them was, in words.
    """
    wordings: dict[str, list[str]] = {}
    for said in setups:
        wordings.setdefault(NUMBER.sub("#", said), []).append(said)
    parts = [_in_one(said) for said in wordings.values()]
    if len(setups) > 1:
        one = len(wordings) == 1
        parts = [
            f"This is so for {'each of ' if one else ''}{several(len(said), 'network')}"
            f"{'; “a to b” is the range over them' if part not in said else ''}. {part}"
            for said, part in zip(wordings.values(), parts, strict=True)
        ]
    return {SETUP: " ".join(parts)} if parts else {}


def _in_one(said: Sequence[str]) -> str:
    """Return texts that differ in their numbers alone as one text, with the range of each number."""
    columns = zip(*(NUMBER.findall(one) for one in said), strict=True)
    ranges = iter([_range(sorted(set(column), key=_number)) for column in columns])
    return NUMBER.sub(lambda _: next(ranges), said[0])


def _range(numbers: Sequence[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))
