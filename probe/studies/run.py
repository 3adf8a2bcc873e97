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
from .questions import ablation, answering, card, gates, interchange, reading, resting
from .sampling.activations import Sightings

if TYPE_CHECKING:
    from ..report import Page
    from .study import Study

FINDINGS, MARK, PAGE = "findings", "study.json", "index.html"
LIBRARIES = ("rnn-probe", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")
Ask = Callable[[], Finding]


@dataclass(frozen=True)
class Progress:
    """Where a run of a study stands.

    Attributes:
        question: which question, such as `reading-depth`.
        number: which one it is, from 1.
        of: how many there are.
        state: `started`, `kept` (it was answered before, of the same study) or `answered`.
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
    """Ask everything about a study and write its page; see `Study.run`."""
    folder, prepared = Path(folder), prepare(study)
    parts = identity.parts(prepared)
    _claim(folder, parts, overwrite=overwrite)
    tell = progress or (lambda _: None)
    sightings = Sightings(prepared)
    asked = list(questions(sightings))
    found: list[Finding] = []
    for number, (question, ask) in enumerate(asked, start=1):
        there = kept(folder / FINDINGS / question, parts)
        if there is not None:
            tell(Progress(question, number, len(asked), "kept"))
            found.append(there)
            continue
        tell(Progress(question, number, len(asked), "started"))
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
        # What the page is built from is what lies on disk, so that a run that was taken up again gives the same page.
        found.append(Finding.read(written))
        tell(Progress(question, number, len(asked), "answered"))
    page = build(prepared, {finding.question: finding for finding in found})
    _ = page.write(folder / PAGE)
    return page


def questions(sightings: Sightings) -> Iterator[tuple[str, Ask]]:
    """Yield the questions of a study in the order of the page, each with what answers it."""
    prepared = sightings.prepared
    yield "network", partial(card.ask, sightings, "network")
    for name, question in reading.question_names(prepared).items():
        yield question, partial(reading.ask, sightings, name, question)
    yield "gates", partial(gates.ask, sightings, "gates")
    if prepared.head is not None:
        yield "answers", partial(answering.ask, sightings, "answers")
        yield "ablation", partial(ablation.ask, sightings, "ablation")
        yield "exchange", partial(interchange.ask, sightings, "exchange")
    yield "rest", partial(resting.ask, sightings, "rest")


def kept(folder: Path, parts: dict[str, str]) -> Finding | None:
    """Return the finding in a folder where it is whole and of the same study and version; else None."""
    if not (folder / "finding.json").is_file():
        return None
    try:
        finding = Finding.read(folder)
    except ProbeError:
        return None
    whole = list(finding.measurements.columns) == list(COLUMNS)
    return finding if whole and finding.provenance.get("study") == parts else None


def _claim(folder: Path, parts: dict[str, str], *, overwrite: bool) -> None:
    """Take a folder for a study, or refuse it where it holds another one's answers.

    Raises:
        ProbeError: it is a file, or holds something that is not to be replaced.
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
            f"{str(folder)!r} holds {PAGE!r} or {FINDINGS!r}, and they are not known to be of a study. Give another "
            "folder, or --overwrite (overwrite=True) to replace them."
        )
    _ = write_atomically(mark, json.dumps(parts, indent=2) + "\n")


def _provenance(parts: dict[str, str]) -> dict[str, Any]:
    return {"study": parts, "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers come from."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
