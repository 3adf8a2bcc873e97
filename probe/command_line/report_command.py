"""What `rnn-probe report` does, with progress on stderr and the written path on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..evidence.findings import Finding
from ..report import Link
from ..studies.measuring import Progress
from ..studies.run import FINDINGS, PAGE
from ..studies.study_file import read_study


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
) -> str:
    """Run the study in a file and return what is printed.

    That is each answer with its verdicts and the files of its figures; last comes the page with its size.
    """
    given = read_study(study, seed)
    with shown(quiet=quiet or sys.stderr is None or not sys.stderr.isatty()) as progress:
        made = given.run(out, overwrite=overwrite, progress=progress, jobs=jobs, figures=figures)
    page = out / PAGE
    if up:
        _ = replace(made, up=[Link("All pages", up)]).write(page)
    found = sorted((out / FINDINGS).glob("*/finding.json"))
    said = [line for file in found for line in _lines(file.parent, figures)]
    return "\n".join([*said, f"{page} {page.stat().st_size} bytes"])


def _lines(folder: Path, figures: Path | None) -> list[str]:
    """Return what is printed of the finding in a folder, with the files of its figures, those for papers where asked.

    Of a question that was not asked nothing is printed: the page says why.
    """
    from ..report.svg import FORMATS

    finding = Finding.read(folder)
    if finding.measurements.empty:
        return []
    place, forms = (folder / "figures", ("svg",)) if figures is None else (figures / folder.name, FORMATS)
    return finding.lines([place / f"{figure.name}.{form}" for figure in finding.figures for form in forms])


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show a line with a bar on stderr while a study runs; nothing where it is quiet or stderr is no terminal."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("reading the study", total=None)

        def tell(progress: Progress) -> None:
            done = progress.number - (progress.state == "started")
            bars.update(task, description=f"{progress.question}: {progress.state}", completed=done, total=progress.of)

        yield tell
