"""The wheel alone: what it holds, and that its own tests pass where there is no checkout.

This is the quick form, which borrows the dependencies of the development environment; .ci/run installs them.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Quick tests that load the package, its data files and its entry point.
QUICK = ("test_bare.py", "test_import_is_light.py", "test_files.py", "test_signals.py", "test_edit_errors.py")


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
    """One import package, its data files and the licence; no tests, no models."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "probe" in tops
    (info,) = tops - {"probe"}
    assert info.endswith(".dist-info")
    assert f"{info}/licenses/LICENSE" in names
    assert f"{info}/entry_points.txt" in names
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "probe"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    assert {name for name in names if name.startswith("probe/")} == expected
    assert "probe/py.typed" in names
    assert any(name.startswith("probe/report/templates/") for name in names)


def test_an_ini_parser_reads_every_entry_point(wheel: Path) -> None:
    """A colon in a name ends it for Python's own parser, which then meets one name twice and refuses the file."""
    with zipfile.ZipFile(wheel) as archive:
        (file,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(file).decode()
    parser = configparser.ConfigParser()
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] (names keep their capitals)
    parser.read_string(text)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {group: dict(parser[group]) for group in declared} == declared


def test_the_wheel_passes_its_tests_without_the_source(clean_python: Path, tmp_path: Path) -> None:
    """Copied away from the checkout, the tests import the wheel's `probe` and pass."""
    tests = tmp_path / "tests"
    shutil.copytree(ROOT / "tests" / "wheel", tests, ignore=shutil.ignore_patterns("__pycache__"))
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


def test_the_packages_of_the_checkout_are_absent(clean_python: Path, tmp_path: Path) -> None:
    """The control arm: `models`, `analyses` and `reports` cannot be imported in the clean room."""
    code = (
        "import importlib.util as u; print([n for n in ('models', 'analyses', 'reports', 'tests') if u.find_spec(n)])"
    )
    done = subprocess.run(
        [clean_python, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_ci_runs_the_tests_of_every_folder() -> None:
    """Those of the wheel in the clean room, all others at the end, also those of a folder that is added later."""
    ci = (ROOT / ".ci" / "run").read_text()
    found = re.search(r'^tests\(\) \{ make coverage ONLY="(.*)"; \}$', ci, re.MULTILINE)
    assert found is not None
    assert shlex.split(found[1]) == ["tests", "--ignore=tests/wheel"]
