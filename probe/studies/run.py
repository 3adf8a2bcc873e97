"""Runs a study: answers each question, saves it as a folder, and reuses the answers that are already there."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError
from ..evidence.findings import Finding
from ..evidence.measurements import COLUMNS
from ..storage.files import write_atomically
from .definition import identity
from .definition.prepared import prepare
from .page import build
from .questions import ablation, answering, fixed_points, gates, interchange, linear_probes, network_card
from .sampling.activations import Activations

if TYPE_CHECKING:
    from ..report import Page
    from .study import Study

FINDINGS, MARK, PAGE = "findings", "study.json", "index.html"
LIBRARIES = ("rnn-probe", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")
Ask = Callable[[], Finding]


@dataclass(frozen=True)
class Progress:
    """How far a run of a study is.

    Attributes:
        question: the name of the question, such as `reading-depth`.
        number: its number, from 1.
        of: how many questions there are.
        state: `started`, `answered`, or `kept` (an earlier run of the same study has answered it).
    """

    question: str
    number: int
    of: int
    state: str


def run(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Page:
    """Run every question of a study and write its page; see `Study.run`."""
    folder, prepared = Path(folder), prepare(study)
    parts = identity.parts(prepared)
    _claim(folder, parts, overwrite=overwrite)
    report = progress or (lambda _: None)
    every = list(questions(Activations(prepared)))
    findings: list[Finding] = []
    for number, (question, ask) in enumerate(every, start=1):
        earlier = reusable(folder / FINDINGS / question, parts)
        if earlier is not None:
            report(Progress(question, number, len(every), "kept"))
            findings.append(earlier)
            continue
        report(Progress(question, number, len(every), "started"))
        answer = ask()
        written = Finding(
            answer.question,
            answer.title,
            answer.measurements,
            answer.claims,
            answer.figures,
            _provenance(parts),
            answer.notes,
        ).write(folder / FINDINGS / question)
        # The page is built from the files, so a resumed run gives the same page.
        findings.append(Finding.read(written))
        report(Progress(question, number, len(every), "answered"))
    page = build(prepared, {finding.question: finding for finding in findings})
    _ = page.write(folder / PAGE)
    return page


def questions(activations: Activations) -> Iterator[tuple[str, Ask]]:
    """Yield the questions of a study in the order of the page, each with the function that answers it."""
    prepared = activations.prepared
    yield "network", partial(network_card.ask, activations, "network")
    for name, question in linear_probes.question_names(prepared).items():
        yield question, partial(linear_probes.ask, activations, name, question)
    yield "gates", partial(gates.ask, activations, "gates")
    if prepared.head is not None:
        yield "answers", partial(answering.ask, activations, "answers")
        yield "ablation", partial(ablation.ask, activations, "ablation")
        yield "interchange", partial(interchange.ask, activations, "interchange")
    yield "fixed-points", partial(fixed_points.ask, activations, "fixed-points")


def reusable(folder: Path, parts: dict[str, str]) -> Finding | None:
    """Return the finding in a folder if it is complete and belongs to the same study and version; else None."""
    if not (folder / "finding.json").is_file():
        return None
    try:
        finding = Finding.read(folder)
    except ProbeError:
        return None
    whole = list(finding.measurements.columns) == list(COLUMNS)
    return finding if whole and finding.provenance.get("study") == parts else None


def _claim(folder: Path, parts: dict[str, str], *, overwrite: bool) -> None:
    """Mark a folder as a study's, unless it holds the answers of another study.

    Raises:
        ProbeError: it is a file, or holds something that may not be replaced.
    """
    mark = folder / MARK
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{str(folder)!r} is a file; the report is a folder. Give another path.")
    if mark.is_file():
        try:
            before = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        changed = [name for name in parts if not isinstance(before, dict) or before.get(name) != parts[name]]
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
    _ = write_atomically(mark, json.dumps(parts, indent=2) + "\n")


def _provenance(parts: dict[str, str]) -> dict[str, Any]:
    return {"study": parts, "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that computed the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
