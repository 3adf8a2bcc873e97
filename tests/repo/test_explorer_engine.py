"""The page's engine against `probe.intervene`: the script that pages carry, run by node on golden files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probe
from probe.report.embedded import double_of, embed
from tests.repo import golden_runs

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def node() -> str:
    """Return node, or skip; where CI is set, its absence fails."""
    found = shutil.which("node")
    if found is None and os.environ.get("CI"):
        pytest.fail("CI must compare the page's engine with Python, but node is not installed")
    if found is None:
        pytest.skip("node is not installed; install Node.js 20 or later")
    return found


def compared(node: str, folder: Path) -> dict[str, Any]:
    """Return what the script's engine finds on a golden folder."""
    done = subprocess.run(
        [node, str(ROOT / "js" / "golden.mjs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_the_page_runs_every_string_under_every_edit_as_python_does(node: str, tmp_path: Path) -> None:
    """All 1,024 strings under at least 200 edits of an LSTM, a GRU, an RNN and a stack: 1e-12, no other answer."""
    strings = golden_runs.every_string()
    chosen = golden_runs.golden_networks()[:4]
    runs = golden_runs.write(tmp_path, chosen, strings, strings[3::128], edits=200, full=True, seed=0)
    found = compared(node, tmp_path)
    assert found["runs"] == runs >= 4 * 200 * 1024
    assert found["values"] > 500_000
    assert found["largest"] <= TOLERANCE
    assert found["largest_sum"] <= TOLERANCE
    assert found["answers"] == 0


def test_a_wrong_number_is_seen(node: str, tmp_path: Path) -> None:
    """The control arm: a weight that is off by one in its last places, and an answer exchanged, are found."""
    shutil.copytree(golden_runs.COMMITTED, tmp_path, dirs_exist_ok=True)
    numbers = np.fromfile(tmp_path / "runs.f64", "<f8")
    numbers[0] += 1e-10
    numbers[1:11] = numbers[10:0:-1]
    numbers.tofile(tmp_path / "runs.f64")
    found = compared(node, tmp_path)
    assert found["answers"] == 1
    assert found["largest"] > TOLERANCE


def test_the_committed_sample_is_what_python_gives() -> None:
    """Its edits, read from their JSON, give its numbers: the page is compared with no older Python."""
    golden = json.loads((golden_runs.COMMITTED / "runs.json").read_text())
    networks = golden_runs.golden_networks()
    assert [embed(network) for network in networks] == golden["networks"]
    doubles = [double_of(network) for network in networks]
    found = b"".join(
        golden_runs.numbers(
            doubles[case["network"]],
            networks[case["network"]].layers,
            golden_runs.encoded(golden["strings"], networks[case["network"]].layers[0].inputs),
            [probe.Edit.from_json(text) for text in case["edits"]],
            full=False,
        )
        for case in golden["cases"]
    )
    assert len(golden["cases"]) * len(golden["strings"]) >= 2000
    expected = np.fromfile(golden_runs.COMMITTED / "runs.f64", "<f8")
    assert np.frombuffer(found, "<f8") == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
