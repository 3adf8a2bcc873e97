"""Runs the command line in this process."""

from __future__ import annotations

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
