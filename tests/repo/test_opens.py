"""Networks of packages that adapters open: each family is installed, tried, and has its rows in docs/opens.md.

They need the network, so plain `pytest` leaves them out; `python -m pytest -m packages` runs them. What is offline
fails here and is not skipped.
"""

from __future__ import annotations

import os
import subprocess
from datetime import date
from pathlib import Path

import pytest

from benchmarks.opens import page
from benchmarks.opens.cases import PAGE, ROOT, cases_of, families
from benchmarks.opens.environment import python_of, python_with

pytestmark = pytest.mark.packages

#: What files beside this one import that belongs to no family: it needs no adapter, and has no row.
WITHOUT_A_ROW = {
    "policies": ("gymnasium==1.4.0", "sb3-contrib==2.9.2"),
    "transformer_lens": ("transformer-lens==4.3.0",),
}


def run(python: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a module with the Python that has some packages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE"))}
    command = [python, "-m", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("family", families())
def test_every_network_of_a_family_opens(family: str, tmp_path: Path) -> None:
    """`check_step`, the entry point and the memory hold for each, and the committed page says what is measured."""
    out = tmp_path / "opens.md"
    done = run(python_of(family), "benchmarks.opens", family, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    rows, committed = page.read(out), page.read(PAGE)
    assert list(rows) == [case.network for case in cases_of(family)]
    before = date.today().toordinal() - 1  # midnight may have passed
    for name, row in rows.items():
        assert date.fromisoformat(row[-1]).toordinal() >= before
        assert float(row[4]) <= 1e-5, row
        assert committed[name][:4] == row[:4]
        assert len(committed[name]) == len(row) == len(page.COLUMNS)


@pytest.mark.parametrize("file", sorted(Path(__file__).parent.glob("opens_*.py")), ids=lambda file: file.stem)
def test_whole_networks_and_policies_are_recorded_and_changed(file: Path) -> None:
    """The tests beside this file, which import a family's packages, pass where those are installed."""
    family = file.stem.removeprefix("opens_")
    python = python_with(family, *WITHOUT_A_ROW[family]) if family in WITHOUT_A_ROW else python_of(family)
    done = run(python, "pytest", "-q", "-n", "0", "-m", "", "-W", "default", file)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


def test_the_page_has_a_row_for_every_network() -> None:
    """No network without a row, no row without a network, each name once."""
    names = [case.network for family in families() for case in cases_of(family)]
    assert len(set(names)) == len(names)
    assert list(page.read(PAGE)) == names
