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
from probe.explorer.networks import double_of, embed
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


@pytest.mark.parametrize(
    ("every", "edits", "values"),
    [pytest.param(8, 2, 150_000, id="some"), pytest.param(1, 200, 500_000, id="all", marks=pytest.mark.exhaustive)],
)
def test_the_page_runs_every_string_under_every_edit_as_python_does(
    every: int, edits: int, values: int, node: str, tmp_path: Path
) -> None:
    """All 1,024 strings under at least 200 edits of an LSTM, a GRU, an RNN and a stack: 1e-12, no other answer.

    Of these `some` are every eighth string under each kind of edit at each signal, and under several edits together.
    """
    strings = golden_runs.every_string()[::every]
    chosen = golden_runs.golden_networks()[:4]
    sources = golden_runs.every_string()[3::128]
    runs = golden_runs.write(tmp_path, chosen, strings, sources, edits=edits, full=True, seed=0)
    found = compared(node, tmp_path)
    assert found["runs"] == runs >= 4 * edits * len(strings)
    assert found["values"] > values
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


@pytest.mark.parametrize(
    "every", [pytest.param(5, id="some"), pytest.param(1, id="all", marks=pytest.mark.exhaustive)]
)
def test_the_committed_sample_is_what_python_gives(every: int) -> None:
    """Its edits, read from their JSON, give its numbers: the page is compared with no older Python."""
    golden = json.loads((golden_runs.COMMITTED / "runs.json").read_text())
    networks = golden_runs.golden_networks()
    assert [embed(network) for network in networks] == golden["networks"]
    doubles = [double_of(network) for network in networks]
    assert len(golden["cases"]) * len(golden["strings"]) >= 2000
    expected = np.fromfile(golden_runs.COMMITTED / "runs.f64", "<f8")
    place, compared_with = 0, set()
    for number, case in enumerate(golden["cases"]):
        which = case["network"]
        size = len(golden["strings"]) * (golden["networks"][which]["scores"] + 1)
        place += size
        if number % every:
            continue
        compared_with.add(which)
        x = golden_runs.encoded(golden["strings"], networks[which].layers[0].inputs)
        edits = [probe.Edit.from_json(text) for text in case["edits"]]
        found = golden_runs.numbers(doubles[which], networks[which].layers, x, edits, full=False)
        wanted = expected[place - size : place]
        assert np.frombuffer(found, "<f8") == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)
    assert compared_with == set(range(len(networks)))
    assert place == len(expected)
