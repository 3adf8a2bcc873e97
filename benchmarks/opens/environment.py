"""An environment of its own for each family of networks, made once by pip under `build/opens/` and used again."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

import probe

from .cases import ROOT, cases_of

FOLDER = ROOT / "build" / "opens"


def python_of(family: str) -> Path:
    """Return the Python that has a family's packages; see `python_with`."""
    return python_with(family, *sorted({one for case in cases_of(family) for one in case.requirement.split()}))


@functools.cache
def python_with(name: str, *wanted: str) -> Path:
    """Return the Python of an environment that has packages, after installing them if they are not there yet.

    What this Python has already, such as torch, is borrowed and not installed again. There, this checkout has the
    entry points that its pyproject.toml has now.

    Args:
        name: the environment's name.
        *wanted: what `pip install` is told.

    Raises:
        subprocess.CalledProcessError: pip cannot install them, for instance without a network.
    """
    folder = FOLDER / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "installed.txt"
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8").split() == list(wanted)):
        _make(folder, python, wanted)
        _ = stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    _name_adapters(_packages_of(python))
    return python


def _packages_of(python: Path) -> Path:
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())


def _name_adapters(packages: Path) -> None:
    """Write what an install of this checkout would say of its adapters; the borrowed one may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = packages / f"rnn_probe-{probe.__version__}.dist-info"
    said.mkdir(exist_ok=True)
    _ = (said / "METADATA").write_text(f"Name: {project['name']}\nVersion: {probe.__version__}\n", encoding="utf-8")
    adapters = project["entry-points"]["rnn_probe.adapters"].items()
    lines = ["[rnn_probe.adapters]", *(f"{name} = {adapter}" for name, adapter in adapters)]
    _ = (said / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _make(folder: Path, python: Path, wanted: Sequence[str]) -> None:
    """Make an environment that borrows what this Python has, and install what is wanted."""
    sys.stderr.write(f"Installing {', '.join(wanted)} once, into build/opens/{folder.name} ...\n")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # A path in a .pth file comes last: what the family needs in another version comes before it.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    _ = (_packages_of(python) / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n", encoding="utf-8")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
