"""Values in a real notebook: executed, converted with Jupyter's own light and dark style, opened in Chromium."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.tools import ROOT, run

NEEDS = ("Chromium", "ipykernel", "nbconvert")
JUPYTER = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
CELLS = [
    """
import pandas as pd
import torch
from torch import nn

import probe
from probe.explorer import Explorer, ExplorerNetwork
from probe.report import Page, Section, Table

_ = torch.manual_seed(0)
model = nn.Sequential()
model.add_module("</script><img src=x onerror=alert(1)>", nn.LSTM(3, 12, num_layers=2))
recording = probe.record(model, torch.randn(40, 2, 3))
recording
""",
    "probe.inspect(model)",
    """
from probe.evidence import DataFigure, Range, Rule, judge
from probe.plots.style import new_figure

figure, axes = new_figure()
_ = axes[0, 0].plot([0, 1, 2], [0, 1, 4])
words = {"title": "</script><img src=x onerror=alert(2)>", "alt": "A curve.", "caption": "Squares."}
drawn = DataFigure.from_figure(figure, name="line", data=pd.DataFrame({"x": [0, 1, 2], "y": [0, 1, 4]}), **words)
rule = Rule("1", "It counts.", "m", "share", "a test", Range.at_least(0.5), Range.at_most(0.1), needs=6)
table = pd.DataFrame({"network": list("abcdefgh"), "pair": list("01234567")}).assign(role="trained")
table = table.assign(metric="m", signal="", value=0.9)
probe.Finding("counting", "Does it count?", table, judge(table, [rule]), (drawn,), {"code": "abc"}, {"a": "b"})
""",
    'Page("A page", "Its lead.", [Section("Rows", [Table(["a"], [[1]], "One row.")], "rows")])',
    'Explorer([ExplorerNetwork("a small one", nn.LSTM(1, 4))], "0110", {"0": 0.0, "1": 1.0})',
]
WORDS = [
    ["Recording of 2 calls", "<img src=x onerror=alert(1)>[0]: 2 x 40 x 12 (batch, time, unit)"],
    ["2 recurrent layers with 2,064 parameters in all"],
    ["Of 1 claim: 1 established."],
    ["Its lead."],
    ["a small one"],
]


def convert(path: Path, *options: str) -> None:
    """Run nbconvert on a notebook."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "nbconvert", *options, str(path)]
    # Neither kernels nor settings of who runs the tests, and nothing left in their folders.
    own = {name: str(path.parent / "jupyter") for name in JUPYTER}
    environment = {**os.environ, **own, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the executed notebook."""
    path = tmp_path_factory.mktemp("notebook") / "values.ipynb"
    empty = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    cells = [empty | {"id": f"cell-{place}", "source": source.strip()} for place, source in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(made), encoding="utf-8")
    convert(path, "--to", "notebook", "--execute", "--inplace")
    return path


@pytest.fixture(scope="module", params=["light", "dark"])
def found(request: pytest.FixtureRequest, notebook: Path) -> dict[str, Any]:
    """Return how the values show themselves in a theme, without the scripts that its template gets from a CDN."""
    theme = request.param
    convert(notebook, "--to", "html", "--template", "lab", "--theme", theme, "--output", theme)
    page = notebook.with_name(f"{theme}.html")
    head, body = page.read_text(encoding="utf-8").split("<body", 1)
    head = re.sub(r"<script.*?</script>", "", head, flags=re.DOTALL)
    page.write_text(f"{head}<body{body}", encoding="utf-8")
    return run("notebook.mjs", page)


def test_every_value_is_seen_and_violates_nothing(found: dict[str, Any]) -> None:
    """Three tables in the notebook's own style, two pages in frames; axe finds nothing, a phone scrolls tables."""
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])
    assert [each["frame"] for each in found["shown"]] == [False, False, False, True, True]
    assert [each["sandbox"] for each in found["shown"][3:]] == ["", "allow-scripts"]
    assert all(each["width"] > 600 and each["height"] > 100 for each in found["shown"])
    for each, words in zip(found["shown"], WORDS, strict=True):
        assert [one for one in words if one not in each["words"]] == []
    assert (found["columns"], found["axe"], found["wider"]) == (["start"], [], 0)


def test_a_frame_is_about_as_tall_as_its_page(found: dict[str, Any]) -> None:
    """A page that fits is neither cut off by much nor followed by an empty screen, and nothing is too wide."""
    for each in found["shown"][3:]:
        assert each["overflow"] <= 0
        assert each["content"] >= 0.6 * each["height"]
    small = found["shown"][3]
    assert small["content"] <= 1.1 * small["height"]


def test_the_explorer_runs_in_its_frame(found: dict[str, Any]) -> None:
    """Typing changes what it says, although no address can be written; the code is selected to copy by hand."""
    used = found["used"]
    assert used["address"] == "SecurityError"
    assert used["typed"] != used["before"]
    assert used["selected"]
