"""Measures the networks of a study, each with its controls: what was measured before on the same networks is kept."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from ..errors import ProbeError
from ..evidence.measurements import CONTROLS, tabulate
from ..questions.question import Answered, Question
from ..subjects.computed.controls import fitted_head, random_weights_controls
from ..subjects.subject import Subject
from . import identity
from .answer import SETUP, measured, setup
from .asked import chosen
from .interrupts import raise_dropped
from .networks import about
from .store import Measured, Store
from .workers import parallel

if TYPE_CHECKING:
    from .study import Study

#: The group of all networks, for questions that compare them with each other.
TOGETHER = "all networks together"
#: The roles of networks that stand alone, whatever their pair is.
ALONE = ("planted", "other")


@dataclass(frozen=True, eq=False)
class Group:
    """A network with its controls, or a network that stands alone.

    Attributes:
        member: the group's name: that of its first network.
        subjects: the network, then its controls.
    """

    member: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """What is measured of a group, and where it is kept.

    Attributes:
        group: the networks.
        questions: what they are asked.
        store: where measurements lie.
        networks: by name what the measurements of each network that was given are tied to.
        versions: the same of each question.
    """

    group: Group
    questions: Sequence[Question]
    store: Store
    networks: Mapping[str, str]
    versions: Mapping[str, int | str]

    @property
    def held(self) -> Measured:
        """What counts of what was measured before."""
        return self.store.held(self.group.member, self.networks, self.versions)


def groups_of(subjects: Sequence[Subject], copies: int = 1, controls: Collection[str] = CONTROLS) -> list[Group]:
    """Return each trained network with its controls, and every other network alone.

    A network's controls are those that were given with its pair, and those that the study makes: networks of the same
    sizes with random weights, and one network that was not trained (its own initialisation where that was given) with
    a head that is fitted to it.

    Of several networks each has random weights of its own, drawn by its name: one draw beside all of them would be
    counted as many.

    Args:
        subjects: the networks that were given; those of one network are its several answers.
        copies: how many controls with random weights each trained network gets.
        controls: which of `CONTROLS` the study makes.
    """
    by_name: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_name.setdefault(subject.network.name, []).append(subject)
    networks = [tuple(own) for own in by_name.values()]
    alone = sum(own[0].network.role == "trained" for own in networks) == 1
    given: dict[str, list[Subject]] = {}
    for own in networks:
        if own[0].network.role not in ("trained", *ALONE) and own[0].network.pair:
            given.setdefault(str(own[0].network.pair), []).extend(own)
    found = []
    for own in networks:
        subject, network = own[0], own[0].network
        if network.role == "trained":
            seed = subject.seed if alone else subject.seed + zlib.crc32(network.name.encode())
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


@dataclass(frozen=True)
class Outcome:
    """What measuring a group came to.

    Attributes:
        member: the group's name.
        fresh: the questions that were measured now.
        reasons: why questions were not asked of it, by question.
        setups: how its network was measured, by question.
    """

    member: str
    fresh: tuple[str, ...]
    reasons: Mapping[str, str]
    setups: Mapping[str, str]


def measure(call: Call, code: Mapping[str, str] | None = None) -> Outcome:
    """Measure what is missing of a group, write it into the group's part, and return what that came to.

    Args:
        call: which networks and questions.
        code: of each question the digest of what it measures, as who gives the work has it; None in the same process.

    Raises:
        ProbeError: this process has other code, or a file cannot be written.
    """
    torch.set_num_threads(1)
    group, held, fresh = call.group, call.held, list[str]()
    reasons: dict[str, str] = {}
    other = [one.name for one in call.questions if code is not None and identity.of_question(one) != code[one.name]]
    if other:
        raise ProbeError(
            f"A worker has another code than the command that gives it work, of {', '.join(other)}: it was started "
            "before a file was edited, or in another checkout. Start the workers again, then the command."
        )
    with threadpool_limits(1):
        for question in call.questions:
            raise_dropped()
            if question.name in held.tables:
                continue
            with about(f"The network {group.member!r}" if group.member != TOGETHER else ""):
                table, reason = measured(question, group.subjects)
            if table is None:
                reasons[question.name] = reason
                continue
            fresh.append(question.name)
            name, version = question.name, call.versions[question.name]
            new = Measured(call.networks, {name: version}, {name: table}, {name: identity.versions()})
            call.store.add(group.member, new, list(call.versions))
    tables = call.held.tables
    setups = {
        one.name: setup(one, Answered(one.name, tables[one.name], (), group.subjects)).get(SETUP, "")
        for one in call.questions
        if one.name in tables and group.subjects[0].network.role == "trained"
    }
    return Outcome(group.member, tuple(fresh), reasons, setups)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a study of many networks measures.

    Attributes:
        questions: in the order in which its page tells them.
        calls: each group on its own, and all networks together where a question compares them.
    """

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


def plan_of(study: Study, subjects: Sequence[Subject], store: Store, copies: int = 1) -> Plan:
    """Return what a study measures.

    The digests are taken before anything is measured, for what is measured may change what a question refers to.

    Args:
        study: the study.
        subjects: its networks.
        store: where measurements are kept.
        copies: as of `groups_of`.
    """
    groups = groups_of(subjects, copies, study.controls)
    questions = chosen(study, subjects, {one.network.role for group in groups for one in group.subjects})
    every = Group(TOGETHER, tuple(one for group in groups for one in group.subjects))
    apart, together = ([one for one in questions if one.together == wanted] for wanted in (False, True))
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
    calls: Sequence[Call],
    report: Callable[[str, int, int], None],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    again: str = "Run it again.",
) -> list[Outcome]:
    """Measure what is missing of all groups, and return what that came to, in their order.

    Args:
        calls: what is measured.
        report: called when a group is measured, with what it is called, its number, and how many there are.
        jobs: worker processes.
        cluster: address of a dask scheduler whose workers are used in their place.
        again: what to do after a worker died, for the message.
    """
    code = None
    if cluster is not None:
        code = {one.name: identity.of_question(one) for call in calls for one in call.questions}
    found: dict[str, Outcome] = {}
    work = [(call, code) for call in calls]
    for number, outcome in enumerate(parallel(measure, work, jobs=jobs, cluster=cluster, again=again), start=1):
        raise_dropped()
        report(f"network {number}", number, len(calls))
        found[outcome.member] = outcome
    return [found[call.group.member] for call in calls]
