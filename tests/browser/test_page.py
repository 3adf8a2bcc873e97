"""Built pages in a real Chromium: silent, readable by everyone, on any screen and on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pages_read import HOSTILE, full_section

from probe.plots.style import ROLE_STYLE, new_figure, style
from probe.report import (
    Code,
    Details,
    Figure,
    Link,
    Page,
    Points,
    Section,
    Strong,
    Table,
    Text,
    Verdict,
    figure_to_svg,
)
from tests.browser.tools import STANDARD_BYTES, checked, lost_on_paper, run

NEEDS = ("Chromium", "pypdf")


def pictures() -> list[str]:
    """Return lines, two meshes and a cloud of 2,000 points as SVG."""
    rng = np.random.default_rng(0)
    with style():
        first, axes = new_figure()
        for index, (role, look) in enumerate(ROLE_STYLE.items()):
            axes[0, 0].plot(np.arange(1, 11), np.arange(10) + index, label=role, **look.line())
        axes[0, 0].set(xlabel="bits read", ylabel="decoded count", title="Count")
        axes[0, 0].legend()
        second, axes = new_figure(2, width=8)
        for ax in axes[0]:
            ax.pcolormesh(rng.standard_normal((12, 10)), cmap="vlag", vmin=-3, vmax=3)
            ax.set(xlabel="step", ylabel=HOSTILE[0])
        third, axes = new_figure()
        axes[0, 0].scatter(*rng.standard_normal((2, 2000)))
    return [figure_to_svg(figure, name=f"figure-{index}") for index, figure in enumerate((first, second, third))]


def demo() -> Page:
    """Return a page with everything in it that a report has."""
    first, second, third = pictures()
    verdicts = ["established", "refuted", "undecided", "not specific", "passed", "failed"]
    claims = pd.DataFrame(
        {
            "claim": ["The count is linear in the cell state at every step", "Forget gates stay open"] * 3,
            "value": [0.998, 0.72, 0.94, -0.5, 1.0, np.nan],
            "interval": [(0.99, 1.0), (0.6, 0.8), None, None, None, None],
        }
        | {name: np.arange(6) / 7 for name in ("null", "own initialisation", "planted", "n", "networks", "margin")}
        | {"verdict": verdicts}
    )
    steps = Table.from_frame(pd.DataFrame({"step": range(80), "value": np.arange(80) / 3}), "By step", name="steps")
    sentence = ["It is ", Verdict("established"), " that it ", Strong("counts"), Link(" all", "#claims")]
    blocks = [
        Text(["One paragraph.", sentence]),
        Figure(first, "Five lines rise by 9.", "Count after each bit.", "Count", steps),
        Points(["A point", sentence]),
        Figure(second, "Two maps of 12 by 10 cells.", "Gates."),
        Section("Deeper", [Details("Words", [Text("A gate lies between 0 and 1."), steps])], "deeper"),
        Figure(third, "A cloud of 2000 points.", "States."),
        Code("make pages\n" + "python -m analyses counter " * 12, "command"),
        Table.from_frame(claims, "All claims.", verdict="verdict", name="claims"),
    ]
    sections = [Section("About it", blocks[:3], "about"), Section("Claims", blocks[3:], "claims")]
    lead = ["It counts: ", Strong("3 of 6 statements hold"), "."]
    return Page("What the counter computes", lead, sections, provenance={"checkpoint": "0123456789abcdef" * 4})


def test_a_page_passes_every_check(tmp_path: Path) -> None:
    """No request, message or violation; axe finds nothing in four modes; nothing is cut off on phone or paper."""
    path = demo().write(tmp_path / "index.html")
    report = checked(path, tmp_path / "page.pdf")
    assert set(report["axe"]) == {"light", "dark", "narrow", "forced"}
    assert report["texts"]["characters"] > 500
    assert report["print"]["sheets"] >= 2
    assert report["bytes"] == path.stat().st_size < STANDARD_BYTES


def test_a_page_of_hostile_texts_passes_every_check(tmp_path: Path) -> None:
    """Markup, control characters, turned writing and endless words in every place: the same bars."""
    sections = [full_section(text, f"s{number}", sortable=True) for number, text in enumerate(HOSTILE)]
    page = Page("".join(HOSTILE), "".join(HOSTILE), sections, provenance={text: text for text in HOSTILE})
    assert checked(page.write(tmp_path / "index.html"))["texts"]["characters"] > 500


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
