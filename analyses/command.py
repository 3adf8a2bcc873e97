"""The command line of the analyses: `python -m analyses` and `python -m analyses.NAME`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cyclopts

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
    def answer(*, out: Path = OUT, fresh: Path | None = None) -> int:
        """Answer questions about the counter and write a folder for each: table, claims, figures.

        Args:
            out: folder that gets a folder for each question; a finding that lies there is replaced.
            fresh: folder with networks trained here, in seed-N; each takes the place of the committed one.
        """
        return _answer(names, out, fresh)

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return USAGE  # cyclopts has shown what was wrong
    except KeyboardInterrupt:
        sys.stderr.write("error: Interrupted. The findings written so far are whole.\n")
        return INTERRUPTED


def _answer(names: Sequence[str], out: Path, fresh: Path | None) -> int:
    from importlib import import_module

    from rich.console import Console
    from rich.progress import track

    from probe import ProbeError

    from . import common

    common.limit_threads()
    console = Console(stderr=True)
    try:
        for name in names:
            _refuse_others(out / name)
        studied = common.networks(fresh)
        shown = track(names, "Analyses", console=console, disable=not console.is_terminal, transient=True)
        folders = [import_module(f"analyses.{name}").find(studied).write(out / name) for name in shown]
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    for folder in folders:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        sys.stdout.write(f"{folder} {size} bytes\n")
    return 0


def _refuse_others(folder: Path) -> None:
    """Raise where a finding would be mixed into a folder that holds something else."""
    from probe import ProbeError

    if folder.exists() and not (folder / "finding.json").is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise ProbeError(f"{str(folder)!r} exists and is no finding. Choose another --out, or remove it.")
