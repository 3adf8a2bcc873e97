"""Runs a study: measures what is missing, judges it, writes each finding as a folder, and the page."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, several
from ..evidence.findings import Finding
from ..recurrent.global_state import default_type_put_back
from ..report import Link
from ..subjects.states import recorded
from . import identity, mark
from .answer import answers
from .asked import on_first_screen
from .identity import NETWORKS
from .mark import FINDINGS, MEASURED, PAGE
from .measure import Outcome, Plan, measure_all, plan_of
from .networks import alone
from .pages import page
from .pages.front import Front, front
from .prepare import prepare
from .progress import Progress, Report
from .store import SUFFIX, Store
from .workers import locked

if TYPE_CHECKING:
    from ..report import Page
    from ..subjects.subject import Subject
    from .study import Study

#: What the file of all measurements is called, and the folder of its parts.
POPULATION = "networks"
Parts = dict[str, str]


@default_type_put_back()
def run(
    study: Study,
    folder: str | os.PathLike[str],
    report: Report,
    *,
    overwrite: bool,
    jobs: int,
    figures: str | os.PathLike[str] | None,
    up: str = "",
) -> Page:
    """Run every question of a study and write its page; see `Study.run`.

    Args:
        up: the address of the page above this one, which is linked from its top.
    """
    folder, subjects = Path(folder), prepare(study)
    identity.check_different(subjects)
    parts = identity.of_study(subjects, study.title)
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{str(folder)!r} is a file; the report is a folder. Give another path.")
    with locked(folder, "running a study"):
        mark.claim(folder, parts, identity.by_network(subjects), overwrite=overwrite)
        _ = recorded(subjects[0])  # a network that cannot be recorded stops the study
        plan = plan_of(
            study, subjects, Store(folder / MEASURED / f"{POPULATION}{SUFFIX}", folder / MEASURED / POPULATION)
        )
        writing = _Writing(study, plan, subjects, folder, parts, figures, [Link("All pages", up)] if up else [])
        outcomes = measure_all(plan, writing.as_soon_as_measured(report), jobs=jobs)
        begin, at, many = time.monotonic(), str(folder / PAGE), len(plan.questions)
        report(Progress(at, many, many, "writing"))
        made = writing.rest(outcomes, report)
        mark.finish(folder)
        report(Progress(at, many, many, "written", time.monotonic() - begin))
    return made


@dataclass
class _Writing:
    """Writes findings and the page: of one network its first screen as soon as that is measured, and later the rest.

    Attributes:
        study: the study.
        plan: what it measures, the first screen before all else.
        subjects: its networks.
        folder: where the page goes.
        parts: what the study is made of, for the provenance.
        figures: the folder that gets figures for papers, or None.
        up: the links above the page.
        written: the findings that are written.
        first: what the first screen is made of, once it is measured.
    """

    study: Study
    plan: Plan
    subjects: Sequence[Subject]
    folder: Path
    parts: Parts
    figures: str | os.PathLike[str] | None
    up: Sequence[Link]
    written: list[Finding] = field(default_factory=list)
    first: Front | None = None

    def as_soon_as_measured(self, report: Report) -> Report:
        """Return what tells how far the study is, and writes the first screen where the rest is still to come."""
        (call, *others), first = self.plan.calls, [one for one in self.plan.questions if on_first_screen(one)]
        count = len(first)
        later = {one.name for one in self.plan.questions[count:]} - call.held.tables.keys()
        if others or not first or not later:
            return report

        def told(progress: Progress) -> None:
            report(progress)
            if progress.number == count and progress.state != "started":
                self._answer(dataclasses.replace(self.plan, questions=first), (), lambda _: None)
                _ = self._page(unfinished=True).write(self.folder / PAGE)

        return told

    def rest(self, outcomes: Sequence[Outcome], report: Report) -> Page:
        """Write what is not written yet, and the page with all of it."""
        names = {finding.question for finding in self.written if not finding.measurements.empty}
        self.written = [finding for finding in self.written if finding.question in names]
        left = [one for one in self.plan.questions if one.name not in names]
        self._answer(dataclasses.replace(self.plan, questions=left), outcomes, report)
        made = self._page()
        _ = made.write(self.folder / PAGE)
        return made

    def _answer(self, plan: Plan, outcomes: Sequence[Outcome], report: Report) -> None:
        start, many = time.monotonic(), len(self.plan.questions)
        for finding in answers(self.study, plan, outcomes, single=alone(self.subjects)):
            self.written.append(self._write(finding))
            took, start = time.monotonic() - start, time.monotonic()
            report(Progress(finding.question, len(self.written), many, "written", took))

    def _write(self, finding: Finding) -> Finding:
        """Write a finding, with its figures for papers where asked, and read it again."""
        read = f"import probe; probe.Finding.read({f'{FINDINGS}/{finding.question}'!r})  # beside this page"
        whole = dataclasses.replace(finding, provenance=_provenance(self.parts) | {"python": read})
        if self.figures is not None:
            _ = whole.save_figures(Path(self.figures) / finding.question)
        return Finding.read(whole.write(self.folder / FINDINGS / finding.question))

    def _page(self, *, unfinished: bool = False) -> Page:
        topics = {one.name: one.topic for one in self.plan.questions}
        beside = self.plan.calls[0].subjects[1:]
        self.first = self.first or front(self.written, self.subjects)
        made = page.build(
            self.subjects,
            beside,
            self.written,
            self.first,
            given=self.study.title,
            topics=topics,
            unfinished=unfinished,
        )
        return dataclasses.replace(made, up=self.up)


def _provenance(parts: Parts) -> dict[str, Any]:
    return {"study": parts, "versions": identity.versions()}


def measure(study: Study, path: Any, parts: Any, report: Report, *, jobs: int) -> int:
    """Measure what is missing of several networks; see `Study.measure`."""
    found = plan(study, Path(path), Path(parts))
    outcomes = measure_all(found, report, jobs=jobs)
    found.pack()
    return sum(bool(one.fresh) for one in outcomes)


def findings(study: Study, path: Any) -> Iterator[Finding]:
    """Yield what was measured, judged, as each question is; see `Study.findings`."""
    found = whole(study, path)
    tied = {name: digest for call in found.calls for name, digest in call.networks.items()}
    made = _provenance({NETWORKS: identity.digest(tied), identity.VERSION: identity.__version__})
    for one in answers(study, found):
        yield dataclasses.replace(one, provenance=made)


def whole(study: Study, path: Any) -> Plan:
    """Return what a study measures, of which nothing is missing in a file."""
    found = plan(study, Path(path), Path(path).parent / "parts")
    if missing := found.missing():
        raise ProbeError(
            f"{os.fspath(path)!r} lacks what is asked of {several(len(missing), 'network')}, as they are here and in "
            f"the present version of each question, such as {missing[0]}. Measure what is missing: Study.measure."
        )
    return found


def plan(study: Study, path: Path, parts: Path) -> Plan:
    """Return what a study of several networks measures, and keeps in one file."""
    subjects = prepare(study)
    identity.check_different(subjects)
    if not path.name.endswith(SUFFIX):
        raise ProbeError(f"{str(path)!r} is no file of measurements; give a name that ends in {SUFFIX}.")
    return plan_of(study, subjects, Store(path, parts / path.name.removesuffix(SUFFIX)))
