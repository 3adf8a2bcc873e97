"""What `rnn-probe report` and `rnn-probe new-study` do, with progress on stderr and the written path on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ProbeError
from ..evidence.findings import Finding
from ..studies.run import FINDINGS, PAGE, Progress
from ..studies.study_file import read_study, study_of
from ..subjects.functions import load_file
from . import own_report


def report(
    study: Path,
    out: Path,
    *,
    seed: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    jobs: int = 1,
    figures: Path | None = None,
) -> str:
    """Run the study in a file, or the report that it defines, and return what is printed.

    Of a study that is each answer with its verdicts and the files of its figures; last comes the page with its size.

    Args:
        study: the file, or a folder with a `report.py`; Python code is run.
        out: the folder that the report goes to.
        seed: instead of the study's own; a report of one's own has none.
        overwrite: replace another study's report.
        quiet: show no progress.
        jobs: how many networks are measured at a time.
        figures: a folder that gets every figure of a study as SVG, PDF and PNG, in a folder for each question.

    Raises:
        probe.ProbeError: something that was given does not fit.
    """
    source = own_report.python_file(study)
    module = None if source is None else load_file(source)
    own = None if source is None else own_report.function_of(module, source)
    if source is not None and own is not None:
        for option, value in (("--seed", seed), ("--figures", figures)):
            if value is not None:
                raise ProbeError(f"{option} is of a study, and {str(source)!r} defines a report. Leave it out.")
        page = own_report.run(own, source, out, jobs=jobs, overwrite=overwrite)
        return f"{page} {page.stat().st_size} bytes"
    given = read_study(study, seed) if source is None else study_of(module, source, seed)
    with shown(quiet=quiet or sys.stderr is None or not sys.stderr.isatty()) as progress:
        _ = given.run(out, overwrite=overwrite, progress=progress, jobs=jobs, figures=figures)
    page = out / PAGE
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
    """Show a line with a bar on stderr while a study runs; nothing where it is quiet or stderr is no terminal.

    Args:
        quiet: show nothing.
    """
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
