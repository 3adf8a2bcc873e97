"""Which tests CI runs on the wheel, and the mutations of `benchmarks/mutations.py`."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.mutants import CORE, mutants_of, written
from benchmarks.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


def test_ci_runs_the_tests_of_every_folder() -> None:
    """Those of the sdist in the clean room, also of a room that is added later; the two left out come at the end."""
    (found,) = re.findall(r'^tests\(\) \{ make test ONLY="(.*)"; \}$', (ROOT / ".ci/run").read_text(), re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert {"/tests/data", *(f"/{folder}" for folder in found.split())} == set(settings["exclude"])


def test_every_mutation_stands_at_one_place_of_todays_source() -> None:
    """Whoever moves the code takes its mutation along; each has a name of its own and tests that exist."""
    assert len(written(MUTATIONS)) == len(MUTATIONS) >= 40
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS)
    named = [one.test.partition("::")[::2] for one in MUTATIONS]
    assert [test for test, name in named if f"def {name}" not in (ROOT / test).read_text(encoding="utf-8")] == []
    assert all((ROOT / test.partition("::")[0]).is_file() for tests in CORE.values() for test in tests.split())


def test_generated_mutants_are_drawn_by_the_seed_and_change_what_runs() -> None:
    """The same seed gives the same mutants, each another program; what an annotation says is left alone."""
    source = "def half(x: int | None, *, y: int = 2) -> int | None:\n    return x and x / y\n"
    found, again, other = (list(mutants_of(source, random.Random(seed))) for seed in ("a", "a", "b"))
    assert found == again != other
    assert len({changed for _, changed in found} - {source}) == len(found) >= 3
    assert all("x: int | None, *, y: int = " in changed and "-> int | None:" in changed for _, changed in found)


WORKSHOP = """
import sys
from pathlib import Path

import pytest  # once, for every run that is forked

from benchmarks.mutants import Defect, Workshop

copy = Workshop(Path(sys.argv[1]))
assert copy.run(["test_cell.py"], keep=True) == 0
for source in sys.argv[2:]:
    defect = Defect("a defect", "probe.py", source, ("test_cell.py",))
    print(copy.judge(defect, timeout=1 if "while" in source else 60))
assert copy.run(["test_cell.py"]) == 0
"""


def test_each_defect_is_judged_by_tests_that_see_it_and_nothing_else(tmp_path: Path) -> None:
    """What a test notices is killed, what none notices survives, and what ends no test is neither; then all is whole.

    The sources are of one size: a compiled module could be taken for another's. The command has a `probe` of its own.
    """
    sources = {"C = 2": "killed", "C = 1": "survived", "D = 1": "exit 2", "C = 3": "killed"}
    endless = "while 1:\n    pass"
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "probe.py").write_text("C = 0")
    (tmp_path / "test_cell.py").write_text("from probe import C\n\n\ndef test_c():\n    assert C in (0, 1)\n")
    command = [sys.executable, "-c", WORKSHOP, str(tmp_path), *sources, endless]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.split("\n") == [*sources.values(), "timed out", ""], done.stderr
    assert (tmp_path / "probe.py").read_text() == "C = 0"
