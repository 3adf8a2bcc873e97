"""Values in a real notebook: executed, converted with Jupyter's own dark style, opened in Chromium."""

from __future__ import annotations

import re
from pathlib import Path

from nbconvert import HTMLExporter
from nbformat import v4
from notebooks import execute

from tests.browser.tools import run

NEEDS = ("Chromium", "ipykernel", "nbconvert")
CELLS = [
    """
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
    """
from probe.studies.progress import shown
from probe.studies.progress import Progress

with shown() as tell:
    for place in (1, 2):
        tell(Progress("<gates>", place, 2, "answered"))
probe.inspect(model)
""",
    'Page("A page", "Its lead.", [Section("Rows", [Table(["a"], [[1]], "One row.")], "rows")])',
    'Explorer([ExplorerNetwork("a small one", nn.LSTM(1, 4))], "0110", {"0": 0.0, "1": 1.0})',
]
WORDS = [
    ["Recording of 2 calls", "<img src=x onerror=alert(1)>[0]: 2 x 40 x 12 (batch, time, unit)"],
    ["2 recurrent layers with 2,064 parameters in all"],
    ["Its lead."],
    ["a small one"],
]


def test_every_value_is_seen_and_violates_nothing(tmp_path: Path) -> None:
    """Two tables in the notebook's own style, two pages in frames; axe finds nothing, a phone scrolls tables.

    A frame is about as tall as its page, and the explorer runs in it, although no address can be written.
    """
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source.strip()) for source in CELLS])
    _ = execute(notebook, tmp_path)
    html, _ = HTMLExporter(template_name="lab", theme="dark").from_notebook_node(notebook)
    # Without the scripts that its template gets from a CDN.
    head, body = html.split("<body", 1)
    head = re.sub(r"<script.*?</script>", "", head, flags=re.DOTALL)
    page = tmp_path / "dark.html"
    page.write_text(f"{head}<body{body}", encoding="utf-8")
    # A bar is drawn anew in its place.
    assert re.findall(r"<progress.* value=.(\d).*> 2/2, \d+ s: (.*)", body) == [("2", "&lt;gates&gt;: answered")]
    found = run("notebook.mjs", page)
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])
    assert [each["frame"] for each in found["shown"]] == [False, False, True, True]
    assert [each["sandbox"] for each in found["shown"][2:]] == ["", "allow-scripts"]
    assert all(each["width"] > 600 and each["height"] > 100 for each in found["shown"])
    for each, words in zip(found["shown"], WORDS, strict=True):
        assert [one for one in words if one not in each["words"]] == []
    assert (found["columns"], found["axe"], found["wider"]) == (["start"], [], 0)
    for each in found["shown"][2:]:
        assert each["overflow"] <= 0 <= each["content"] - 0.6 * each["height"]
    small, used = found["shown"][2], found["used"]
    assert small["content"] <= 1.1 * small["height"]
    assert (used["address"], used["typed"] != used["before"]) == ("SecurityError", True)
    assert used["selected"]
