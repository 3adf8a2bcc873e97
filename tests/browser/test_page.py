"""Built pages in a real Chromium: silent, readable by everyone, on any screen and on paper."""

from __future__ import annotations

from pathlib import Path

from pages_read import HOSTILE, full_section

from probe.report import Page
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
    assert report["texts"]["characters"] > 500
    assert report["print"]["sheets"] >= 2
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
