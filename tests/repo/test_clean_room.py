"""The wheel alone, the mutations, and the processes that share the tests.

- The wheel alone: what it holds, and that its own tests pass where there is no checkout. This is the quick form,
  which borrows the dependencies of the development environment; .ci/run installs them.
- The mutations of `benchmarks/mutations.py`: each is found at exactly one place.
- Where processes share the tests, a file's tests stay in one of them: what a module makes is made once.
"""

from __future__ import annotations

import configparser
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from benchmarks.mutants import CORE, MutationError, mutants_of, written
from benchmarks.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
#: Quick tests that load the package, its data files and its entry point.
QUICK = (
    "command_line/test_import_is_light.py",
    "edits/test_files.py",
    "edits/test_errors.py",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without isolation, which needs no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an empty environment that holds the wheel and borrows its dependencies."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # A path in a .pth file comes last, and the .pth files that lie there are not read: the editable install of
    # the checkout stays out.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(where.stdout.strip()) / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return python


def environment() -> dict[str, str]:
    """Return the environment without what would put the checkout on the path, or measure coverage there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE"))}


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    """One import package, its data files, the licence and every entry point; no tests, no models."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "probe" in tops
    (info,) = tops - {"probe"}
    assert info.endswith(".dist-info")
    assert f"{info}/licenses/LICENSE" in names
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "probe"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    assert {name for name in names if name.startswith("probe/")} == expected
    # A colon in a name ends it for Python's own parser, which then meets one name twice and refuses the file.
    parser = configparser.ConfigParser()
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] (names keep their capitals)
    parser.read_string(zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt").decode())
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {group: dict(parser[group]) for group in declared} == declared


def test_the_wheel_passes_its_tests_without_the_source(clean_python: Path, tmp_path: Path) -> None:
    """Copied away from the checkout, the tests import the wheel's `probe` and pass."""
    tests = tmp_path / "tests"
    elsewhere = shutil.ignore_patterns("__pycache__", "repo", "browser", "data")
    shutil.copytree(ROOT / "tests", tests, ignore=elsewhere)
    (tests / "helpers" / "wheel.ini").rename(tests / "pytest.ini")
    where = subprocess.run(
        [clean_python, "-c", "import probe, sys; print(probe.__file__); print(*sys.path, sep='\\n')"],
        cwd=tests,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    location, *path = where.stdout.splitlines()
    assert Path(location).is_relative_to(clean_python.parents[1])
    assert str(ROOT) not in path
    done = subprocess.run(
        [clean_python, "-m", "pytest", "-q", *QUICK, "-p", "no:cacheprovider"],
        cwd=tests,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_ci_runs_the_tests_of_every_folder() -> None:
    """Rooms in the clean room, also one that is added later, and at the end the two folders that it leaves out."""
    ci = (ROOT / ".ci" / "run").read_text()
    left = re.search(r'grep -vxE "tests/\((.*)\)"', ci)
    found = re.search(r'^tests\(\) \{ make test CHECKED=1 ONLY="(.*)"; \}$', ci, re.MULTILINE)
    assert left is not None
    assert found is not None
    assert {*found[1].split(), "tests/data"} == {f"tests/{name}" for name in left[1].split("|")}


def test_every_mutation_stands_at_one_place_of_todays_source() -> None:
    """Whoever moves the code takes its mutation along; each has a name of its own and tests that exist."""
    assert len(written(MUTATIONS)) == len(MUTATIONS) >= 40
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
