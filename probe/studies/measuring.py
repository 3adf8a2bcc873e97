"""Measures the networks of a study, each with its controls: what was measured before on the same networks is kept."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ..evidence.measurements import CONTROLS, tabulate
from ..questions.question import Question
from ..subjects.controls import fitted_head, random_weights_controls
from ..subjects.states import copies_of
from ..subjects.subject import Subject
from . import identity
from .answer import measured
from .asked import chosen
from .networks import about
from .store import Measured, Store
from .workers import one_thread, parallel

if TYPE_CHECKING:
    from .study import Study

#: The group of all networks, for questions that compare them with each other.
TOGETHER = "all networks together"
#: The roles of networks that stand alone, whatever their pair is.
ALONE = ("planted", "other")


@dataclass(frozen=True)
class Progress:
    """How far a run of a study is.

    Attributes:
        question: the name of the question, such as `reading-depth`; of several networks, which network.
        number: its number, from 1.
        of: how many there are.
        state: `started`, `answered`, or `kept` (an earlier run of the same study has measured it).
    """

    question: str
    number: int
    of: int
    state: str


Report = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Group:
    """A network with its controls, or one that stands alone; `member` is the name of the first."""

    member: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """What a group is asked, where that is kept, and what measurements of its networks and questions are tied to."""

    group: Group
    questions: Sequence[Question]
    store: Store
    networks: Mapping[str, str]
    versions: Mapping[str, int | str]

    @property
    def held(self) -> Measured:
        """What counts of what was measured before."""
        return self.store.held(self.group.member, self.networks, self.versions)


@dataclass(frozen=True)
class Outcome:
    """What measuring a group came to: the questions that were measured now, and why others were not asked of it."""

    member: str
    fresh: tuple[str, ...]
    reasons: Mapping[str, str]


def groups_of(subjects: Sequence[Subject], copies: int = 1, controls: Collection[str] = CONTROLS) -> list[Group]:
    """Return each trained network with its controls, and every other network alone.

    Its controls are those that were given with its pair, and those that the study makes: `copies` networks with
    random weights, and one that was not trained (its own initialisation where that was given) with a head that is
    fitted to it. Of several networks each has random weights of its own: one draw would be counted as many.
    """
    by_name: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_name.setdefault(subject.network.name, []).append(subject)
    networks = [tuple(own) for own in by_name.values()]
    single = sum(own[0].network.role == "trained" for own in networks) == 1
    given: dict[str, list[Subject]] = {}
    for own in networks:
        if own[0].network.role not in ("trained", *ALONE) and own[0].network.pair:
            given.setdefault(str(own[0].network.pair), []).extend(own)
    found = []
    for own in networks:
        subject, network = own[0], own[0].network
        if network.role == "trained":
            seed = subject.seed if single else subject.seed + zlib.crc32(network.name.encode())
            beside = list(given.get(str(network.pair), [])) if network.pair else []
            own_start = [one for one in beside if one.network.role == "own initialisation"]
            if CONTROLS[0] in controls:
                beside += random_weights_controls(subject, copies, seed, own_start)
            if CONTROLS[1] in controls and beside and (fitted := fitted_head(subject, beside[0])):
                beside.append(fitted)
            found.append(Group(network.name, (*own, *beside)))
        elif network.role in ALONE or not network.pair:
            found.append(Group(network.name, own))
    return found


def alone(subjects: Sequence[Subject]) -> bool:
    """Return whether a study is about one network: all others that were given are its controls."""
    (first, *_), roles = subjects, [one.network.role for one in subjects]
    return len(subjects) == 1 or (
        roles.count("trained") == 1
        and not {*roles} & {*ALONE}
        and all(one.network.pair == first.network.pair for one in subjects)
    )


def measure(call: Call, report: Report | None = None) -> Outcome:
    """Measure what is missing of a group, and write each table into the group's part at once.

    Where nothing is told of its progress networks are measured side by side, each on one thread.
    """
    group, held, fresh, reasons = call.group, call.held, list[str](), dict[str, str]()
    with nullcontext() if report is not None else one_thread():
        for number, question in enumerate(call.questions, start=1):
            state, name = "kept", question.name
            if name not in held.tables:
                _tell(report, call, name, number, "started")
                with about(f"The network {group.member!r}" if report is None and group.member != TOGETHER else ""):
                    table, reason = measured(question, group.subjects)
                if table is None:
                    reasons[name] = reason
                else:
                    new = Measured(
                        call.networks, {name: call.versions[name]}, {name: table}, {name: identity.versions()}
                    )
                    call.store.add(group.member, new, list(call.versions))
                    fresh.append(name)
                state = "answered"
            _tell(report, call, name, number, state)
    return Outcome(group.member, tuple(fresh), reasons)


def _tell(report: Report | None, call: Call, question: str, number: int, state: str) -> None:
    if report is not None:
        report(Progress(question, number, len(call.questions), state))


@dataclass(frozen=True, eq=False)
class Plan:
    """What a study measures: each group on its own, and all networks together where a question compares several."""

    questions: Sequence[Question]
    calls: Sequence[Call]

    def missing(self) -> list[str]:
        """Return what was not measured: the name of each group with those of its questions."""
        found = []
        for call in self.calls:
            there = call.held.tables
            lacks = [
                one.name
                for one in call.questions
                if one.name not in there and one.why_not(call.group.subjects[0]) is None
            ]
            found += [f"{call.group.member}: {', '.join(lacks)}"] if lacks else []
        return found

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return what was measured, a table a question; empty where no network was asked."""
        tables: dict[str, list[pd.DataFrame]] = {question.name: [] for question in self.questions}
        for call in self.calls:
            for name, table in call.held.tables.items():
                tables[name].append(table)
        return {name: pd.concat(own, ignore_index=True) if own else tabulate([]) for name, own in tables.items()}

    def pack(self) -> int:
        """Put the parts of all groups into the store's file, and return how many there were."""
        members = {call.group.member: call.networks for call in self.calls}
        versions = {name: version for call in self.calls for name, version in call.versions.items()}
        return self.calls[0].store.pack(members, {one.name: versions[one.name] for one in self.questions})


def plan_of(study: Study, subjects: Sequence[Subject], store: Store) -> Plan:
    """Return what a study measures.

    The digests are taken before anything is measured, for what is measured may change what a question refers to.
    """
    single = alone(subjects)
    groups = groups_of(subjects, copies_of(subjects[0]) if single else 1, study.controls)
    questions = chosen(study, subjects[0], single, {one.network.role for group in groups for one in group.subjects})
    together = [one for one in questions if one.together] if len(groups) > 1 else []
    apart = [one for one in questions if one not in together]
    every = Group(TOGETHER, tuple(one for group in groups for one in group.subjects))
    asked = [*((group, apart) for group in groups), *([(every, together)] if together else [])]
    tells = identity.of_version if study.version else identity.of_question
    known = {one.name: tells(one) for one in questions}
    tied = identity.tied(subjects, study.version)
    calls = [
        Call(
            group,
            own,
            store,
            {one.network.name: tied[one.network.name] for one in group.subjects if one.network.name in tied},
            {question.name: known[question.name] for question in own},
        )
        for group, own in asked
    ]
    return Plan(questions, calls)


def measure_all(
    plan: Plan, report: Report | None = None, *, jobs: int = 1, again: str = "Run it again."
) -> list[Outcome]:
    """Measure what is missing of all groups, and return what that came to, in their order."""
    report, calls = report or (lambda _: None), plan.calls
    if len(calls) == 1:
        return [measure(calls[0], report)]
    found: dict[str, Outcome] = {}
    for number, outcome in enumerate(parallel(measure, [(one,) for one in calls], jobs=jobs, again=again), start=1):
        report(Progress(f"network {number}", number, len(calls), "answered"))
        found[outcome.member] = outcome
    return [found[call.group.member] for call in calls]
