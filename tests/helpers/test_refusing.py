"""Messages of errors are compared with their rows in one file, and written there by one command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from refusing import refused

import probe

TEST = """
import probe
from refusing import refused

def test_one(tmp_path):
    for number in (1, 0.12345):
        with refused():
            raise probe.ProbeError(f"No layer 'a' in {tmp_path}/x,\\nnor in {number}.")
"""


def ran(folder: Path, test: str, *options: str) -> str:
    """Run a test beside a copy of the helper, and return what pytest says."""
    _ = (folder / "test_made_up.py").write_text(test)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    around = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which take longer than the test
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=around).stdout


def test_a_message_is_compared_with_its_row_and_written_by_one_command(tmp_path: Path) -> None:
    """The row holds no path and no computed number; a missing and another one fail, with what to do."""
    folder, rows = tmp_path / "tests" / "made-up", tmp_path / "tests" / "made-up" / "messages.txt"
    folder.mkdir(parents=True)
    _ = shutil.copy(Path(__file__).with_name("refusing.py"), folder)
    _ = (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    _ = (folder / "conftest.py").write_text("from refusing import pytest_addoption\n")
    _ = rows.write_text("No more.\n  1 test_gone\n")
    assert "(there is none)" in ran(folder, TEST)
    assert "1 passed" in ran(folder, TEST, "--messages")
    expected = (
        "No layer 'a' in PATH/x,\\nnor in #.\n  2 test_one\nNo layer 'a' in PATH/x,\\nnor in 1.\n  1 test_one\n"
    )
    assert rows.read_text() == expected
    told = ran(folder, TEST.replace("'a'", "'b'"))
    assert "Message 1 of test_one" in told
    assert "said: No layer 'b' in PATH/x" in told
    assert "row:  No layer 'a' in PATH/x" in told
    assert "python -m pytest test_made_up.py --messages" in told
    assert rows.read_text() == expected


def test_a_call_that_is_not_refused_fails() -> None:
    """No error, and an error of another kind."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), refused():
        pass
    with pytest.raises(ZeroDivisionError), refused():
        _ = 1 / 0
    with pytest.raises(probe.ProbeError), refused(ValueError):
        raise probe.ProbeError("Another kind.")
