"""The figures of the committed pages: their numbers and marks, and whether they are seen on both papers.

- The figures of the committed pages: every number is one, no axes are empty, and no mark is cut in half.
- Every figure of the committed pages can be seen on both papers: strokes, fills and letters.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.repo.test_figure_colours import PAGES, pictures

#: So many points of a mark may be cut off: no eye sees them.
ROOM = 0.75
#: Left, top, right and bottom, in points.
Box = tuple[float, float, float, float]
_NO_NUMBER = re.compile(r"\b(nan|inf|none)\b", re.IGNORECASE)
_HREF = ("href", "{http://www.w3.org/1999/xlink}href")


def faults(svg: ET.Element) -> Iterator[str]:
    """Yield what an SVG of a page shows wrongly, or not at all.

    Letters that its edges cut off are found in a browser (tests/browser/test_letters.py).
    """
    clips = {
        one.get("id", ""): _box(rect)
        for one in svg.iter()
        if _tag(one) == "clipPath"
        for rect in one
        if _tag(rect) == "rect"
    }
    named = {one.get("id", ""): one for one in svg.iter() if one.get("id")}
    drawn = list(_drawn(svg, clips, None))
    for element, _ in drawn:
        said = "".join(element.itertext()) if _tag(element) == "text" else ""
        places = " ".join(element.get(name, "") for name in ("d", "x", "y", "transform"))
        if _NO_NUMBER.search(said) or _NO_NUMBER.search(places):
            yield f"{said or places[:40]!r} is no number"
    for frame in _frames(svg, clips):
        if not any(_lies_in(element, own, frame) for element, own in drawn):
            yield f"axes at {frame} are empty"
    for element, own in drawn:
        for box in _marks(element, named):
            if own is None:
                break
            by = max(own[0] - box[0], own[1] - box[1], box[2] - own[2], box[3] - own[3])
            if by > ROOM:
                yield f"a mark at {box[0]:.0f}, {box[1]:.0f} is cut off by {by:.1f} points"


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _box(rect: ET.Element) -> Box:
    x, y, width, height = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _drawn(element: ET.Element, clips: dict[str, Box], clip: Box | None) -> Iterator[tuple[ET.Element, Box | None]]:
    """Yield what is drawn, each with the box that it is cut off by."""
    named = element.get("clip-path", "")
    clip = clips.get(named[5:-1], clip) if named else clip
    if _tag(element) in ("defs", "clipPath", "title", "desc"):
        return
    if _tag(element) in ("path", "use", "image", "text"):
        yield element, clip
    for one in element:
        yield from _drawn(one, clips, clip)


def _numbers(path: str) -> np.ndarray:
    return np.array([float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]).reshape(-1, 2)


def _frames(svg: ET.Element, clips: dict[str, Box]) -> list[Box]:
    """Return the axes of a figure: a rectangle of paper without a line around it, but for the figure's own."""
    found = list(clips.values())
    for path in svg.iter():
        plain = _tag(path) == "path" and path.get("fill") == "none" and path.get("stroke") is None
        if plain and path.get("d", "").endswith("z"):
            places = _numbers(path.get("d", ""))
            found.append((*places.min(0).tolist(), *places.max(0).tolist()))
    whole = max(found, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)
    return [box for box in dict.fromkeys(found) if box != whole]


def _lies_in(element: ET.Element, clip: Box | None, frame: Box) -> bool:
    """Whether something of the data is in axes: cut off by them, a picture, words, or what is no edge of theirs."""
    if clip is not None and np.allclose(clip, frame, atol=0.02):
        return True
    if _tag(element) == "path":
        if element.get("stroke") is None and element.get("fill") == "none":
            return False
        places = _numbers(element.get("d", ""))
    elif _tag(element) == "image":
        left, top, right, bottom = _box(element)
        # A picture stands on its head in its own numbers.
        high = -float(element.get("transform", "").rpartition(" ")[2].rstrip(")") or 0)
        places = np.array([[(left + right) / 2, high - (top + bottom) / 2]])
    else:
        places = np.array([[float(element.get("x", "nan")), float(element.get("y", "nan"))]])
    inside = (places > np.array(frame[:2]) + 0.2) & (places < np.array(frame[2:]) - 0.2)
    return bool(len(places) and inside.all(axis=1).any())


def _marks(element: ET.Element, named: dict[str, ET.Element]) -> Iterator[Box]:
    """Yield the boxes of marks: copies of one outline, and lines of no length with round ends."""
    if _tag(element) == "use":
        outline = named[next(element.get(name, "") for name in _HREF if element.get(name))[1:]]
        places = _numbers(outline.get("d", "")) + np.array([[float(element.get(name, 0)) for name in "xy"]])
        yield (*places.min(0).tolist(), *places.max(0).tolist())
    elif _tag(element) == "path" and element.get("stroke-linecap") == "round":
        half = float(element.get("stroke-width", 1)) / 2
        for dot in re.findall(r"M ([-\d.]+ [-\d.]+) L ([-\d.]+ [-\d.]+)(?= M|\s*$)", element.get("d", "")):
            (x, y), (end, last) = (tuple(map(float, one.split())) for one in dot)
            if abs(end - x) < 1 and y == last:
                yield x - half, y - half, x + half, y + half


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_nothing_of_a_committed_figure_is_lost(page: Path) -> None:
    """On no page; `make pages` draws them anew."""
    found = {
        f"{(svg.findtext('title') or '').strip()}: {fault}"
        for svg in pictures(page.read_text(encoding="utf-8"))
        for fault in faults(svg)
    }
    assert sorted(found) == []


CLIP = '<clipPath id="c"><rect x="10" y="10" width="80" height="80" /></clipPath>'
FRAME = '<path d="M 0 100 L 100 100 L 100 0 L 0 0 z" fill="none" />'
AXES = '<path d="M 10 90 L 90 90 L 90 10 L 10 10 z" fill="none" />'
SPINE = '<path d="M 10 90 L 90 90" fill="none" stroke="currentColor" stroke-linecap="square" />'
MARK = '<defs><path id="m" d="M -3 -3 L 3 3" /></defs><g clip-path="url(#c)"><use href="#m" x="{}" y="50" /></g>'
DOT = '<path d="M {0} 50 L {0} 50 M 20 20 L 20 20" clip-path="url(#c)" stroke-width="4" stroke-linecap="round" />'

IMAGE = '<image x="20" y="{}" width="30" height="30" transform="scale(1 -1) translate(0 -30)" />'


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        (CLIP + MARK.format(50), []),
        (CLIP + MARK.format(11), ["a mark at 8, 47 is cut off by 2.0 points"]),
        (CLIP + DOT.format(50), []),
        (CLIP + DOT.format(90), ["a mark at 88, 48 is cut off by 2.0 points"]),
        (SPINE, ["axes at (10.0, 10.0, 90.0, 90.0) are empty"]),
        (SPINE + '<text x="50" y="50">nan</text>', ["'nan' is no number"]),
        (SPINE + '<path d="M 20 20 L 30 30" stroke="#3f90da" />', []),
        (SPINE + IMAGE.format(-20), []),
        (SPINE + IMAGE.format(-80), ["axes at (10.0, 10.0, 90.0, 90.0) are empty"]),
        (SPINE + '<path d="M 20 20 L nan nan" stroke="#3f90da" />', ["'M 20 20 L nan nan   ' is no number"]),
    ],
)
def test_a_figure_that_lost_something_is_found(inside: str, found: list[str]) -> None:
    """The control arm."""
    assert list(faults(ET.fromstring(f"<svg>{FRAME}{AXES}{inside}</svg>"))) == found


SHOWN = sorted((Path(__file__).resolve().parents[2] / "reports").rglob("*.html"))
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


def unseen(element: ET.Element, fill: str | None = None) -> Iterator[str]:
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
        yield from unseen(child, fill)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_stroke_fill_and_letter_is_seen_on_both_papers(page: Path) -> None:
    """At least 3:1, letters 4.5:1, on the light and on the dark page; black is drawn in the page's own ink."""
    pictures = re.findall(r"<svg\b.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    found = {fault for picture in pictures for fault in unseen(ET.fromstring(picture))}
    assert not found


def test_the_test_can_fail() -> None:
    """What swallowed step 3 in the dark and step 9 in the light is found; the page's own ink is not."""
    drawn = '<path stroke="#440154"/><path fill="#7ad151"/><text fill="#3f90da">a</text><text>b</text>'
    svg = f'<svg fill="currentColor">{drawn}</svg>'
    found = list(unseen(ET.fromstring(svg)))
    assert [fault.split(":")[0] for fault in found] == ["stroke #440154", "fill #7ad151", "letters #3f90da"]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
