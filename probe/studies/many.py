"""Runs a study of several networks: measures each with its controls, and judges the rules over networks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch

from ..errors import several
from ..evidence.findings import Finding
from ..evidence.measurements import tabulate
from ..questions.question import Answered, Question
from ..subjects.computed.controls import fitted_head, random_weights_controls
from ..subjects.subject import Subject
from . import identity
from .answer import MISSING, SETUP, decides, figures, in_words, judged, measured, not_asked, setup
from .asked import chosen
from .interrupts import raise_dropped
from .networks import about
from .store import Measured, Store
from .workers import parallel

if TYPE_CHECKING:
    from .study import Study

#: A number in a sentence, which is no part of a name.
NUMBER = re.compile(r"(?<![\w.\[-])\N{MINUS SIGN}?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\w)")
MEASURED, POPULATION = "measured", "networks"
#: The group of all networks, for questions that compare them with each other.
TOGETHER = "all networks together"


@dataclass(frozen=True, eq=False)
class Group:
    """A network with its controls, or a network that stands alone.

    Attributes:
        member: the group's name: that of its first network.
        subjects: the network, then its controls.
    """

    member: str
    subjects: tuple[Subject, ...]


#: A group, what it is asked, the folder of the parts, and the digests of its networks and of its questions.
Call = tuple[Group, Sequence[Question], Path, Mapping[str, str], Mapping[str, str]]


def groups_of(subjects: Sequence[Subject], copies: int = 1) -> list[Group]:
    """Return each trained network with its controls, and every other network alone.

    A network's controls are its own initialisation where that was given, a network of the same sizes with random
    weights, and one of these (its own initialisation where that was given) with a head that is fitted to it.

    Of several networks each has random weights of its own, drawn by its name: one draw beside all of them would be
    counted as many.

    Args:
        subjects: the networks that were given.
        copies: how many controls with random weights each trained network gets.
    """
    alone = sum(one.network.role == "trained" for one in subjects) == 1
    initial = {one.network.pair: one for one in subjects if one.network.role == "own initialisation"}
    found = []
    for subject in subjects:
        if subject.network.role == "trained":
            seed = subject.seed if alone else subject.seed + zlib.crc32(subject.network.name.encode())
            own = [initial[subject.network.pair]] if subject.network.pair in initial else []
            beside = [*own, *random_weights_controls(subject, copies, seed, own)]
            fitted = fitted_head(subject, beside[0]) if beside else None
            found.append(Group(subject.network.name, (subject, *beside, *([fitted] if fitted else []))))
        elif subject.network.role != "own initialisation":
            found.append(Group(subject.network.name, (subject,)))
    return found


@dataclass(frozen=True)
class Outcome:
    """What measuring a group came to.

    Attributes:
        member: the group's name.
        reasons: why questions were not asked of it, by question.
        setups: how its network was measured, by question.
    """

    member: str
    reasons: Mapping[str, str]
    setups: Mapping[str, str]


def measure(
    group: Group,
    questions: Sequence[Question],
    parts: Path,
    networks: Mapping[str, str],
    versions: Mapping[str, str],
) -> Outcome:
    """Measure what is missing of a group, write it into the group's part, and return what that came to.

    Args:
        group: which networks.
        questions: which questions.
        parts: folder of the parts.
        networks: the digests of the networks that were given.
        versions: the digests of the questions.
    """
    torch.set_num_threads(1)
    kept = Store(parts, parts, POPULATION)
    held = kept.held(group.member, networks, versions)
    reasons: dict[str, str] = {}
    for question in questions:
        raise_dropped()
        if question.name in held.tables:
            continue
        with about(f"The network {group.member!r}" if group.member != TOGETHER else ""):
            table, reason = measured(question, group.subjects)
        if table is None:
            reasons[question.name] = reason
            continue
        own = {question.name: table}
        new = Measured(networks, {question.name: versions[question.name]}, own, {question.name: {}})
        kept.add(group.member, new, list(versions))
    tables = kept.held(group.member, networks, versions).tables
    setups = {
        one.name: setup(one, Answered(one.name, tables[one.name], (), group.subjects)).get(SETUP, "")
        for one in questions
        if one.name in tables and group.subjects[0].network.role == "trained"
    }
    return Outcome(group.member, reasons, setups)


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
    groups = groups_of(subjects)
    questions = chosen(study, subjects, {one.network.role for group in groups for one in group.subjects})
    calls = _calls(groups, questions, folder / MEASURED, _tied(subjects))
    found: dict[str, Outcome] = {}
    for number, outcome in enumerate(parallel(measure, calls, jobs=jobs), start=1):
        raise_dropped()
        report(f"network {number}", number, len(calls))
        found[outcome.member] = outcome
    outcomes = [found[group.member] for group, *_ in calls]
    tables = _gathered(calls)
    rules = [*study.rules, *(rule for question in questions for rule in question.rules)]
    family = sum(not rule.check and any(decides(table, rule) for table in tables.values()) for rule in rules)
    for question in questions:
        table, name = tables[question.name], question.name
        reasons = [one.reasons[name].rstrip(".") for one in outcomes if name in one.reasons]
        if table.empty:
            why = "; ".join(sorted(set(reasons or ["no network of the study is asked"])))
            yield not_asked(question, f"Not asked: {why}.")
        else:
            claims = judged(table, (*question.rules, *study.rules), max(family, 1))
            first = f"{question.tell_many(table)} " if question.tell_many is not None else ""
            notes = {"answer": first + in_words(question, table, claims)} | _missing(reasons)
            notes |= how([one.setups[name] for one in outcomes if one.setups.get(name)])
            yield Finding(question.name, question.title, table, claims, figures(question, table), notes=notes)


def _tied(subjects: Sequence[Subject]) -> dict[str, str]:
    """Return what measurements of each network are tied to: the network, and all that it shares with the others."""
    shared = identity.shared(subjects[0])
    return {
        name: identity.digest(shared, subjects[0].seed, own) for name, own in identity.by_network(subjects).items()
    }


def _calls(
    groups: Sequence[Group], questions: Sequence[Question], parts: Path, tied: Mapping[str, str]
) -> list[Call]:
    """Return what is measured: each group on its own, and all networks where a question compares them.

    The digests are taken before anything is measured, for what is measured may change what a question refers to.
    """
    every = Group(TOGETHER, tuple(one for group in groups for one in group.subjects))
    apart, together = ([one for one in questions if one.together == wanted] for wanted in (False, True))
    asked = [*((group, apart) for group in groups), *([(every, together)] if together else [])]
    versions = {question.name: identity.of_question(question) for question in questions}
    return [
        (
            group,
            questions,
            parts,
            {one.network.name: tied[one.network.name] for one in group.subjects if one.network.name in tied},
            {question.name: versions[question.name] for question in questions},
        )
        for group, questions in asked
    ]


def _gathered(calls: Sequence[Call]) -> dict[str, pd.DataFrame]:
    tables: dict[str, list[pd.DataFrame]] = {}
    for group, questions, parts, networks, versions in calls:
        held = Store(parts, parts, POPULATION).held(group.member, networks, versions)
        for question in questions:
            own = tables.setdefault(question.name, [])
            own += [held.tables[question.name]] if question.name in held.tables else []
    return {name: pd.concat(own, ignore_index=True) if own else tabulate([]) for name, own in tables.items()}


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
