"""Runs a report that somebody wrote in Python: a file that defines `report(folder, *, jobs)`."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..storage.files import write_atomically
from ..studies import run as study_run
from ..subjects.functions import calling

#: The file of a folder that defines the function, and what the function is called.
FILE, NAME = "report.py", "report"
#: Says in a report's folder which Python file made it. A study that the function runs there has a mark of its own.
MARK = "report.json"
_WANTS = f"It is called as {NAME}(folder, jobs=1), with the folder's path, and must return the path of the page."


def python_file(path: Path) -> Path | None:
    """Return the Python file that a path means: itself, or a folder's `report.py`; None where it is neither.

    Args:
        path: what was given.

    Raises:
        ProbeError: it is a folder without a `report.py`.
    """
    if not path.is_dir():
        return path if path.suffix == ".py" and path.is_file() else None
    if not (path / FILE).is_file():
        raise ProbeError(
            f"{str(path)!r} is a folder without a {FILE}. Give a .toml file, a .py file that defines study or "
            f"{NAME}(folder, *, jobs), or a folder whose {FILE} defines the latter."
        )
    return path / FILE


def function_of(module: Any, path: Path) -> Callable[..., Any] | None:
    """Return the function `report` of a Python file; None where the file defines a study.

    Args:
        module: the file, run.
        path: of the file.

    Raises:
        ProbeError: it defines both, or neither, or what is called so cannot be called with a folder and `jobs`.
    """
    found, study = (vars(module).get(name) for name in (NAME, "study"))
    if found is None and study is None and path.name == FILE:
        raise ProbeError(f"{str(path)!r} defines no {NAME}(folder, *, jobs) and no study; define one of them.")
    if found is None:
        return None
    if study is not None:
        raise ProbeError(f"{str(path)!r} defines both study and {NAME}; keep the one that you mean.")
    try:
        _ = inspect.signature(found).bind(path, jobs=1)
    except (TypeError, ValueError) as error:
        raise ProbeError(f"{NAME} in {str(path)!r} does not fit ({error}). {_WANTS}") from error
    return found


def run(function: Callable[..., Any], source: Path, out: Path, *, jobs: int, overwrite: bool) -> Path:
    """Call a report's function and return the path of the page that it wrote.

    The folder is marked with the digest of the Python file, so that another one does not replace the report unasked.

    Args:
        function: what `function_of` returned.
        source: the file that it stands in.
        out: the folder that the report goes to; it is made where it is missing.
        jobs: how many processes it may use.
        overwrite: replace what another study or report wrote there.

    Raises:
        ProbeError: jobs is below 1, the folder holds another report, the function raises, or it returns no file.
    """
    if jobs < 1:
        raise ProbeError(f"--jobs {jobs} must be 1 or more.")
    if out.exists() and not out.is_dir():
        raise ProbeError(f"{str(out)!r} is a file; the report is a folder. Give another path.")
    _claim(out, hashlib.sha256(source.read_bytes()).hexdigest(), overwrite=overwrite)
    with calling(f"The function {NAME} of {str(source)!r}", _WANTS):
        page = function(out, jobs=jobs)
    if not isinstance(page, Path) or not page.is_file():
        given = f"{str(page)!r}, where no file is" if isinstance(page, Path) else f"{page!r:.80}, which is no Path"
        raise ProbeError(f"The function {NAME} of {str(source)!r} returned {given}. {_WANTS}")
    return page


def _claim(folder: Path, digest: str, *, overwrite: bool) -> None:
    """Mark a folder as a report's, unless it holds something else.

    Raises:
        ProbeError: it does, and it may not be replaced.
    """
    names = (MARK, study_run.MARK, study_run.PAGE, study_run.FINDINGS)
    mark, content = folder / MARK, json.dumps({NAME: digest}, indent=2) + "\n"
    same = mark.is_file() and mark.read_text(encoding="utf-8", errors="replace") == content
    if not same and not overwrite and any((folder / name).exists() for name in names):
        raise ProbeError(
            f"{str(folder)!r} holds the report of another study, or of this one before its Python file was changed. "
            "Give another folder, or --overwrite to replace it."
        )
    _ = write_atomically(mark, content)
