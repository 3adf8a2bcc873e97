"""The pages that readers open, and the page of a study, in a real Chromium: every bar of a page, on a phone too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from torch import nn

from probe import Concept, Readout, Study
from probe.plots.style import COLUMN_WIDTH, SMALL, new_figure, style
from probe.report import Figure, Page, Section, figure_to_svg
from tests.browser.explorers import counters, page_of
from tests.browser.tools import PAGES, ROOT, STANDARD_BYTES, checked, hard_to_read, missing, need, run

NEEDS = ("Chromium", "pypdf")
FIRST = ROOT / "reports" / "counter" / "index.html"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_page_passes_every_check(path: Path, tmp_path: Path) -> None:
    """No fault, every row and paragraph whole in its PDF, and no letter of a picture too small or cut on a phone."""
    report = checked(path, tmp_path / "page.pdf")
    assert report["bytes"] < STANDARD_BYTES
    assert report["keyboard"]["stops"] >= 8
    assert len(report["print"]["texts"]) > 5
    assert hard_to_read(path) == []
    assert path != FIRST or report["print"]["sheets"] <= 8


def test_the_first_page_shows_before_it_tells() -> None:
    """A figure above the fold, few words, few numerals in the prose, and letters that a phone's reader can read."""
    found = run("reading.mjs", FIRST)
    for width, highest in (("desk", 350), ("phone", 700)):
        seen = found[width]
        assert seen["figure"] < highest
        assert seen["words"] <= 1_300
        assert seen["prose"] > 300
        assert seen["numerals"] <= 0.05 * seen["prose"]
        assert seen["smallest"] >= 11


def test_a_page_with_an_explorer_passes_every_check(tmp_path: Path) -> None:
    """The same bars while a script runs; without it, and on paper, its example's numbers are there."""
    report = checked(page_of(counters()).write(tmp_path / "index.html"), tmp_path / "page.pdf")
    assert report["texts"]["example"] > 500
    assert report["keyboard"]["stops"] >= 8
    assert len(report["print"]["texts"]) > 60


@pytest.mark.parametrize(
    ("kind", "units", "layers", "readout"),
    [(nn.LSTM, 12, 2, True), (nn.RNN, 300, 1, False)],
    ids=["with readout and explorer", "without both"],
)
def test_the_page_of_a_study_passes_every_check(
    kind: Any, units: int, layers: int, readout: bool, tmp_path: Path
) -> None:
    """Of an untrained network with a number and a category as concepts, whose name is markup."""
    x = np.random.default_rng(0).integers(0, 2, (120, 9, 1)).astype(np.float32)
    concepts = {
        "ones": lambda one: np.cumsum(one[:, 0]),
        "<last> & first": Concept(lambda one: ["both" if step[0] == one[0, 0] == 1 else "not both" for step in one]),
    }
    head = Readout("ones", function=nn.Linear(units, 10)) if readout else None
    network, programs = kind(1, units, layers, batch_first=True), {"sum": sum} if readout else {}
    Study(network, x, concepts, readout=head, programs=programs).run(tmp_path)
    assert checked(tmp_path / "index.html")["bytes"] < STANDARD_BYTES
    assert hard_to_read(tmp_path / "index.html") == []


@pytest.mark.parametrize(
    ("width", "size", "x", "faults"),
    [
        (COLUMN_WIDTH, SMALL, 0.5, []),
        (COLUMN_WIDTH, SMALL - 1, 0.5, ["letters"]),
        (COLUMN_WIDTH + 1, SMALL, 0.5, ["letters"]),
        (7.0, 16, 0.5, ["window"]),
        (COLUMN_WIDTH, SMALL, 0.95, ["cut"]),
    ],
    ids=["as figures are", "small letters", "wide", "wider than the window", "a word over the edge"],
)
def test_a_picture_that_is_hard_to_read_is_found(
    width: float, size: float, x: float, faults: list[str], tmp_path: Path
) -> None:
    """A figure of the usual width and letters passes; smaller letters, a wider figure and a cut word do not."""
    with style(), matplotlib.rc_context({"svg.fonttype": "none"}):
        figure, axes = new_figure(width=width)
        axes[0, 0].set_axis_off()
        text = figure.text(x, 0.5, "some of these words", fontsize=size)
        text.set_in_layout(False)
        svg = figure_to_svg(figure, name="words")
    block = Figure(svg, "Words in 1 line.", "A line of words.", "Words")
    page = Page("A page", "Words.", [Section("Words", [block], key="words")]).write(tmp_path / "page.html")
    assert [fault.split(":")[0] for fault in hard_to_read(page)] == faults


@pytest.mark.parametrize("name", ["Chromium", "Firefox"])
def test_a_missing_browser_skips_with_a_reason_and_fails_in_ci(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says what to do; in CI nothing is skipped."""
    monkeypatch.setenv(name.upper(), "/nowhere/browser")
    assert missing(name) is not None
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"install|run `make browser`"):
        need(name)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"CI must run the browser tests, but"):
        need(name)
