"""Every figure of the committed pages can be seen on both papers: strokes, fills and letters."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[2] / "reports").rglob("*.html"))
#: The light and the dark page, see page.css.
PAPERS = ("#ffffff", "#14171a")
#: What can be told from its background (WCAG 2.2, 1.4.11), and what can be read (1.4.3).
SEEN, READ = 3.0, 4.5
#: White letters stand on the cells of a map and not on the paper.
ON_CELLS = "#ffffff"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def luminance(colour: str) -> float:
    """Return the relative luminance, WCAG 2.2."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def faults(element: ET.Element, fill: str | None = None) -> Iterator[str]:
    """Yield every stroke, fill and letter of an SVG that one of the papers swallows."""
    fill = element.get("fill", fill)
    if element.tag in ("text", "tspan"):
        painted = {} if fill == ON_CELLS else {"letters": fill}
    else:
        drawn = element.tag in ("path", "rect", "circle", "ellipse", "polygon", "use")
        painted = {"stroke": element.get("stroke")} | ({"fill": fill} if drawn else {})
    for what, colour in painted.items():
        least = READ if what == "letters" else SEEN
        if colour and _COLOUR.fullmatch(colour):
            worst = min(contrast(colour, paper) for paper in PAPERS)
            if worst < least:
                yield f"{what} {colour}: {worst:.2f}"
    for child in element:
        yield from faults(child, fill)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_stroke_fill_and_letter_is_seen_on_both_papers(page: Path) -> None:
    """At least 3:1, letters 4.5:1, on the light and on the dark page; black is drawn in the page's own ink."""
    pictures = re.findall(r"<svg\b.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    found = {fault for picture in pictures for fault in faults(ET.fromstring(picture))}
    assert not found


def test_the_test_can_fail() -> None:
    """What swallowed step 3 in the dark and step 9 in the light is found; the page's own ink is not."""
    drawn = '<path stroke="#440154"/><path fill="#7ad151"/><text fill="#3f90da">a</text><text>b</text>'
    svg = f'<svg fill="currentColor">{drawn}</svg>'
    found = list(faults(ET.fromstring(svg)))
    assert [fault.split(":")[0] for fault in found] == ["stroke #440154", "fill #7ad151", "letters #3f90da"]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
