"""Runs a study: answers each question, saves it as a folder, and reuses what was measured there before."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, several
from ..evidence.findings import Finding, of_csv, to_csv
from ..evidence.measurements import COLUMNS
from ..recurrent.double import default_type_put_back
from ..storage.files import write_atomically
from ..subjects.computed.sampled import copies_of
from ..subjects.subject import Subject, per_subject
from . import identity, many
from .answer import finding_of, measured, not_asked
from .asked import chosen
from .interrupts import raise_dropped
from .measuring import Plan, groups_of, measure_all, plan_of
from .pages import many_networks, one_network
from .pages.sections import ASKED
from .prepare import prepare
from .store import SUFFIX, Store
from .workers import locked

if TYPE_CHECKING:
    import pandas as pd

    from ..report import Page
    from .study import Study

FINDINGS, MARK, PAGE = "findings", "study.json", "index.html"
#: What the mark calls the digests of the networks, by name.
EACH = "each network"


@dataclass(frozen=True)
class Progress:
    """How far a run of a study is.

    Attributes:
        question: the name of the question, such as `reading-depth`.
        number: its number, from 1.
        of: how many questions there are.
        state: `started`, `answered`, or `kept` (an earlier run of the same study has measured it).
    """

    question: str
    number: int
    of: int
    state: str


Report = Callable[[Progress], None]
Parts = dict[str, str]
Place = str | os.PathLike[str] | None


@default_type_put_back()
def run(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    jobs: int = 1,
    figures: Place = None,
) -> Page:
    """Run every question of a study and write its page; see `Study.run`."""
    folder, subjects = Path(folder), prepare(study)
    identity.check_different(subjects)
    parts = identity.of_study(subjects, study.title)
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{str(folder)!r} is a file; the report is a folder. Give another path.")
    report = progress or (lambda _: None)
    with locked(folder, "running a study"):
        _claim(folder, parts, identity.by_network(subjects), overwrite=overwrite)
        ask = partial(_of_many, jobs=jobs) if len(subjects) > 1 else _of_one
        findings = {one.question: one for one in ask(study, subjects, folder, parts, report, figures=figures)}
        if len(subjects) > 1:
            page = many_networks.build(subjects, study.title, findings)
        else:
            page = one_network.build(beside(subjects[0]), study.title, findings)
        _ = page.write(folder / PAGE)
    return page


def _of_many(
    study: Study,
    subjects: Sequence[Subject],
    folder: Path,
    parts: Parts,
    report: Report,
    *,
    jobs: int,
    figures: Place,
) -> Iterator[Finding]:
    """Yield the findings over networks, network by network."""

    def told(name: str, number: int, of: int) -> None:
        report(Progress(name, number, of, "answered"))

    for finding in many.answers(study, subjects, folder, told, jobs=jobs):
        yield _kept(finding, folder, figures, parts)


def _of_one(
    study: Study, subjects: Sequence[Subject], folder: Path, parts: Parts, report: Report, *, figures: Place
) -> Iterator[Finding]:
    """Yield the findings of one network, question by question, in one process."""
    group = beside(subjects[0])
    every = chosen(study, subjects, {one.network.role for one in group})
    for number, question in enumerate(every, start=1):
        raise_dropped()
        made = parts | {ASKED: identity.of_question(question)}
        table, state, reason = reusable(folder / FINDINGS / question.name, made), "kept", ""
        if table is None:
            report(Progress(question.name, number, len(every), "started"))
            # What is wrong with the card is wrong with the network: it cannot be recorded, and that stops the study.
            _ = question.ask(group) if number == 1 else None
            (table, reason), state = measured(question, group), "answered"
        # Told from the numbers as they are written: the page of a run that was interrupted is then the same.
        table = None if table is None else of_csv(to_csv(table).encode())
        why = f"Not asked: {reason.rstrip('.')}."
        finding = not_asked(question, why) if table is None else finding_of(question, group, table, study.rules)
        finding = _kept(finding, folder, figures, made)
        report(Progress(question.name, number, len(every), state))
        yield finding


def _kept(finding: Finding, folder: Path, figures: Place, parts: Parts) -> Finding:
    """Write a finding, its figures for papers too where they have a place, and return it as it was written."""
    whole = dataclasses.replace(finding, provenance=_provenance(parts))
    if figures is not None:
        _ = whole.save_figures(Path(figures) / finding.question)
    return Finding.read(whole.write(folder / FINDINGS / finding.question))


@per_subject
def beside(subject: Subject) -> tuple[Subject, ...]:
    """Return a network with its controls."""
    return groups_of([subject], copies=copies_of(subject))[0].subjects


def reusable(folder: Path, parts: Parts) -> pd.DataFrame | None:
    """Return what a folder's finding measured, if it is complete and of the same study and question; else None.

    Its claims, sentences and pictures are made anew: another commit may say and draw them in another way.
    """
    if not (folder / "finding.json").is_file():
        return None
    try:
        finding = Finding.read(folder)
    except ProbeError:
        return None
    whole = len(finding.measurements) > 0 and list(finding.measurements.columns) == list(COLUMNS)
    return finding.measurements if whole and finding.provenance.get("study") == parts else None


def _claim(folder: Path, parts: Parts, networks: Parts, *, overwrite: bool) -> None:
    """Mark a folder as a study's, unless it holds the answers of another study; those that are replaced are removed.

    A study of many networks is the same when networks are added to it.

    Raises:
        ProbeError: it is a file, or holds something that may not be replaced.
    """
    mark = folder / MARK
    if mark.is_file():
        try:
            before = json.loads(mark.read_text(encoding="utf-8"))
            kept = before[EACH].items() <= networks.items()
        except (ValueError, TypeError, KeyError, AttributeError):
            before, kept = {}, False
        changed = [name for name in parts if before.get(name) != parts[name]]
        if kept and identity.NETWORKS in before and identity.NETWORKS in changed:
            changed.remove(identity.NETWORKS)
        if changed and not overwrite:
            raise ProbeError(
                f"{str(folder)!r} holds the report of another study: {', '.join(changed)} differ. Give another "
                "folder, or --overwrite (overwrite=True) to replace it."
            )
    elif folder.is_dir() and any((folder / name).exists() for name in (PAGE, FINDINGS)) and not overwrite:
        raise ProbeError(
            f"{str(folder)!r} holds {PAGE!r} or {FINDINGS!r}, and we cannot tell whether they belong to a study. "
            "Give another folder, or --overwrite (overwrite=True) to replace them."
        )
    if overwrite:
        for finding in (folder / FINDINGS).glob("*/finding.json"):
            shutil.rmtree(finding.parent)
        for part in (folder / many.MEASURED).rglob(f"*{SUFFIX}"):
            part.unlink()
    _ = write_atomically(mark, json.dumps(parts | {EACH: networks}, indent=2) + "\n")


def _provenance(parts: Parts) -> dict[str, Any]:
    return {"study": parts, "versions": identity.versions()}


def measure(study: Study, path: Any, parts: Any, *, jobs: int, cluster: str | None, progress: Report | None) -> int:
    """Measure what is missing of several networks; see `Study.measure`."""
    found = plan(study, Path(path), Path(parts))
    report = progress or (lambda _: None)

    def told(name: str, number: int, of: int) -> None:
        report(Progress(name, number, of, "answered"))

    outcomes = measure_all(found.calls, told, jobs=jobs, cluster=cluster, again="The same command goes on from here.")
    _ = found.pack()
    return sum(bool(one.fresh) for one in outcomes)


def findings(study: Study, path: Any) -> dict[str, Finding]:
    """Return what was measured, judged; see `Study.findings`."""
    found = _whole(study, path)
    tied = {name: digest for call in found.calls for name, digest in call.networks.items()}
    made = _provenance({identity.NETWORKS: identity.digest(tied), identity.VERSION: identity.__version__})
    return {one.question: dataclasses.replace(one, provenance=made) for one in many.findings(study, found)}


def tables(study: Study, path: Any) -> dict[str, pd.DataFrame]:
    """Return what was measured; see `Study.tables`."""
    return _whole(study, path).tables()


def _whole(study: Study, path: Any) -> Plan:
    """Return what a study measures, of which nothing is missing in a file."""
    found = plan(study, Path(path), Path(path).parent / "parts")
    if missing := found.missing():
        raise ProbeError(
            f"{os.fspath(path)!r} lacks what is asked of {several(len(missing), 'network')}, as they are here and in "
            f"the present version of each question, such as {missing[0]}. Measure what is missing: Study.measure."
        )
    return found


def plan(study: Study, path: Path, parts: Path) -> Plan:
    """Return what a study of several networks measures, and keeps in one file.

    Args:
        study: the study.
        path: the file, NAME.csv.xz.
        parts: folder of what is not packed yet.

    Raises:
        ProbeError: a part of the study does not fit, or the file has another ending.
    """
    subjects = prepare(study)
    identity.check_different(subjects)
    if not path.name.endswith(SUFFIX):
        raise ProbeError(f"{str(path)!r} is no file of measurements; give a name that ends in {SUFFIX}.")
    return plan_of(study, subjects, Store(path.parent, parts, path.name.removesuffix(SUFFIX)))
