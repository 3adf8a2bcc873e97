"""The figures of the committed pages, and the code that draws them: one colour, one meaning, on either page.

That each colour is named, that every number is one, and that no mark is cut off, is looked at where a figure is drawn
(tests/helpers/painted.py and pictured.py).
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.colors import is_color_like
from painted import DARK_PAGE, WHITE, contrast, meaning

from analyses.counter import study
from probe.colours import MEANINGS, OF_PAGES

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
#: What can be told from its background (WCAG 2.2, 1.4.11), and what can be read (1.4.3).
SEEN, READ = 3.0, 4.5
_COLOUR = re.compile(r"#[0-9a-f]{6}")


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
    svgs = [svg for page in PAGES for svg in re.findall(r"<svg\b.*?</svg>", page.read_text("utf-8"), re.DOTALL)]
    assert len(svgs) > 40
    assert {fault for svg in svgs for fault in unseen(ET.fromstring(svg))} == set()


@pytest.mark.parametrize(
    ("inside", "faults"),
    [
        ('<path stroke="#808080"/><path stroke="#e76300"/>', []),
        ('<path stroke="#d1495b"/>', ["#d1495b is not in the table"]),
        # What swallowed step 3 in the dark and step 9 in the light; the page's own ink has no colour.
        ('<g fill="currentColor"><path stroke="#303030"/><text>b</text></g>', ["stroke #303030: 1.36"]),
        ('<path fill="#a0a0a0"/><text fill="#808080">a</text>', ["fill #a0a0a0: 2.61", "letters #808080: 3.95"]),
    ],
)
def test_a_figure_that_breaks_a_rule_is_found(inside: str, faults: list[str]) -> None:
    """The control arm: a strange colour, and what a paper swallows."""
    assert list(unseen(ET.fromstring(f"<svg>{inside}</svg>"))) == faults


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
