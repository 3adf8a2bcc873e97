"""One colour, one meaning: the code draws by meaning, the committed figures do, and the documentation lists all."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.colors import is_color_like
from painted import meaning, named

from probe.colours import MEANINGS, OF_PAGES, ROLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "reports").rglob("*.html"))
DRAWING = [file for room in ("probe", "analyses", "reports") for file in sorted((ROOT / room).rglob("*.py"))]
#: Ink, nothing, letters on dark cells, and the colours of a table of amounts.
PLAIN = ("black", "none", "white", "face", "auto")
ASKED_FOR = (
    "color",
    "colors",
    "c",
    "facecolor",
    "edgecolor",
    "facecolors",
    "edgecolors",
    "mfc",
    "mec",
    "ecolor",
    "cmap",
)
ASKED_FOR_TOO = ("markerfacecolor", "markeredgecolor", "palette", "labelcolor")
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
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def written(code: str) -> Iterator[str]:
    """Yield the colours and colour maps that code names itself: hex texts, and texts given as a colour."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _COLOUR.fullmatch(node.value.lower()):
            yield node.value
        if isinstance(node, ast.keyword) and node.arg in (*ASKED_FOR, *ASKED_FOR_TOO):
            given = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(given, str) and given not in PLAIN:
                yield given
        # A format such as "ro" begins or ends with the letter of a colour.
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".plot", ".errorbar")):
            for one in node.args:
                if (
                    isinstance(one, ast.Constant)
                    and isinstance(one.value, str)
                    and re.search(r"[bgrcmyw]", one.value)
                ):
                    yield one.value
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("colormaps"):
            yield ast.unparse(node.slice)


@pytest.mark.parametrize("file", DRAWING, ids=lambda file: str(file.relative_to(ROOT)))
def test_code_draws_by_meaning(file: Path) -> None:
    """Greys may stand anywhere; every other colour stands in the table, and a scale of colours in the style."""
    name = file.relative_to(ROOT).as_posix()
    found = {one for one in written(file.read_text(encoding="utf-8")) if not is_color_like(one) or meaning(one) != ""}
    assert found <= ALLOWED.get(name, set())


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
    assert all(is_color_like(one) or one in ("ro", "viridis") for one in found)


def pictures(page: str) -> Iterator[ET.Element]:
    """Yield the SVGs of a page."""
    for svg in re.findall(r"<svg\b.*?</svg>", page, re.DOTALL):
        yield ET.fromstring(svg)


def painted(svg: ET.Element) -> dict[str, str | None]:
    """Return the colours of an SVG that are no grey, and what each means."""
    text = ET.tostring(svg, encoding="unicode").lower()
    found = {colour: meaning(colour) for colour in _COLOUR.findall(text)}
    return {colour: what for colour, what in found.items() if what != ""}


def words(svg: ET.Element) -> list[str]:
    """Return the letters of an SVG, its title among them."""
    return ["".join(one.itertext()).strip() for one in svg.iter() if one.tag in ("text", "title")]


def faults(svg: ET.Element) -> Iterator[str]:
    """Yield what a committed figure draws in a colour that no word of it names, or that the table lacks.

    A thumbnail, which is hidden from who listens to the page, has its words where it leads to.
    """
    title = (svg.findtext("title") or "").strip()
    known = named(words(svg)) | {OF_ONE_ROLE.get(title, "")}
    for colour, what in painted(svg).items():
        if what is None:
            yield f"{title}: {colour} is not in the table"
        elif what in ROLES and what not in known and svg.get("aria-hidden") is None:
            yield f"{title}: {colour} is that of {what!r}, and no word of the figure says so"
    yield from (f"{title}: {fault}" for fault in beside(svg))


def beside(svg: ET.Element) -> Iterator[str]:
    """Yield the names of roles whose key has the colour of something else."""
    for role, colour in keys(svg):
        if meaning(colour) != role:
            yield f"the key of {role!r} has {colour}, which is {meaning(colour)!r}"


def keys(svg: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield the names of roles that stand in a figure, each with every colour left of it on its line."""
    marks = [mark for one in svg.iter() for mark in _marked(one)]
    for text in svg.iter("text"):
        role, at = "".join(text.itertext()).strip(), _place(text)
        if role in ROLES and at is not None:
            near = {colour for (x, y), colour in marks if 0 < at[0] - x < 40 and abs(at[1] - 4 - y) < 6}
            yield from ((role, colour) for colour in sorted(near))


def _marked(element: ET.Element) -> Iterator[tuple[tuple[float, float], str]]:
    """Yield where an element begins, and its colours."""
    colours = {one for name in ("stroke", "fill") if (one := element.get(name, "")) and _COLOUR.fullmatch(one)}
    at = _place(element)
    if at is not None:
        yield from ((at, colour) for colour in colours)


def _place(element: ET.Element) -> tuple[float, float] | None:
    numbers = re.findall(r"-?[\d.]+", element.get("d", "") or element.get("transform", ""))
    if element.get("x") is not None and element.get("y") is not None:
        return float(element.get("x", 0)), float(element.get("y", 0))
    return (float(numbers[0]), float(numbers[1])) if len(numbers) > 1 else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_committed_figure_draws_each_colour_by_its_meaning(page: Path) -> None:
    """Every colour is in the table, and the figure names every role that it shows."""
    found = [fault for svg in pictures(page.read_text(encoding="utf-8")) for fault in faults(svg)]
    assert found == []


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
    assert [(name, light, dark) for name, light, dark in in_text] == [
        (name, f"`{light}`", f"`{dark}`") for name, (_, light, dark) in OF_PAGES.items()
    ]


KEY = '<path d="M 10 20 L 30 20" stroke="{}"/><text x="35" y="24">{}</text>'


@pytest.mark.parametrize(
    ("colour", "word", "fault"),
    [
        ("#e76300", "own initialisation", None),
        ("#e76300", "forget gate", "#e76300 is that of 'own initialisation', and no word of the figure says so"),
        ("#e76300", "trained", "the key of 'trained' has #e76300, which is 'own initialisation'"),
        ("#d1495b", "two unstable directions", "#d1495b is not in the table"),
        ("#808080", "forget gate", None),
        ("#3f90da", "untrained weights", "#3f90da is that of 'trained', and no word of the figure says so"),
    ],
)
def test_a_figure_that_breaks_the_rule_is_found(colour: str, word: str, fault: str | None) -> None:
    """The control arm: a gate in the colour of a role, a role in that of another, and a colour without a meaning."""
    found = list(faults(ET.fromstring(f"<svg><title>A figure</title>{KEY.format(colour, word)}</svg>")))
    assert found == [] if fault is None else f"A figure: {fault}" in found


def test_keys_are_found_in_the_committed_figures() -> None:
    """Or the colours of keys would go unseen: the names of roles have one beside them in many figures."""
    every = [svg for page in PAGES for svg in pictures(page.read_text(encoding="utf-8"))]
    assert sum(bool(list(keys(svg))) for svg in every) > 10
    assert set(OF_ONE_ROLE) <= {svg.findtext("title") for svg in every}
