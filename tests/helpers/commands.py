"""Runs the command line in this process, and Python in another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from refusing import said

from probe.command_line import main


def ran(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run the command line without an error, and return what it printed."""
    assert main.run(list(map(str, words))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 1) -> None:
    """Run the command line with an error, whose one line stands in messages.txt."""
    __tracebackhide__ = True
    assert main.run(list(map(str, words))) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnn-probe: ")
    assert err.count("\n") == 1
    said(err.strip())


def started(
    *words: object, code: int = 0, out: int = subprocess.PIPE, more: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return what a process of Python prints, and what it says; it starts in the root folder, where no source lies.

    Args:
        *words: what Python is called with.
        code: the exit code that is expected.
        out: where its output goes.
        more: variables of its environment, beside those of this one but for numbers of threads.
    """
    given: Any = {"stdout": out, "stderr": subprocess.PIPE, "text": True, "cwd": Path(os.sep), "timeout": 300}
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run([sys.executable, *map(str, words)], check=False, env=kept | dict(more or {}), **given)
    assert done.returncode == code, done.stderr
    return (done.stdout or "").strip(), done.stderr


def printed(code: str, more: Mapping[str, str] | None = None) -> str:
    """Return what code prints in a new process, where a warning is an error."""
    return started("-W", "error", "-c", code, more=more)[0]
