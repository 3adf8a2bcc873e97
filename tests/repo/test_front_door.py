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


def said(names: dict[str, Any], how: Any, *signals: str) -> list[dict[str, Any]]:
    """Return what a reading with the counter's controls says of signals."""
    reading = how(names["after"], names["ones"], controls=names["controls"], signals=signals)
    assert (type(reading), "nan" in repr(reading).lower()) == (Reading, False)
    return [{str(name): value for name, value in row.items()} for row in reading.summary.to_dict("records")]


def test_readme_begins_with_a_yes_and_what_it_says_of_the_counter_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that tells whether a bracket is open, swapped; then a counter, none of whose cells holds the count.

    The first verdict that README prints is a yes. No import is from inside the package. The counter's page has no nan
    in a word or a number, runs the network, and every count has its label beside the states.
    """
    readme = (ROOT / "README.md").read_text()
    yes, swapped, counter = (block for block in blocks(readme) if block.run)
    assert re.findall(r"((?:not )?above every control)$", yes.printed, flags=re.MULTILINE)[0] == "above every control"
    chances = {line.split(":")[0]: float(line[-5:]) for line in swapped.printed.splitlines()[1:]}
    told, used, whole = chances.values()
    assert "  9  " in yes.printed
    assert used - whole < 0.25 * (told - whole)
    imports = re.findall(r"^(?:import|from) .*$", yes.code + swapped.code + counter.code, flags=re.MULTILINE)
    assert imports == ["import torch", "import probe", "import copy", "import itertools"]
    monkeypatch.chdir(tmp_path)
    names = run("README.md", readme, tmp_path)
    within, one_map = said(names, probe.single_units, "cell_state")
    (together,) = said(names, probe.linear_probe, "cell_state")
    (hidden,) = said(names, probe.linear_probe, "hidden_state")
    assert within["verdict"] == one_map["verdict"] == together["verdict"] == "not above every control"
    assert hidden["verdict"] == "below every network"
    assert 0.6 < one_map["score"] < 0.7  # two of three states
    assert min(together["score"], together["its score"]) > 0.95
    gates = said(names, probe.single_units, "input_gate", "forget_gate", "output_gate")
    assert {row["verdict"] for row in gates if row["how"] == "within steps"} == {"above every control"}
    for question, rows in (("reading-ones-so-far", (together,)), ("best-unit-ones-so-far", (one_map,))):
        told = probe.Finding.read(tmp_path / "report/findings" / question).notes["answer"]
        for row in rows:
            control = f"best control {row['its score']:.3f} ({row['best control']}): {row['verdict']}."
            assert re.search(rf"{row['score']:.3f} \([^)]*\), {re.escape(control)}", told)
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
