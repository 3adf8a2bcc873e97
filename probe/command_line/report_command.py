"""What `rnn-probe report` and `rnn-probe new-study` do, with progress on stderr and the written path on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..studies.run import PAGE, Progress
from ..studies.study_file import read_study


def report(study: Path, out: Path, *, seed: int | None = None, overwrite: bool = False, quiet: bool = False) -> str:
    """Run the study in a file, and return the page's path with its size.

    Args:
        study: the file.
        out: the folder that the report goes to.
        seed: instead of the study's own.
        overwrite: replace another study's report.
        quiet: show no progress.

    Raises:
        probe.ProbeError: something that was given does not fit.
    """
    given = read_study(study, seed)
    with shown(quiet=quiet or sys.stderr is None or not sys.stderr.isatty()) as progress:
        _ = given.run(out, overwrite=overwrite, progress=progress)
    page = out / PAGE
    return f"{page} {page.stat().st_size} bytes"


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
