"""What a newcomer does first: the lines of README, warnings being errors, and what they leave behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.probes.reading import Reading
from tests.repo.docs_blocks import ROOT, blocks, run


def of_cells(names: dict[str, Any], how: Any, *signals: str) -> list[dict[str, Any]]:
    """Return what a reading with README's controls says of the cell state, or of other signals."""
    reading = how(names["after"], names["ones"], controls=names["controls"], signals=signals or ["cell_state"])
    assert (type(reading), "nan" in repr(reading).lower()) == (Reading, False)
    return [{str(name): value for name, value in row.items()} for row in reading.summary.to_dict("records")]


def test_readme_has_the_main_job_in_few_lines_and_what_it_says_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, record, plot, probe, edit, study: 27 lines, and no import from inside the package.

    No cell holds the count, all of them do, random weights as well, and an edit along the probe arrives. Its page has
    no nan in a word or a number, runs the network, and every count has its label beside the states.
    """
    readme = (ROOT / "README.md").read_text()
    (code,) = [block.code for block in blocks(readme) if block.run]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 27
    imports = re.findall(r"^(?:import|from) .*$", code, flags=re.MULTILINE)
    assert imports == ["import itertools", "import torch", "import probe"]
    monkeypatch.chdir(tmp_path)
    names = run("README.md", readme, tmp_path)
    (within, one_map), (together,) = of_cells(names, probe.single_units), of_cells(names, probe.linear_probe)
    assert within["verdict"] == one_map["verdict"] == together["verdict"] == "not specific"
    assert 0.6 < one_map["score"] < 0.7  # two of three states
    assert min(together["score"], together["its score"]) > 0.95
    gates = of_cells(names, probe.single_units, "input_gate", "forget_gate", "output_gate")
    assert {row["verdict"] for row in gates if row["how"] == "within steps"} == {"above every control"}
    before, after = names["answers"]
    assert 0.5 < after - before < 1.1
    page = (tmp_path / "report/index.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="explorer-data">(.*?)</script>', page, flags=re.DOTALL)
    (network,) = json.loads(data)["networks"]
    assert (network["layers"][0]["units"], network["scores"]) == (12, 1)
    visible = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert re.findall(r"(?i)(?<![a-z])nan(?![a-z])", re.sub(r"<[^>]+>", " ", visible)) == []
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    (states,) = [figure for figure in figures if "The states along the two directions" in figure]
    assert set(map(str, range(11))) <= set(re.findall(r">(\d+)</text>", states))
    assert (tmp_path / "cells.png").stat().st_size > 10_000
