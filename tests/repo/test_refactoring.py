"""What a change of the code does to what was measured: nothing where no value changes, a loud error otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from probe import Finding

REPOSITORY = Path(__file__).parents[2]
#: A counter with its controls, planted networks, and networks of another recipe: every question is asked of some.
FEW = """
import json
from dataclasses import replace
from analyses.counter import study
from probe.studies.run import plan
study.SECOND_JUDGED = replace(study.SECOND_JUDGED, seeds=range(2000, 2001))
study.FIRST = [each for each in study.FIRST if each.recipe == "code-signed"]
"""
#: Prints which questions are to be measured again of each network.
MISSING = f"""{FEW}
found = {{}}
for part in ("judged", "recipes"):
    made = study.STUDIES[part]()
    for call in plan(made, study.FOLDER / f"{{part}}.csv.xz", study.FOLDER).calls:
        asked = [one.name for one in call.questions if one.why_not(call.subjects[0]) is None]
        found[call.member] = [name for name in asked if name not in call.held.tables]
print(json.dumps(found))
"""
#: A report about a network of one's own, into the folder that it is given; prints which questions were taken up
#: again.
REPORT = """
import sys, torch, probe
torch.manual_seed(0)
told = []
x = torch.randint(0, 2, (40, 5, 1)).float()
ones = x[:, :, 0].cumsum(1).long().numpy()
study = probe.Study(torch.nn.GRU(1, 3, batch_first=True), x, {"ones": ones})
study.run(sys.argv[1], progress=told.append)
print(*(f"{one.question} {one.state}" for one in told if one.state != "started"))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the checkout's code and measurements."""
    for name in ("probe", "models", "analyses", "reports"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy: Path, program: str, *arguments: str) -> str:
    """Run a program against the copy's code and return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file, everywhere."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_refactoring_makes_no_measurement_stale(copy: Path, tmp_path: Path) -> None:
    """A word of a message, a module's name, a local variable: nothing is asked for, a report is taken up."""
    report = str(tmp_path / "report")
    first = run(copy, REPORT, report).splitlines()[0].split()
    assert "answered" in first
    assert "kept" not in first
    change(copy / "probe/hooks/streaming.py", "gave values of shape", "had values of shape")
    (copy / "probe/storage/nested.py").rename(copy / "probe/storage/nests.py")
    for name in ("recording/reading.py", "recording/writing.py", "hooks/streaming.py"):
        change(copy / "probe" / name, "from ..storage.nested import", "from ..storage.nests import")
    old = "indices = as_numbers(name, value)\n    if not indices or len(set(indices)) != len(indices):"
    change(copy / "probe/recurrent/signals.py", old, old.replace("indices", "places"))
    change(
        copy / "probe/recurrent/signals.py", 'them twice.")\n    return indices', 'them twice.")\n    return places'
    )
    again, missing = run(copy, REPORT + MISSING, report).splitlines()
    assert set(map(tuple, json.loads(missing).values())) == {()}
    states = dict(zip(again.split()[::2], again.split()[1::2], strict=True))
    found = {name: Finding.read(tmp_path / "report" / "findings" / name) for name in states}
    # What was not asked is tried again.
    assert {name for name, state in states.items() if state == "kept"} == {
        name for name, finding in found.items() if len(finding.measurements)
    }
