"""The command line of the analyses: `python -m analyses` and `python -m analyses.NAME`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cyclopts

if TYPE_CHECKING:
    from probe import Finding
    from probe.measurements import Network

FAILED, USAGE, INTERRUPTED = 1, 2, 130
OUT = Path("build/findings/counter")


def run(names: Sequence[str], program: str, arguments: Sequence[str] | None = None) -> int:
    """Answer questions about the counter from the command line.

    Args:
        names: modules of `analyses`.
        program: what the help calls the command.
        arguments: words of the command line, or None for the program's own.

    Returns:
        The exit code: 0, 1 where something could not be read or written, 2 for wrong usage, 130 for Ctrl-C.
    """
    app = cyclopts.App(name=program, help_format="plaintext", version_flags=[])

    @app.default
    def answer(*, out: Path = OUT, fresh: Path | None = None, checkpoint: Path | None = None, jobs: int = 1) -> int:
        """Answer questions about the counter and write a folder for each (table, claims, figures) and findings.json.

        Args:
            out: folder that gets a folder for each question; a finding that lies there is replaced.
            fresh: folder with networks trained here, in seed-N; each takes the place of the committed one.
            checkpoint: folder of one counter, trained here or elsewhere, which is studied in their place.
            jobs: how many questions are answered at a time, each on one thread.
        """
        if fresh is not None and checkpoint is not None:
            sys.stderr.write("error: --fresh and --checkpoint choose the networks in two ways; give one of them.\n")
            return USAGE
        return _answer(names, out, jobs, fresh=fresh, checkpoint=checkpoint)

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return USAGE  # cyclopts has shown what was wrong
    except KeyboardInterrupt:
        sys.stderr.write("error: Interrupted. The findings written so far are whole.\n")
        return INTERRUPTED


def _answer(names: Sequence[str], out: Path, jobs: int, *, fresh: Path | None, checkpoint: Path | None) -> int:
    from joblib import Parallel, delayed
    from rich.console import Console
    from rich.progress import track

    from probe import ProbeError

    from . import QUESTIONS, common, merged, summaries

    common.limit_threads()
    console = Console(stderr=True)
    try:
        for name in names:
            _refuse_others(out / name)
        studied = common.networks(fresh) if checkpoint is None else common.networks_of(checkpoint)
        work = Parallel(jobs, return_as="generator")(delayed(_find)(name, studied, out / name) for name in names)
        shown = track(work, "Analyses", len(names), console=console, disable=not console.is_terminal, transient=True)
        found = {finding.question: finding for finding in cast("Iterable[Finding]", shown)}
        if tuple(names) == QUESTIONS:
            for name in summaries.SUMMARIES:
                found[name] = import_module(f"analyses.{name}").find(dict(found))
                found[name].write(out / name)
        together = merged.write(out, list(found.values())) if len(names) > 1 else None
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    for folder in (out / name for name in found):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        sys.stdout.write(f"{folder} {size} bytes\n")
    if together is not None:
        sys.stdout.write(f"{together} {together.stat().st_size} bytes\n")
    return 0


def _find(name: str, studied: Sequence[Network], folder: Path) -> Finding:
    """Answer one question and write its folder at once, so that an interrupted run keeps what it has."""
    from . import common

    common.limit_threads()
    finding: Finding = import_module(f"analyses.{name}").find(studied)
    finding.write(folder)
    return finding


def _refuse_others(folder: Path) -> None:
    """Raise where a finding would be mixed into a folder that holds something else."""
    from probe import ProbeError

    if folder.exists() and not (folder / "finding.json").is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise ProbeError(f"{str(folder)!r} exists and is no finding. Choose another --out, or remove it.")
