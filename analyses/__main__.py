"""`python -m analyses STUDY ...` measures, judges and tells one of our own studies."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from analyses import BUILD, NAMES, module_of
from probe.command_line import shell
from probe.command_line.shell import FAILED, UsageError, Whole, at_least_one, check, command, complain, emit
from probe.storage.files import write_atomically

if TYPE_CHECKING:
    from probe import Finding, Study
    from probe.studies.progress import Progressing

#: Beside the panel of a study one of so many networks is measured again, chosen by the commit.
ONE_IN = 100
app = command("python -m analyses")


@app.default
def study(
    name: Annotated[str, Parameter(help=f"which study: {', '.join(NAMES)}.")],
    /,
    *questions: str,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    findings: Path | None = None,
    figures: Path | None = None,
    pages: bool = False,
    measure: bool = False,
    verify: bool = False,
    everything: bool = False,
    jobs: Whole = 1,
    quiet: bool = False,
) -> int:
    """Judge what was measured, and write a folder for each question and the pages of a study.

    Args:
        questions: which of its questions, such as single-units; none for all, and then its pages as well.
        out: folder that gets the pages; default build/reports/NAME.
        findings: folder that gets a folder for each question (table, claims, figures); default build/findings/NAME.
        figures: folder that gets every figure for papers, as SVG, PDF and PNG, in a folder for each question.
        pages: build the pages alone, from the findings that are there and the words as they are now.
        measure: measure what is missing of all networks, and write nothing else.
        verify: measure a panel of networks again, and one in a hundred of the others, and fail where a value moved.
        everything: with --verify, measure every network again.
        jobs: how many networks are measured at a time, each in a process on one thread.
        quiet: show no progress on stderr.
    """
    check("study", [name], NAMES)
    at_least_one("--jobs", jobs)
    if sum((pages, measure, verify)) > 1 or (questions and (pages or measure or verify)):
        raise UsageError(
            "--pages, --measure and --verify are about the whole study; give one of them, and no question."
        )
    idle = {"--everything": everything and not verify, "--figures": figures and (pages or measure or verify)}
    # Torch loads in there: --help stays fast.
    found = module_of(name)
    limit_threads()
    progress: Progressing = None if quiet else "auto"
    if hasattr(found, "study"):
        idle |= {"a question": questions, "--findings": findings, "--pages": pages}
        idle |= {"--measure": measure, "--verify": verify}
    if given := [option for option, acts_not in idle.items() if acts_not]:
        raise UsageError(f"{given[0]} does nothing here; leave it out, or see python -m analyses --help.")
    if hasattr(found, "study"):
        return _run(found.study(), out or BUILD / "reports" / name, jobs, figures, progress)
    if measure:
        return _measure(found, name, jobs, progress)
    if verify:
        return _verify(found, jobs, everything=everything)
    folder, place = findings or BUILD / "findings" / name, out or BUILD / "reports" / name
    if not pages:
        chosen = tuple(one.replace("-", "_") for one in questions)
        _answer(found, name, chosen, folder, figures=figures, progress=progress)
    for path in [] if questions else found.write(folder, place):
        emit(f"{path} {path.stat().st_size} bytes")
    return 0


def limit_threads() -> None:
    """Use one thread, for linear algebra too: a small recurrent network runs slower on two."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def _run(made: Study, out: Path, jobs: int, figures: Path | None, progress: Progressing) -> int:
    """Run a study like anybody's: what was measured lies in the folder of its page."""
    made.run(out, jobs=jobs, figures=figures, progress=progress)
    emit(f"{out / 'index.html'} {(out / 'index.html').stat().st_size} bytes")
    return 0


def _answer(
    found: ModuleType, name: str, chosen: Sequence[str], folder: Path, *, figures: Path | None, progress: Progressing
) -> None:
    """Write each finding, and print what it says, as soon as it is known."""
    from probe.studies.progress import Progress, shown

    names, start = found.names_of(chosen), time.monotonic()
    with shown(progress) as tell:
        for number, (one, finding) in enumerate(found.each(chosen), start=1):
            alone = [one] if one in (*found.QUESTIONS, *getattr(found, "FRESH_QUESTIONS", ())) else []
            line = f"from analyses.{name}.study import findings; findings({alone})[{one!r}]  # in a clone"
            made = replace(finding, provenance={**finding.provenance, "python": line})
            emit("\n".join(_written(made, folder / one, figures)))
            took, start = time.monotonic() - start, time.monotonic()
            tell(Progress(one, number, len(names), "answered", took))


def _written(finding: Finding, folder: Path, figures: Path | None) -> list[str]:
    """Write a finding, and return what is printed of it."""
    finding.write(folder)
    for figure in finding.figures:
        # A page shows one beside a link to it.
        _ = write_atomically(folder / "figures" / f"{figure.name}.png", figure.png or b"")
    files = [folder / "figures" / f"{figure.name}.svg" for figure in finding.figures]
    return finding.lines(files if figures is None else finding.save_figures(figures / finding.question))


def _measure(found: ModuleType, name: str, jobs: int, progress: Progressing) -> int:
    for part, make in found.STUDIES.items():
        path = found.FOLDER / f"{part}.csv.xz"
        fresh = make().measure(path, parts=BUILD / "measured" / name, jobs=jobs, progress=progress)
        emit(f"{path}: {fresh} networks measured, with their controls")
    return 0


def _verify(found: ModuleType, jobs: int, *, everything: bool) -> int:
    faults: list[str] = []
    for part, make in found.STUDIES.items():
        fits = not everything and "fit" in inspect.signature(make).parameters
        made: Study = make(fit=False) if fits else make()
        members = None if everything else [*found.PANEL[part], *_rolling(made, found.PANEL[part])]
        made = make(fit=members) if fits else made
        for one in made.verify(found.FOLDER / f"{part}.csv.xz", members, jobs=jobs):
            faults += one.faults
            beside = f", of which {one.rounded} as far as rounding moves them" if one.rounded else ""
            verdict = "moved" if one.faults else "the same"
            emit(f"{verdict:<8} {one.values:6} values {one.seconds:6.1f} s  {one.member}{beside}")
    for fault in faults:
        _ = complain(app, fault)
    return FAILED if faults else 0


def _rolling(made: Study, panel: Sequence[str]) -> list[str]:
    """Return one in a hundred of the networks that are not in the panel, rounded up, chosen by the commit."""
    from probe.studies.measure import groups_of
    from probe.studies.prepare import prepare

    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    names = [name for name in groups_of(prepare(made), controls=()) if name not in panel]
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{done.stdout.strip()} {name}".encode()).digest())
    return ranked[: -(-len(ranked) // ONE_IN)]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (failed), 2 (wrong usage) or 130 (interrupted)."""
    again = "What was written so far is whole, and the same command goes on."
    return shell.run(app, arguments, again=again)


if __name__ == "__main__":
    shell.leave(run())
