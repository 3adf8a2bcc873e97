"""Built pages in a real Chromium: silent, readable by everyone, on any screen and on paper."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from pages_read import HOSTILE, full_section, page_of, square
from PIL import Image

from probe.report import Page, Panels, Table
from tests.browser.tools import STANDARD_BYTES, checked, lost_on_paper, run

NEEDS = ("Chromium", "pypdf")


def test_a_page_of_hostile_texts_passes_every_check(tmp_path: Path) -> None:
    """Markup, control characters, turned writing and endless words in every place.

    No request, message or violation; axe finds nothing in four modes; nothing is cut off on phone or paper.
    """
    sections = [full_section(text, f"s{number}", sortable=True) for number, text in enumerate(HOSTILE)]
    page = Page("".join(HOSTILE), "".join(HOSTILE), sections, provenance={text: text for text in HOSTILE})
    path = page.write(tmp_path / "index.html")
    report = checked(path)
    assert set(report["axe"]) == {"light", "dark", "narrow", "forced"}
    assert (report["texts"]["characters"] > 500, report["print"]["sheets"] >= 2) == (True, True)
    assert report["bytes"] == path.stat().st_size < STANDARD_BYTES


FAULTS = """
<img src="http://127.0.0.1:9/x.png">
<script>console.log(1); addEventListener("load", () => document.querySelector("main").append("late"))</script>
<div><pre>wide wide</pre></div><table><tr><td>wide</table>
<details><summary>s</summary><p>folded</p></details>
<a href="#a" tabindex="-1">never</a><a href="#b" style="outline: none">nowhere</a><button>b</button>
""".replace("wide", "x" * 500)
FOUND = {
    *("requests", "console", "axe light", "axe narrow", "overflow", "text without scripts", "text in a sandbox"),
    *("print clipped", "print folded", "print controls", "skip link", "keyboard unreached", "keyboard unseen"),
}


def test_the_checker_sees_what_is_wrong(tmp_path: Path) -> None:
    """The control arm: each fault is reported by its name, and what a strict policy blocks."""
    path, found = tmp_path / "faulty.html", []
    styled = '<p style="color: red">styled</p>'
    for policy, body in (("default-src * 'unsafe-inline' data:", FAULTS), ("default-src 'none'", styled)):
        path.write_text(
            f'<!doctype html><html lang="en"><head><title>t</title><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            f'<meta name="viewport" content="width=device-width"></head><body><main>{body}</main></body></html>',
            encoding="utf-8",
        )
        found.append(set(run("check_page.mjs", path)["wrong"]))
    wrong, blocked = found
    assert wrong >= FOUND
    assert blocked >= {"csp", "console"}
    assert ("csp" in wrong, "requests" in blocked) == (False, False)


def test_what_is_not_printed_is_missed(tmp_path: Path) -> None:
    """The control arm of the reading of a PDF: a row that print hides is named, and its neighbour is not."""
    path = tmp_path / "hidden.html"
    rows = "<tr><td>the first row of floors</td></tr><tr id='gone'><td>the second row</td></tr>"
    style = "<style>@media print { #gone { display: none } }</style>"
    assert path.write_text(f"<!doctype html><title>t</title>{style}<main><table>{rows}</table></main>")
    report = run("check_page.mjs", path, "--pdf", tmp_path / "page.pdf")
    assert lost_on_paper(report["print"]["texts"], tmp_path / "page.pdf") == ["the second row"]


STEPS = """<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50"><g id="at-1"><rect width="9"/></g>
<g id="at-2"><circle cx="50" cy="25" r="20" fill="#000000"/></g><text x="9" y="40">words</text></svg>"""
TAKEN = [
    ["Link", "Link SVG PNG", "figure-1.svg figure-1.png", None],
    ["Link CSV Python", "Link SVG PNG CSV Python", "rows.svg rows.png rows.csv", "print(1)"],
]


def test_what_is_taken_away_stands_alone(tmp_path: Path) -> None:
    """A picture has the step that is seen, dark ink on white on a dark screen too; panels stand side by side.

    A table is plain text, also one of several packed blocks and long runs of one letter. A line of Python is copied.
    """
    rows = [[number, "ab"[: 1 + number % 2] * number] for number in range(1_500)]
    table = Table(["n", "word"], [*rows, [1, "é,\n"]], "Rows.", name="rows")
    whole = Panels([square("1", "Left"), square("2", "Right")], "Two.", table=table, python="print(1)")
    page = page_of(square("A circle 40 wide.", svg=STEPS, steps=2, choose="step"), whole)
    found = run("menus.mjs", page.write(tmp_path / "page.html"), tmp_path)
    assert found == {"figures": TAKEN, "requests": [], "console": [], "csp": []}
    assert (tmp_path / "rows.csv").read_bytes() == table.to_csv().encode()
    drawn, panels = ((tmp_path / f"{name}.svg").read_text() for name in ("figure-1", "rows"))
    assert ("<circle" in drawn, "at-1" in drawn, "currentColor" in drawn + panels) == (True, False, False)
    assert [text.text for text in ET.fromstring(panels).iter("{http://www.w3.org/2000/svg}text")] == ["Left", "Right"]
    levels = np.asarray(Image.open(tmp_path / "figure-1.png").convert("L"))
    assert (levels[0, 0], levels.min() < 40, levels.shape) == (255, True, (216, 372))
    assert len(table.to_csv()) > 1_500_000
