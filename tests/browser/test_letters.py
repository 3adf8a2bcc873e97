"""Every picture of every page on a phone: its letters can be read, and nothing of it is cut off sideways."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from probe.plots.style import COLUMN_WIDTH, SMALL, new_figure, style
from probe.report import Figure, Page, Section, figure_to_svg
from tests.browser.tools import PAGES, hard_to_read, need


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need("Chromium")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_pictures_of_a_committed_page_can_be_read_on_a_phone(path: Path) -> None:
    """No letter is below 11 pixels, and none lies outside of its picture or of the window."""
    assert hard_to_read(path) == []


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
