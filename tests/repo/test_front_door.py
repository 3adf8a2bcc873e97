"""What a newcomer does first: the lines of README, warnings being errors, and what they leave behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import probe
from benchmarks.gallery import START, started
from probe.probes.reading import Reading
from tests.repo.docs_blocks import ROOT, blocks
from tests.repo.test_docs import alike, small

README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return the names that README's code leaves, and the folder in which it ran."""
    folder, names = tmp_path_factory.mktemp("newcomer"), dict[str, Any]()
    (code,) = [block.code for block in blocks(README) if block.run]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        exec(code, names)
    return names, folder


def of_cells(names: dict[str, Any], how: Any) -> list[dict[str, Any]]:
    """Return what a reading with README's controls says of the cell state."""
    reading = how(names["after"], names["ones"], controls=names["controls"], signals=["cell_state"])
    assert isinstance(reading, Reading)
    assert "nan" not in repr(reading).lower()
    return [{str(name): value for name, value in row.items()} for row in reading.summary.to_dict("records")]


def test_readme_has_the_main_job_in_few_lines() -> None:
    """Train, record, plot, probe, edit, study: 27 lines, and no import from inside the package."""
    (code,) = [block.code for block in blocks(README) if block.run]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 27
    assert re.findall(r"^(?:import|from) .*$", code, flags=re.MULTILINE) == [
        "import itertools",
        "import torch",
        "import probe",
    ]


def test_what_readme_says_of_its_network_follows_from_the_numbers(newcomer: tuple[dict[str, Any], Path]) -> None:
    """No cell holds the count, all of them do, random weights as well, and an edit along the probe arrives."""
    names, _ = newcomer
    (within, one_map), (together,) = of_cells(names, probe.single_units), of_cells(names, probe.linear_probe)
    assert within["verdict"] == one_map["verdict"] == together["verdict"] == "not specific"
    assert 0.6 < one_map["score"] < 0.7  # two of three states
    assert min(together["score"], together["its score"]) > 0.95
    before, after = names["answers"]
    assert 0.5 < after - before < 1.1


def test_the_page_is_whole(newcomer: tuple[dict[str, Any], Path]) -> None:
    """No nan in a word or a number; the page runs the network; every count has its label beside the states."""
    _, folder = newcomer
    page = (folder / "report/index.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="explorer-data">(.*?)</script>', page, flags=re.DOTALL)
    (network,) = json.loads(data)["networks"]
    assert (network["layers"][0]["units"], network["scores"]) == (12, 1)
    visible = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert "does not run the network" not in visible
    assert re.findall(r"(?i)(?<![a-z])nan(?![a-z])", re.sub(r"<[^>]+>", " ", visible)) == []
    (states,) = [
        figure
        for figure in re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
        if "The states along the two directions" in figure
    ]
    assert set(map(str, range(11))) <= set(re.findall(r">(\d+)</text>", states))
    assert (folder / "cells.png").stat().st_size > 10_000


def test_the_pictures_of_the_first_page_are_those_that_its_code_draws(tmp_path: Path) -> None:
    """Otherwise `make gallery` draws them again; the page shows each, and README the last."""
    pictures = started(tmp_path)
    assert len(pictures) == 3
    for picture in pictures:
        committed = START.with_suffix("") / picture.name
        assert alike(small(picture), committed.read_bytes()), "run `make gallery`"
        assert f"(start/{picture.name})" in START.read_text()
    assert "(docs/start/three.png)" in README
    assert sorted(one.name for one in START.with_suffix("").iterdir()) == [one.name for one in pictures]
