"""What a change of the code does to what was measured: nothing where no value changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
#: Prints which questions are to be measured again of a counter with its controls, of planted networks, and of another
#: recipe: every question is asked of some.
MISSING = """
import json
from dataclasses import replace
from analyses.counter import study
from probe.studies.run import plan
study.SECOND_JUDGED = replace(study.SECOND_JUDGED, seeds=range(2000, 2001))
study.FIRST = [each for each in study.FIRST if each.recipe == "code-signed"]
found = {}
for part in ("judged", "recipes"):
    made = study.STUDIES[part]()
    for call in plan(made, study.FOLDER / f"{part}.csv.xz", study.FOLDER).calls:
        asked = [one.name for one in call.questions if one.why_not(call.subjects[0]) is None]
        found[call.member] = [name for name in asked if name not in call.held.tables]
print(json.dumps(found))
"""


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file, everywhere."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_refactoring_makes_no_measurement_stale(tmp_path: Path) -> None:
    """A word of a message, a module's name, a local variable: nothing is asked for again."""
    for name in ("probe", "models", "analyses", "reports"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    change(tmp_path / "probe/hooks/streaming.py", "gave values of shape", "had values of shape")
    (tmp_path / "probe/storage/nested.py").rename(tmp_path / "probe/storage/nests.py")
    for name in ("recording/reading.py", "recording/writing.py", "hooks/streaming.py"):
        change(tmp_path / "probe" / name, "from ..storage.nested import", "from ..storage.nests import")
    signals = tmp_path / "probe/recurrent/signals.py"
    old = "indices = as_numbers(name, value)\n    if not indices or len(set(indices)) != len(indices):"
    change(signals, old, old.replace("indices", "places"))
    change(signals, 'them twice.")\n    return indices', 'them twice.")\n    return places')
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", MISSING]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout)
    assert {"counter/seed-2000", "planted/ones"} < set(missing)
    assert set(map(tuple, missing.values())) == {()}
