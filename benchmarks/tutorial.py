"""Follows docs/tutorial.md word by word in an empty environment, and says how long each part takes.

    make wheel
    python -m benchmarks.tutorial dist/rnn_probe-*.whl

The one word that is changed is the package's name in `pip install rnn-probe`, which becomes the wheel's path. What
the blocks print is not compared here: tests/repo/test_docs.py does that.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.repo.docs_blocks import ROOT, blocks, shell

INSTALL = "pip install rnn-probe"


def environment(folder: Path) -> dict[str, str]:
    """Return what a reader's shell has after `. venv/bin/activate`, and nothing of this interpreter's.

    Args:
        folder: the reader's.
    """
    own = ("PYTHON", "VIRTUAL_ENV", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    here = Path(sys.executable).parent
    others = [path for path in kept["PATH"].split(os.pathsep) if Path(path) != here]
    return kept | {"PATH": os.pathsep.join([str(folder / "venv/bin"), *others]), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def follow(text: str, wheel: Path, folder: Path) -> list[tuple[str, float]]:
    """Follow the page in an empty folder, and return each shell block's last line with its seconds.

    Args:
        text: of the page.
        wheel: what is installed.
        folder: where its reader stands.
    """
    times: list[tuple[str, float]] = []
    for block in blocks(text):
        if block.title:
            (folder / block.title).write_text(block.code, encoding="utf-8")
        if block.language != "sh":
            continue
        code = block.code.replace(INSTALL, f"pip install --quiet {wheel}")
        start = time.perf_counter()
        _ = shell(code, folder, environment(folder), timeout=1_200)
        times.append((block.code.strip().splitlines()[-1], time.perf_counter() - start))
    return times


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.resolve()
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    if not re.search(rf"^{INSTALL}$", text, flags=re.MULTILINE):
        raise SystemExit(f"docs/tutorial.md has no line {INSTALL!r}")
    with tempfile.TemporaryDirectory() as folder:
        times = follow(text, wheel, Path(folder))
    for line, seconds in times:
        sys.stdout.write(f"{seconds:6.1f} s  {line}\n")
    sys.stdout.write(f"{sum(seconds for _, seconds in times):6.1f} s  in all\n")


if __name__ == "__main__":
    main()
