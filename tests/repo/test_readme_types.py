"""README's lines pass two type checkers, as they come to whoever installs the package, and have precise types."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.repo.docs_blocks import ROOT, blocks

#: What values of README's names are, exactly.
EXACT = """
from typing import assert_type

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from probe.probes.reading import Reading

assert_type(after, probe.Recording)
assert_type(after["cell_state"], torch.Tensor)
assert_type(after["[0]", "cell_state"], torch.Tensor)
assert_type(after.plot.against(ones), Figure)
assert_type(after.plot.against(ones, units=3), Axes)
assert_type(after.plot.traces(), Figure)
assert_type(probe.plots.traces(after, units=[3, 4]), Axes | Figure)
assert_type(probe.linear_probe(after, ones), Reading)
assert_type(probe.linear_probe(after, ones)["cell_state"], Reading)
"""
#: The control arm: each line is wrong.
WRONG = """
after.plot.against(ones, nam="ones")
after.plot.against(ones, units=3).savefig("cells.png")
probe.recrod(lstm, bits)
after[3]
probe.load(3)
"""


def pyright(folder: Path) -> set[tuple[str, int]]:
    """Return the files and lines of a folder that basedpyright finds fault with, at its standard."""
    settings = {"include": ["."], "typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    words = ["-m", "basedpyright", "-p", str(folder), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=600, check=False)
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len([*folder.glob("*.py")])
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in said["generalDiagnostics"]}


def mypy(folder: Path) -> set[tuple[str, int]]:
    """Return those that mypy finds fault with, where the package stands among those that are installed."""
    words = ["-m", "mypy", "--config-file=", "--cache-dir", str(folder / "cache"), "--no-error-summary"]
    files = [file.name for file in folder.glob("*.py")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    given: dict[str, Any] = {"cwd": folder, "env": os.environ | {"PYTHONPATH": path}, "timeout": 600}
    done = subprocess.run([sys.executable, *words, *files], capture_output=True, text=True, check=False, **given)
    assert done.stderr == ""
    found = re.findall(r"^(\S+\.py):(\d+): error", done.stdout, flags=re.MULTILINE)
    return {(name, int(line)) for name, line in found}


CHECKERS = [
    pyright,
    pytest.param(
        mypy,
        marks=[
            pytest.mark.exhaustive,
            pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed, which checks the lines"),
        ],
    ),
]


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: check.__name__)
def test_readme_passes_a_type_checker(check: Callable[[Path], set[tuple[str, int]]], tmp_path: Path) -> None:
    """No line of README is refused, values have the types that its reader needs, and wrong lines are found."""
    code = "\n".join(block.code for block in blocks((ROOT / "README.md").read_text()) if block.language == "python")
    for name, more in (("readme", ""), ("exact", EXACT), ("wrong", WRONG)):
        (tmp_path / f"{name}.py").write_text(code + more)
    first = code.count("\n") + 1
    lines = range(first + 1, first + WRONG.count("\n"))
    assert check(tmp_path) == {("wrong.py", line) for line in lines}
