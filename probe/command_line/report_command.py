"""What `rnn-probe report` does, with progress on stderr and the written path on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..evidence.findings import FINDING, Finding
from ..studies.mark import FINDINGS, PAGE
from ..studies.networks import evaluating
from ..studies.progress import shown
from ..studies.run import run
from ..studies.study_file import read_study
from .output import to_json


def report(
    study: Path,
    out: Path,
    *,
    seed: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    jobs: int = 1,
    figures: Path | None = None,
    up: str = "",
    as_json: bool = False,
) -> str:
    """Run the study in a file and return what is printed.

    That is each answer with its verdicts and the files of its figures; last come the verdict on the concepts, as on
    the page's first screen, and the page with its size. Of a question that was not asked nothing is printed: the page
    says why.
    """
    given = read_study(study, seed)
    with shown(None if quiet else "auto") as tell, evaluating(given.networks):
        made = run(given, out, tell, overwrite=overwrite, jobs=jobs, figures=figures, up=up)
    page = out / PAGE
    folders = {file.parent: Finding.read(file.parent) for file in sorted((out / FINDINGS).glob(f"*/{FINDING}"))}
    found = [(one, _files(one, at, figures)) for at, one in folders.items() if not one.measurements.empty]
    if as_json:
        return to_json({"page": str(page), "title": made.title, "findings": [_described(*one) for one in found]})
    said = [line for finding, files in found for line in finding.lines(files)]
    said += [made.summary] if made.summary else []
    return "\n".join([*said, f"{page} {page.stat().st_size} bytes"])


def _files(finding: Finding, folder: Path, figures: Path | None) -> list[Path]:
    """Return the files of the figures of a finding, those for papers where asked."""
    from ..report.svg import FORMATS

    place, forms = (folder / "figures", ("svg",)) if figures is None else (figures / folder.name, FORMATS)
    return [place / f"{figure.name}.{form}" for figure in finding.figures for form in forms]


def _described(finding: Finding, files: list[Path]) -> dict[str, Any]:
    """Return what `rnn-probe report --json` prints of a finding."""
    return {
        "question": finding.question.replace("_", "-"),
        "answer": finding.notes.get("answer", finding.title),
        "claims": [{"claim": claim.rule.key, "verdict": claim.verdict} for claim in finding.claims],
        "figures": [str(path) for path in files],
    }
