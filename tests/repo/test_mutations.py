"""The mutations of `benchmarks/mutations.py`: each is found at exactly one place."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.mutants import CORE, MutationError, generated, mutants_of, written
from benchmarks.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]


def test_every_mutation_stands_at_one_place_of_todays_source() -> None:
    """Whoever moves the code takes its mutation along: none may match nothing, or several places."""
    assert len(written(MUTATIONS)) == len(MUTATIONS) >= 40


def test_every_mutation_has_a_name_of_its_own_and_tests_that_exist() -> None:
    """What must notice is a file of tests in the checkout."""
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS)
    named = [one.test.partition("::")[::2] for one in MUTATIONS]
    assert [test for test, name in named if f"def {name}" not in (ROOT / test).read_text(encoding="utf-8")] == []
    assert all((ROOT / test).is_file() for tests in CORE.values() for test in tests.split())


def test_every_misfit_is_named_at_once() -> None:
    """One that matches nothing fails a run of all the others, and hides no second one."""
    lost = [
        Mutation(name, "probe.evidence.intervals", old, "0", "") for name, old in (("one", "0.123"), ("two", "def"))
    ]
    with pytest.raises(MutationError, match=r"'one'.* 0 times(?s:.*)'two'.* \d times"):
        _ = written([*MUTATIONS[:3], *lost])


def test_generated_mutants_are_drawn_by_the_seed_and_change_what_runs() -> None:
    """The same seed gives the same mutants, each another program; what an annotation says is left alone."""
    source = "def half(x: int | None, *, y: int = 2) -> int | None:\n    return x and x / y\n"
    found, again, other = (list(mutants_of(source, random.Random(seed))) for seed in ("a", "a", "b"))
    assert found == again != other
    assert len({changed for _, changed in found} - {source}) == len(found) >= 3
    assert all(name.startswith(("line 1: ", "line 2: ")) for name, _ in found)
    for _, changed in found:
        assert "x: int | None, *, y: int = " in changed
        assert "-> int | None:" in changed


def test_generated_mutants_are_of_each_module_in_turn_and_judged_by_its_tests() -> None:
    """The files of tests are those that are known of it."""
    files = ["probe/evidence/intervals.py", "probe/evidence/claims.py"]
    found = list(islice(generated(files, random.Random(0)), 4))
    assert sorted(defect.file for defect in found) == sorted(files * 2)
    assert {defect.file: defect.tests for defect in found} == {
        "probe/evidence/intervals.py": ("tests/wheel/test_statistics.py",),
        "probe/evidence/claims.py": ("tests/wheel/test_claims.py",),
    }


WORKSHOP = """
import sys
from itertools import islice
from pathlib import Path

import pytest  # once, for every run that is forked

from benchmarks.mutants import Defect, Workshop

copy = Workshop(Path(sys.argv[1]))
assert copy.run(["test_cell.py"], keep=True) == 0
for source in sys.argv[2:]:
    defect = Defect("a defect", "cell.py", source, ("test_cell.py",))
    print(copy.judge(defect, timeout=1 if "while" in source else 60))
assert copy.run(["test_cell.py"]) == 0
"""


def test_each_defect_is_judged_by_tests_that_see_it_and_nothing_else(tmp_path: Path) -> None:
    """What a test notices is killed, what none notices survives, and what ends no test is neither; then all is whole.

    The sources are of one size, so that a compiled module of one could be taken for another's.
    """
    sources = {"C = 2": "killed", "C = 1": "survived", "D = 1": "exit 2", "C = 3": "killed"}
    endless = "while 1:\n    pass"
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "cell.py").write_text("C = 0")
    (tmp_path / "test_cell.py").write_text("from cell import C\n\n\ndef test_c():\n    assert C in (0, 1)\n")
    command = [sys.executable, "-c", WORKSHOP, str(tmp_path), *sources, endless]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.split("\n") == [*sources.values(), "timed out", ""], done.stderr
    assert (tmp_path / "cell.py").read_text() == "C = 0"
