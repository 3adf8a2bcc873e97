"""The pages that readers open, and one whose explorer runs, in a real Chromium: every bar of a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.explorers import counters, page_of
from tests.browser.tools import PAGES, STANDARD_BYTES, lost_on_paper, need, run


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need("Chromium", "pypdf")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_page_passes_every_check(path: Path, tmp_path: Path) -> None:
    """Every page that readers open keeps every bar, and every row and paragraph stands whole in its PDF."""
    report = run("check_page.mjs", path, "--pdf", tmp_path / "page.pdf")
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert report["bytes"] < STANDARD_BYTES
    assert report["keyboard"]["stops"] >= 8
    assert len(report["print"]["texts"]) > 5
    assert lost_on_paper(report["print"]["texts"], tmp_path / "page.pdf") == []


def test_a_page_with_an_explorer_passes_every_check(tmp_path: Path) -> None:
    """The same bars while a script runs; without it, and on paper, its example's numbers are there."""
    page, pdf = page_of(counters()).write(tmp_path / "index.html"), tmp_path / "page.pdf"
    report = run("check_page.mjs", page, "--pdf", pdf)
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert report["texts"]["example"] > 500
    assert report["keyboard"]["stops"] >= 8
    assert len(report["print"]["texts"]) > 60
    assert lost_on_paper(report["print"]["texts"], pdf) == []
