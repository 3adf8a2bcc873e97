"""The figures of the committed pages, and the code that draws them.

- One colour, one meaning: the code draws by meaning, the committed figures do, and the documentation lists all.
- Every number is one, no axes are empty, no mark is cut in half, and all is seen on the light and the dark page.
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import is_color_like
from painted import DARK_PAGE, WHITE, contrast, meaning, named

from probe.colours import MEANINGS, OF_PAGES, ROLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "reports").rglob("*.html"))
DRAWING = [file for room in ("probe", "analyses", "reports") for file in sorted((ROOT / room).rglob("*.py"))]
#: Ink, nothing, letters on dark cells, and the colours of a table of amounts.
PLAIN = ("black", "none", "white", "face", "auto")
ASKED_FOR = (
    *("color", "colors", "c", "facecolor", "edgecolor", "facecolors", "edgecolors", "mfc", "mec", "ecolor", "cmap"),
    *("markerfacecolor", "markeredgecolor", "palette", "labelcolor"),
)
#: The table, and the scale of amounts.
ALLOWED = {
    "probe/colours.py": {
        colour for own in (*MEANINGS.values(), *(pair[1:] for pair in OF_PAGES.values())) for colour in own
    },
    "probe/plots/style.py": {"'Greys'"},
}
#: Committed figures without a word for the role of all networks in them: title -> role.
OF_ONE_ROLE = {
    "Written by hand to count": "planted",
    "After training": "trained",
    "The task": "trained",
    "What lies between two corners": "trained",
    "One interchange": "trained",
}
#: So many points of a mark may be cut off: no eye sees them.
ROOM = 0.75
#: What can be told from its background (WCAG 2.2, 1.4.11), and what can be read (1.4.3).
SEEN, READ = 3.0, 4.5
#: Left, top, right and bottom, in points.
Box = tuple[float, float, float, float]
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_NO_NUMBER = re.compile(r"\b(nan|inf|none)\b", re.IGNORECASE)
_HREF = ("href", "{http://www.w3.org/1999/xlink}href")


def written(code: str) -> Iterator[str]:
    """Yield the colours and colour maps that code names itself: hex texts, and texts given as a colour."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _COLOUR.fullmatch(node.value.lower()):
            yield node.value
        if isinstance(node, ast.keyword) and node.arg in ASKED_FOR:
            given = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(given, str) and given not in PLAIN:
                yield given
        # A format such as "ro" begins or ends with the letter of a colour.
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".plot", ".errorbar")):
            given = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            yield from (one for one in given if re.search(r"[bgrcmyw]", one))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("colormaps"):
            yield ast.unparse(node.slice)


def test_code_draws_by_meaning() -> None:
    """Greys may stand anywhere; every other colour stands in the table, and a scale of colours in the style."""
    for file in DRAWING:
        found = written(file.read_text(encoding="utf-8"))
        found = {one for one in found if not is_color_like(one) or meaning(one) != ""}
        assert found <= ALLOWED.get(file.relative_to(ROOT).as_posix(), set()), file


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("ax.plot(x, y, color='#3F90DA')", {"#3F90DA"}),
        ("ax.plot(x, y, 'ro')", {"ro"}),
        ("ax.bar(x, y, color='tomato', edgecolor='black')", {"tomato"}),
        ("ax.imshow(x, cmap='viridis')", {"viridis"}),
        ("LOOKS = ('#d1495b', 's')", {"#d1495b"}),
        ("ax.plot(x, y, 'o--', color=look.color)", set()),
    ],
)
def test_a_colour_that_is_written_down_is_found(code: str, found: set[str]) -> None:
    """The control arm."""
    assert set(written(code)) == found


def pictures(page: str) -> Iterator[ET.Element]:
    """Yield the SVGs of a page."""
    for svg in re.findall(r"<svg\b.*?</svg>", page, re.DOTALL):
        yield ET.fromstring(svg)


def named_otherwise(svg: ET.Element) -> Iterator[str]:
    """Yield what a figure draws in a colour that no word of it names, or that the table lacks.

    A thumbnail, which is hidden from who listens to the page, has its words where it leads to.
    """
    words = ["".join(one.itertext()).strip() for one in svg.iter() if one.tag in ("text", "title")]
    known = named(words) | {OF_ONE_ROLE.get((svg.findtext("title") or "").strip(), "")}
    for colour in sorted(set(_COLOUR.findall(ET.tostring(svg, encoding="unicode").lower()))):
        what = meaning(colour)
        if what is None:
            yield f"{colour} is not in the table"
        elif what in ROLES and what not in known and svg.get("aria-hidden") is None:
            yield f"{colour} is that of {what!r}, and no word of the figure says so"
    for role, colour in keys(svg):
        if meaning(colour) != role:
            yield f"the key of {role!r} has {colour}, which is {meaning(colour)!r}"


def keys(svg: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield the names of roles that stand in a figure, each with every colour left of it on its line."""
    marks = [(at, one.get(name, "")) for one in svg.iter() if (at := _place(one)) for name in ("stroke", "fill")]
    for text in svg.iter("text"):
        role, at = "".join(text.itertext()).strip(), _place(text)
        if role in ROLES and at is not None:
            near = {colour for (x, y), colour in marks if 0 < at[0] - x < 40 and abs(at[1] - 4 - y) < 6}
            yield from ((role, colour) for colour in sorted(near) if _COLOUR.fullmatch(colour))


def _place(element: ET.Element) -> tuple[float, float] | None:
    numbers = re.findall(r"-?[\d.]+", element.get("d", "") or element.get("transform", ""))
    if element.get("x") is not None and element.get("y") is not None:
        return float(element.get("x", 0)), float(element.get("y", 0))
    return (float(numbers[0]), float(numbers[1])) if len(numbers) > 1 else None


def lost(svg: ET.Element) -> Iterator[str]:
    """Yield what is no number, which axes are empty, and which marks are cut off.

    Letters that its edges cut off are found in a browser (tests/browser/test_committed_pages.py).
    """
    rects = [(clip, rect) for clip in svg.iter() if _tag(clip) == "clipPath" for rect in clip if _tag(rect) == "rect"]
    clips = {clip.get("id", ""): _box(rect) for clip, rect in rects}
    by_id = {one.get("id", ""): one for one in svg.iter() if one.get("id")}
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
        for box in _marks(element, by_id):
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


def _around(places: np.ndarray) -> Box:
    left, top, right, bottom = [*places.min(0).tolist(), *places.max(0).tolist()]
    return left, top, right, bottom


def _drawn(element: ET.Element, clips: dict[str, Box], clip: Box | None) -> Iterator[tuple[ET.Element, Box | None]]:
    """Yield what is drawn, each with the box that it is cut off by."""
    by = element.get("clip-path", "")
    clip = clips.get(by[5:-1], clip) if by else clip
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
            found.append(_around(_numbers(path.get("d", ""))))
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


def _marks(element: ET.Element, by_id: dict[str, ET.Element]) -> Iterator[Box]:
    """Yield the boxes of marks: copies of one outline, and lines of no length with round ends."""
    if _tag(element) == "use":
        outline = by_id[next(element.get(name, "") for name in _HREF if element.get(name))[1:]]
        yield _around(_numbers(outline.get("d", "")) + np.array([[float(element.get(name, 0)) for name in "xy"]]))
    elif _tag(element) == "path" and element.get("stroke-linecap") == "round":
        half = float(element.get("stroke-width", 1)) / 2
        for dot in re.findall(r"M ([-\d.]+ [-\d.]+) L ([-\d.]+ [-\d.]+)(?= M|\s*$)", element.get("d", "")):
            (x, y), (end, last) = (tuple(map(float, one.split())) for one in dot)
            if abs(end - x) < 1 and y == last:
                yield x - half, y - half, x + half, y + half


def unseen(element: ET.Element, fill: str | None = None) -> Iterator[str]:
    """Yield every stroke, fill and letter of an SVG that one of the papers swallows; white letters stand on cells."""
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
    for child in element:
        yield from unseen(child, fill)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_committed_figure_shows_all_by_its_colour(page: Path) -> None:
    """Colours are in the table and named, nothing is lost, strokes have 3:1 and letters 4.5:1; see `make pages`."""
    found = {
        f"{(svg.findtext('title') or '').strip()}: {fault}"
        for svg in pictures(page.read_text(encoding="utf-8"))
        for fault in (*named_otherwise(svg), *lost(svg), *unseen(svg))
    }
    assert sorted(found) == []


KEY = '<path d="M 10 20 L 30 20" stroke="{}"/><text x="35" y="24">{}</text>'
CLIP = '<clipPath id="c"><rect x="10" y="10" width="80" height="80" /></clipPath>'
FRAME = '<path d="M 0 100 L 100 100 L 100 0 L 0 0 z" fill="none" />'
AXES = '<path d="M 10 90 L 90 90 L 90 10 L 10 10 z" fill="none" />'
SPINE = FRAME + AXES + '<path d="M 10 90 L 90 90" fill="none" stroke="currentColor" stroke-linecap="square" />'
MARK = '<defs><path id="m" d="M -3 -3 L 3 3" /></defs><g clip-path="url(#c)"><use href="#m" x="{}" y="50" /></g>'
DOT = '<path d="M {0} 50 L {0} 50 M 20 20 L 20 20" clip-path="url(#c)" stroke-width="4" stroke-linecap="round" />'
IMAGE = '<image x="20" y="{}" width="30" height="30" transform="scale(1 -1) translate(0 -30)" />'
IS_EMPTY = "axes at (10.0, 10.0, 90.0, 90.0) are empty"
UNNAMED = "{} is that of {!r}, and no word of the figure says so"


@pytest.mark.parametrize(
    ("inside", "faults"),
    [
        (KEY.format("#e76300", "own initialisation"), []),
        (KEY.format("#e76300", "forget gate"), [UNNAMED.format("#e76300", "own initialisation")]),
        (KEY.format("#d1495b", "two unstable directions"), ["#d1495b is not in the table"]),
        (KEY.format("#808080", "forget gate"), []),
        (KEY.format("#3f90da", "untrained weights"), [UNNAMED.format("#3f90da", "trained")]),
        (
            KEY.format("#e76300", "trained"),
            [
                UNNAMED.format("#e76300", "own initialisation"),
                "the key of 'trained' has #e76300, which is 'own initialisation'",
            ],
        ),
        (CLIP + FRAME + AXES + MARK.format(50), []),
        (CLIP + FRAME + AXES + MARK.format(11), ["a mark at 8, 47 is cut off by 2.0 points"]),
        (CLIP + FRAME + AXES + DOT.format(50), []),
        (CLIP + FRAME + AXES + DOT.format(90), ["a mark at 88, 48 is cut off by 2.0 points"]),
        (SPINE, [IS_EMPTY]),
        (SPINE + '<text x="50" y="50">nan</text>', ["'nan' is no number"]),
        (SPINE + '<path d="M 20 20 L 30 30" stroke="#808080" />', []),
        (SPINE + IMAGE.format(-20), []),
        (SPINE + IMAGE.format(-80), [IS_EMPTY]),
        (SPINE + '<path d="M 20 20 L nan nan" stroke="#808080" />', ["'M 20 20 L nan nan   ' is no number"]),
        # What swallowed step 3 in the dark and step 9 in the light; the page's own ink has no colour.
        ('<g fill="currentColor"><path stroke="#303030"/><text>b</text></g>', ["stroke #303030: 1.36"]),
        ('<path fill="#a0a0a0"/><text fill="#808080">a</text>', ["fill #a0a0a0: 2.61", "letters #808080: 3.95"]),
    ],
)
def test_a_figure_that_breaks_a_rule_is_found(inside: str, faults: list[str]) -> None:
    """The control arm: a gate in the colour of a role, a strange colour, a lost mark, what a paper swallows."""
    svg = ET.fromstring(f"<svg><title>A figure</title>{inside}</svg>")
    assert [*named_otherwise(svg), *lost(svg), *unseen(svg)] == faults


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


def test_keys_are_found_in_the_committed_figures() -> None:
    """Or the colours of keys would go unseen: the names of roles have one beside them in many figures."""
    every = [svg for page in PAGES for svg in pictures(page.read_text(encoding="utf-8"))]
    assert sum(bool(list(keys(svg))) for svg in every) > 10
    assert set(OF_ONE_ROLE) <= {svg.findtext("title") for svg in every}
