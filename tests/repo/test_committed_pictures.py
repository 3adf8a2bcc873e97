"""The figures of the committed pages show all by their colours, on the light and on the dark page.

Where a figure is drawn, painted.py and pictured.py of tests/helpers look at its colours and for what is cut off.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from painted import DARK_PAGE, WHITE, contrast, meaning

from analyses.counter import study
from probe.colours import MEANINGS, OF_PAGES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "reports").rglob("*.html"))
#: What can be told from its background (WCAG 2.2, 1.4.11), and what can be read (1.4.3).
SEEN, READ = 3.0, 4.5
#: A picture in which no other stands; several of one figure stand in one on the index.
INNERMOST = r"<svg\b(?:(?!<svg\b).)*?</svg>"
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def unseen(element: ET.Element, fill: str | None = None) -> Iterator[str]:
    """Yield every stroke, fill and letter of an SVG that one of the papers swallows, and colours without a meaning.

    White letters stand on cells.
    """
    fill = element.get("fill", fill)
    if element.tag in ("text", "tspan"):
        shown = {} if fill == WHITE else {"letters": fill}
    else:
        drawn = element.tag in ("path", "rect", "circle", "ellipse", "polygon", "use")
        shown = {"stroke": element.get("stroke")} | ({"fill": fill} if drawn else {})
    for what, colour in shown.items():
        if colour and _COLOUR.fullmatch(colour.lower()):
            worst = min(contrast(colour, paper) for paper in (WHITE, DARK_PAGE))
            if worst < (READ if what == "letters" else SEEN):
                yield f"{what} {colour}: {worst:.2f}"
            if meaning(colour) is None:
                yield f"{colour} is not in the table"
    for child in element:
        yield from unseen(child, fill)


def test_committed_figures_show_all_by_their_colours() -> None:
    """On the light and the dark page strokes have 3:1 and letters 4.5:1; see `make pages`."""
    svgs = [svg for page in PAGES for svg in re.findall(INNERMOST, page.read_text("utf-8"), re.DOTALL)]
    assert len(svgs) > 30
    assert {fault for svg in svgs for fault in unseen(ET.fromstring(svg))} == set()
    # What swallowed step 3 in the dark and step 9 in the light; the page's own ink has no colour.
    faulty = '<svg fill="currentColor"><path stroke="#303030"/><text>b</text><path fill="#a0a0a0"/></svg>'
    faulty = faulty.replace("</svg>", '<path stroke="#d1495b"/><text fill="#808080">a</text></svg>')
    wanted = ["stroke #303030: 1.36", "fill #a0a0a0: 2.61", "#d1495b is not in the table", "letters #808080: 3.95"]
    assert list(unseen(ET.fromstring(faulty))) == wanted


@pytest.mark.exhaustive
def test_every_figure_of_the_committed_pages_is_drawn_whole() -> None:
    """The figures are looked at as those of all tests are, but with what was measured of all networks in them."""
    assert sum(len(finding.figures) for finding in study.findings(()).values()) > 20


def test_the_documentation_lists_every_colour() -> None:
    """In docs/words.md, the tables of its section on colours, in the order of the code."""
    text = (ROOT / "docs/words.md").read_text(encoding="utf-8")
    section = text.partition("## Colours\n")[2].partition("\n## ")[0]
    tables = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    ]
    in_figures, in_text, _ = tables
    assert [(name, tuple(re.findall("#[0-9a-f]{6}", own))) for name, _, own in in_figures] == list(MEANINGS.items())
    assert in_text == [[name, f"`{light}`", f"`{dark}`"] for name, (_, light, dark) in OF_PAGES.items()]
