"""Runs the command line in this process, and Python in another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe.command_line import main


def ran(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run the command line without an error, and return what it printed."""
    assert main.run(list(map(str, words))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 1) -> str:
    """Run the command line with an error, and return its one line."""
    assert main.run(list(map(str, words))) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnn-probe: ")
    assert err.count("\n") == 1
    return err


def printed(code: str) -> str:
    """Return what a new process prints; it starts in the root folder, where no source lies."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=os.sep,
        timeout=60,
    )
    return done.stdout.strip()
