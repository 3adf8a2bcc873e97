"""The page of a study in a real Chromium: it keeps every bar of a page, with a network in it and without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probe import Concept, Readout, Study
from tests.browser.tools import hard_to_read

HERE = Path(__file__).resolve().parent
STANDARD_BYTES = 500_000


def missing() -> str | None:
    """Return what the tests lack here, and how to get it."""
    if shutil.which("node") is None:
        return "node is not installed; install Node.js 20 or later"
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        return "tests/browser/node_modules is missing; run `make browser`"
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if shutil.which(chromium) is None:
        return f"there is no Chromium at {chromium}; install the package `chromium` or set CHROMIUM"
    return None


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    reason = missing()
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI must run the browser tests, but {reason}")
    if reason:
        pytest.skip(reason)


def check(path: Path) -> dict[str, Any]:
    """Return what the checker finds on a page."""
    command = ["node", str(HERE / "check_page.mjs"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def study(kind: Any, units: int, layers: int, *, readout: bool) -> Study:
    """Return a study of an untrained network with a number and a category as concepts."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).integers(0, 2, (120, 9, 1)).astype(np.float32)
    concepts = {
        "ones": lambda one: np.cumsum(one[:, 0]),
        "<last> & first": Concept(lambda one: ["both" if step[0] == one[0, 0] == 1 else "not both" for step in one]),
    }
    head = Readout("ones", function=nn.Linear(units, 10)) if readout else None
    return Study(
        kind(1, units, layers, batch_first=True), x, concepts, readout=head, programs={"sum": sum} if readout else {}
    )


@pytest.mark.parametrize(
    "given",
    [study(nn.LSTM, 12, 2, readout=True), study(nn.RNN, 300, 1, readout=False)],
    ids=["with readout and explorer", "without both"],
)
def test_the_page_of_a_study_passes_every_check(given: Study, tmp_path: Path) -> None:
    """No request, message or violation, nothing cut off, letters that a phone shows, and less than 500 kB."""
    given.run(tmp_path)
    report = check(tmp_path / "index.html")
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert report["bytes"] < STANDARD_BYTES
    assert hard_to_read(tmp_path / "index.html") == []
