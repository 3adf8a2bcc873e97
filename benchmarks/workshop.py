"""Runs tests in a copy of the repository in which one file at a time is broken on purpose."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What a copy holds.
COPIED = (
    "probe/",
    "models/",
    "analyses/",
    "tests/",
    "pyproject",
)
#: What the tests import of others. It is imported once, and the processes of the tests are forked from there:
#: importing it takes longer than most tests.
IMPORTED = (
    "torch",
    "safetensors.torch",
    "pandas",
    "xarray",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.linear_model",
    "matplotlib.pyplot",
    "joblib",
    "beartype",
    "pytest",
)
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
VERDICTS = {0: "survived", 1: "killed", None: "timed out"}


@dataclass(frozen=True)
class Defect:
    """A file that is broken on purpose.

    Attributes:
        name: what goes wrong.
        file: the file, from the repository's root.
        source: what it holds instead.
        tests: the files of tests that should notice.
    """

    name: str
    file: str
    source: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Workshop:
    """A copy of the repository.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    def run(self, tests: Sequence[str], timeout: float | None = None, *, keep: bool = False) -> int | None:
        """Run files of tests up to the first failure; return pytest's exit code, or None where time was up.

        Args:
            tests: the files, from the repository's root.
            timeout: seconds until the run is ended, or None.
            keep: whether compiled modules are kept in the copy for the runs that follow.
        """
        run = multiprocessing.get_context("fork").Process(target=_run, args=(str(self.folder), tests, keep))
        run.start()
        run.join(timeout)
        if run.is_alive():
            assert run.pid is not None
            os.killpg(run.pid, signal.SIGKILL)
            run.join()
            return None
        return run.exitcode

    def judge(self, defect: Defect, timeout: float) -> tuple[str, float]:
        """Break the file, run its tests and mend it.

        Returns:
            `killed` where a test failed, `survived` where none did, `timed out`, or pytest's exit code where no test
            could judge; and how many seconds it took.
        """
        path, start = self.folder / defect.file, time.monotonic()
        whole, status = path.read_bytes(), path.stat()
        path.write_text(defect.source, encoding="utf-8")
        # Python tells by size and time, in whole seconds, whether a compiled module is this source's.
        os.utime(path, (status.st_atime, status.st_mtime - 10))
        try:
            code = self.run(defect.tests, timeout)
        finally:
            path.write_bytes(whole)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return VERDICTS.get(code, f"exit {code}"), time.monotonic() - start

    def log(self) -> str:
        """Return the end of what the last run of tests said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-3000:]


def _run(folder: str, tests: Sequence[str], keep: bool) -> None:
    """Run tests in a process of their own, and in a group of processes that can be ended with it."""
    import pytest

    os.setsid()
    os.chdir(folder)
    # The copy comes before the editable install, for the processes that tests start too.
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    if not keep:
        sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    with open("log", "wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.exit(int(pytest.main(["-x", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider", *tests])))


@contextlib.contextmanager
def workshop() -> Iterator[Workshop]:
    """Yield a copy of the tracked files as they are in the working tree, in a temporary folder."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    for name in IMPORTED:
        _ = importlib.import_module(name)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and name.startswith(COPIED):
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                _ = shutil.copy2(ROOT / name, target)
        yield Workshop(Path(folder))
