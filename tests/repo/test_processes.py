"""Where processes share the tests, a file's tests stay in one of them: what a module makes is made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
TESTS = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(8))
def test_where(number):
    (Path(__file__).parent / f"{Path(__file__).stem}-{number}.txt").write_text(str(os.getpid()))
"""


@pytest.mark.parametrize(("grouped", "most"), [(True, 1), (False, 2)])
def test_a_files_tests_run_in_one_process(grouped: bool, most: int, tmp_path: Path) -> None:
    """Each of two files has its own; without conftest.py both processes run tests of both files."""
    if grouped:
        shutil.copy(CONFTEST, tmp_path)
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "no:cacheprovider"]
    command += ["-o", f"pythonpath={CONFTEST.parent / 'wheel'}"]  # where conftest.py finds what it imports
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [*command, "-n", "2", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    found = [{path.read_text() for path in tmp_path.glob(f"test_{name}-*.txt")} for name in ("one", "two")]
    assert [len(processes) for processes in found] == [most, most]
    assert (found[0] == found[1]) is not grouped
