"""Asks the networks of a study its questions, each with its controls: what was measured before is kept."""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ..errors import ProbeError, about
from ..evidence.measurements import CONTROLS, tabulate
from ..number_of_controls import RANDOM_NETWORKS
from ..questions.question import Question, QuestionError
from ..subjects.controls import fitted_heads, random_weights_controls
from ..subjects.subject import Subject, by_network
from . import identity
from .asked import chosen
from .networks import ALONE, alone
from .progress import Progress, Report
from .store import Answer, Measured, Store
from .workers import check_jobs, one_thread, parallel

if TYPE_CHECKING:
    from .study import Study

#: The group of all networks, for questions that compare them with each other.
TOGETHER = "all networks together"


@dataclass(frozen=True, eq=False)
class Call:
    """What a group is asked, where that is kept, and what measurements of its networks and questions are tied to."""

    member: str
    subjects: tuple[Subject, ...]
    questions: Sequence[Question]
    store: Store
    networks: Mapping[str, str]
    versions: Mapping[str, int | str]

    @property
    def asked(self) -> list[Question]:
        """Its questions whose needs the network meets."""
        return [one for one in self.questions if one.why_not(self.subjects[0]) is None]

    @property
    def held(self) -> Measured:
        """What counts of what was measured before."""
        return self.store.held(self.member, self.networks, self.versions)


@dataclass(frozen=True)
class Outcome:
    """What measuring a group came to: what was measured now, why other questions were not asked, and in what time."""

    member: str
    fresh: tuple[str, ...]
    reasons: Mapping[str, str]
    seconds: float


def groups_of(
    subjects: Sequence[Subject], copies: int = 1, controls: Collection[str] = CONTROLS
) -> dict[str, tuple[Subject, ...]]:
    """Return each trained network with its controls, and every other network alone, by the name of the first.

    Its controls are those that were given with its pair, and those that the study makes: `copies` networks with
    random weights, and one that was not trained (its own initialisation where that was given) with heads that are
    fitted to it. Of several networks each has random weights of its own: one draw would be counted as many.
    """
    networks = by_network(subjects)
    single = sum(own[0].network.role == "trained" for own in networks) == 1
    given: dict[str, list[Subject]] = {}
    for own in networks:
        if own[0].network.role not in ("trained", *ALONE) and own[0].network.pair:
            given.setdefault(str(own[0].network.pair), []).extend(own)
    found: dict[str, tuple[Subject, ...]] = {}
    for own in networks:
        subject, network = own[0], own[0].network
        if network.role == "trained":
            seed = subject.seed if single else subject.seed + zlib.crc32(network.name.encode())
            beside = list(given.get(str(network.pair), [])) if network.pair else []
            own_start = [one for one in beside if one.network.role == "own initialisation"]
            if CONTROLS[0] in controls:
                beside += random_weights_controls(subject, copies, seed, own_start)
            if CONTROLS[1] in controls and beside:
                beside += fitted_heads(subject, beside[0])
            found[network.name] = (*own, *beside)
        elif network.role in ALONE or not network.pair:
            found[network.name] = own
    return found


def measure(call: Call, report: Report | None = None) -> Outcome:
    """Measure what is missing of a group, and write each table into the group's part at once.

    Where nothing is told of its progress networks are measured side by side, each on one thread.
    """
    begin, held, fresh, reasons = time.monotonic(), call.held.tables, list[str](), dict[str, str]()
    tell = report or (lambda _: None)
    with nullcontext() if report is not None else one_thread():
        for number, question in enumerate(call.questions, start=1):
            state, name, start = "kept", question.name, time.monotonic()
            if name not in held:
                tell(Progress(name, number, len(call.questions), "started"))
                with about(f"The network {call.member!r}" if report is None and call.member != TOGETHER else ""):
                    table, reason = measured(question, call.subjects)
                state = "not asked" if table is None else "answered"
                if table is None:
                    reasons[name] = reason
                else:
                    new = Answer(call.versions[name], table, identity.versions())
                    call.store.add(call.member, Measured(call.networks, {name: new}))
                    fresh.append(name)
            tell(Progress(name, number, len(call.questions), state, time.monotonic() - start))
    return Outcome(call.member, tuple(fresh), reasons, time.monotonic() - begin)


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
            lacks = [one.name for one in call.asked if one.name not in there]
            found += [f"{call.member}: {', '.join(lacks)}"] if lacks else []
        return found

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return what was measured, a table a question; empty where no network was asked."""
        tables: dict[str, list[pd.DataFrame]] = {question.name: [] for question in self.questions}
        for call in self.calls:
            for name in tables.keys() & call.held.tables.keys():
                tables[name].append(call.held.tables[name])
        return {name: pd.concat(own, ignore_index=True) if own else tabulate([]) for name, own in tables.items()}

    def pack(self) -> None:
        """Put the parts of all groups into the store's file."""
        versions = {name: version for call in self.calls for name, version in call.versions.items()}
        self.calls[0].store.pack({call.member: call.networks for call in self.calls}, versions)


def plan_of(study: Study, subjects: Sequence[Subject], store: Store) -> Plan:
    """Return what a study measures.

    The digests are taken before anything is measured, for what is measured may change what a question refers to.
    """
    single = alone(subjects)
    groups = groups_of(subjects, RANDOM_NETWORKS if single else 1, study.controls)
    every = tuple(one for group in groups.values() for one in group)
    questions = chosen(study, subjects[0], single, {one.network.role for one in every})
    together = [one for one in questions if one.together] if len(groups) > 1 else []
    apart = [one for one in questions if one not in together]
    asked = [*((*group, apart) for group in groups.items()), *([(TOGETHER, every, together)] if together else [])]
    known = {one.name: identity.of_question(one, code=study.version is None) for one in questions}
    tied = identity.tied(subjects, study.version)
    calls = [
        Call(
            member,
            group,
            own,
            store,
            {one.network.name: tied[one.network.name] for one in group if one.network.name in tied},
            {question.name: known[question.name] for question in own},
        )
        for member, group, own in asked
    ]
    return Plan(questions, calls)


def measure_all(plan: Plan, report: Report, *, jobs: int = 1) -> list[Outcome]:
    """Measure what is missing of all groups, and return what that came to, in their order."""
    calls = plan.calls
    check_jobs(jobs)
    if len(calls) == 1:
        return [measure(calls[0], report)]
    found: dict[str, Outcome] = {}
    done = parallel(measure, [(one,) for one in calls], jobs=jobs, again="The same command goes on from here.")
    with closing(done):  # an interrupt ends the workers at once
        for number, outcome in enumerate(done, start=1):
            found[outcome.member] = outcome
            state = "answered" if outcome.fresh else "kept"
            report(Progress(outcome.member, number, len(calls), state, outcome.seconds))
    return [found[call.member] for call in calls]


def measured(question: Question, subjects: Sequence[Subject]) -> tuple[pd.DataFrame | None, str]:
    """Return the measurements of a network and its controls, or None and the reason why there are none."""
    trained = sum(one.network.role == "trained" for one in subjects)
    if question.together and trained < 2:
        return None, f"it compares trained networks with each other, and the study has {trained}"
    reason = question.why_not(subjects[0])
    if reason is not None:
        return None, reason
    try:
        table = question.ask(subjects)
    except QuestionError:
        raise
    except ProbeError as error:
        return None, str(error)
    judged_rows = table["metric"].isin([rule.metric for rule in question.rules])
    undefined = table[judged_rows & table["value"].isna()]
    lacking = undefined[undefined["role"] == "trained"]["metric"].unique()
    if len(lacking):
        return None, f"its {lacking[0].replace('_', ' ')} is undefined, as a share is where the whole of it is 0"
    return table.drop(index=undefined.index), ""
