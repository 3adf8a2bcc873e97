"""What a reader sees of the counter's first page in ten seconds, and how much there is to read."""

from __future__ import annotations

import pytest

from tests.browser.tools import ROOT, need, run

PAGE = ROOT / "reports" / "counter" / "index.html"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need("Chromium")


def test_it_shows_before_it_tells() -> None:
    """A figure above the fold, few words, few numerals in the prose, and letters that a phone's reader can read."""
    found = run("reading.mjs", PAGE)
    for width, highest in (("desk", 350), ("phone", 700)):
        seen = found[width]
        assert seen["figure"] < highest
        assert seen["words"] <= 1_300
        assert seen["prose"] > 300
        assert seen["numerals"] <= 0.05 * seen["prose"]
        assert seen["smallest"] >= 11


def test_it_prints_on_eight_sheets() -> None:
    """What is folded stays off the paper."""
    report = run("check_page.mjs", PAGE)
    assert report["print"]["sheets"] <= 8
