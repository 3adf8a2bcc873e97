"""Tries the networks of packages that adapters open, and writes docs/opens.md.

    python -m benchmarks.opens [FAMILY ...] [--install] [--out docs/opens.md]

A family is a file `of_NAME.py` in this folder. A network whose package is not installed keeps its row; `--install`
installs each family's packages in an environment of its own, under build/opens/, and tries them there.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from probe.command_line.shell import check, command, run

from . import page
from .cases import PAGE, ROOT, cases_of, families

app = command("python -m benchmarks.opens")


@app.default
def main(*family: str, install: bool = False, out: Path = PAGE) -> int:
    """Try the networks of packages that adapters open, and write the page; the exit code is 1 where one failed.

    Args:
        family: which ones, a file of_NAME.py in this folder each; all unless given.
        install: install each family's packages in an environment of its own, and try them there.
        out: the page.
    """
    check("family", family, families())
    chosen = family or families()
    if install:
        return max(_tried_elsewhere(one, out) for one in chosen)
    return max(_tried(one, out) for one in chosen)


def _tried_elsewhere(family: str, out: Path) -> int:
    from .environment import python_of

    command = [python_of(family), "-m", "benchmarks.opens", family, "--out", out.resolve()]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _tried(family: str, out: Path) -> int:
    """Try a family's networks and write their rows; return 1 where one failed."""
    failed, rows = 0, page.read(out)
    for case in cases_of(family):
        try:
            _ = version(case.package)
        except PackageNotFoundError:
            sys.stderr.write(f"{case.network}: {case.package} is not installed; its row stays.\n")
            continue
        from .trials import tried

        try:
            rows[case.network] = tried(case)
            sys.stderr.write(f"{case.network}: {' | '.join(rows[case.network][1:])}\n")
        except Exception as error:  # noqa: BLE001 - whatever a package raises, the others are tried
            sys.stderr.write(f"{case.network}: {type(error).__name__}: {error}\n")
            failed = 1
    order = [case.network for one in families() for case in cases_of(one)]
    _ = out.write_text(page.written(rows, order), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(run(app))
