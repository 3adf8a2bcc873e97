"""Runs a study: measures what is missing, judges it, writes each finding as a folder, and the page."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, several
from ..evidence.findings import Finding
from ..recurrent.global_state import default_type_put_back
from ..report import Link
from ..subjects.states import recorded
from . import identity, mark
from .answer import answers
from .identity import NETWORKS
from .mark import FINDINGS, MEASURED, PAGE
from .measure import Plan, measure_all, plan_of
from .networks import alone
from .pages import page
from .prepare import prepare
from .progress import Progress, Report
from .store import SUFFIX, Store
from .workers import locked

if TYPE_CHECKING:
    from ..report import Page
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
        outcomes = measure_all(plan, report, jobs=jobs)
        begin, at, many = time.monotonic(), str(folder / PAGE), len(plan.questions)
        report(Progress(at, many, many, "writing"))
        written, start = list[Finding](), begin
        for finding in answers(study, plan, outcomes, single=alone(subjects)):
            written.append(_written(finding, parts, folder, figures))
            took, start = time.monotonic() - start, time.monotonic()
            report(Progress(finding.question, len(written), many, "written", took))
        beside = plan.calls[0].subjects[1:]
        made = page.build(subjects, beside, study.title, written, {one.name: one.topic for one in plan.questions})
        made = dataclasses.replace(made, up=[Link("All pages", up)] if up else [])
        _ = made.write(folder / PAGE)
        mark.finish(folder)
        report(Progress(at, many, many, "written", time.monotonic() - begin))
    return made


def _written(finding: Finding, parts: Parts, folder: Path, figures: str | os.PathLike[str] | None) -> Finding:
    """Write a finding into the folder of a report, with its figures for papers where asked, and read it again."""
    read = f"import probe; probe.Finding.read({f'{FINDINGS}/{finding.question}'!r})  # beside this page"
    whole = dataclasses.replace(finding, provenance=_provenance(parts) | {"python": read})
    if figures is not None:
        _ = whole.save_figures(Path(figures) / finding.question)
    return Finding.read(whole.write(folder / FINDINGS / finding.question))


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
