"""Built pages in a real Chromium: silent, readable by everyone, on any screen and on paper."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probe.plots.style import ROLE_STYLE, new_figure, style
from probe.report import (
    Code,
    CodeSpan,
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
from tests.browser.tools import STANDARD_BYTES, lost_on_paper, need, run

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "\u202egnp.exe \u2066 isolated",
    "x" * 10_000,
    "\N{CLOWN FACE}\N{ZERO WIDTH JOINER}\N{CLOWN FACE}",
    "nul \x00 bell \x07 c1 \x85",
]


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need("Chromium", "pypdf")


def pictures() -> list[str]:
    """Return lines, a mesh and a cloud of 2,000 points as SVG."""
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
    claims = pd.DataFrame(
        {
            "claim": ["The count is linear in the cell state at every step", "Forget gates stay open"] * 3,
            "value": [0.998, 0.72, 0.94, -0.5, 1.0, np.nan],
            "interval": [(0.99, 1.0), (0.6, 0.8), None, None, None, None],
            **{
                name: np.arange(6) / 7
                for name in ("null", "own initialisation", "planted", "n", "networks", "margin")
            },
            "verdict": ["established", "refuted", "undecided", "not specific", "passed", "failed"],
        }
    )
    steps = Table.from_frame(pd.DataFrame({"step": range(80), "value": np.arange(80) / 3}), "By step", name="steps")
    sentence = [
        "It is ",
        Verdict("established"),
        " that ",
        Strong("h"),
        CodeSpan("o tanh(c)"),
        Link(" all", "#claims"),
    ]
    details = Details("Words", [Text("A gate lies between 0 and 1."), steps])
    blocks = {
        "count": [
            Text(["One paragraph.", sentence]),
            Figure(first, "Five lines rise by 9.", "Count after each bit.", "Count", steps),
        ],
        "gates": [
            Points(["A point", sentence]),
            Figure(second, "Two maps of 12 by 10 cells.", "Gates."),
            Section("Deeper", [details], "deeper"),
        ],
        "states": [
            Figure(third, "A cloud of 2000 points.", "States."),
            Code("make pages\n" + "python -m analyses counter " * 12, "command"),
        ],
        "claims": [Table.from_frame(claims, "All claims.", verdict="verdict", name="claims")],
    }
    return Page(
        "What the counter computes",
        ["It counts: ", Strong("3 of 6 statements hold"), "."],
        [Section(f"About {key}", found, key) for key, found in blocks.items()],
        provenance={"seed": "0", "checkpoint": "0123456789abcdef" * 4, "command": "make pages"},
    )


def hostile() -> Page:
    """Return a page with every hostile text in every place that takes one."""
    svg = pictures()[0]
    sections = []
    for index, text in enumerate(HOSTILE):
        rows = [[text, text, 1.5], ["x", "y", -2]]
        table = Table([text, "b", "c"], rows, text, verdict="b", name="data", sortable=True)
        blocks = [
            Text([text, [text, Strong(text), CodeSpan(text), Link(text, f"#s{index}"), Verdict(text)]]),
            Points([text]),
            Figure(svg, f"{text} 1", text, title=text, table=table),
            table,
            Code(text, text),
            Details(text, [Text(text), table]),
        ]
        sections.append(Section(text, blocks, f"s{index}"))
    return Page("".join(HOSTILE), "".join(HOSTILE), sections, provenance={text: text for text in HOSTILE})


def test_a_page_passes_every_check(tmp_path: Path) -> None:
    """No request, message or violation; axe finds nothing in four modes; nothing is cut off on phone or paper."""
    path, pdf = demo().write(tmp_path / "index.html"), tmp_path / "page.pdf"
    report = run("check_page.mjs", path, "--out", tmp_path / "out", "--pdf", pdf)
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert set(report["axe"]) == {"light", "dark", "narrow", "forced"}
    assert report["texts"]["characters"] > 500
    assert report["print"]["sheets"] >= 2
    assert report["bytes"] == path.stat().st_size < STANDARD_BYTES
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"light.png", "dark.png", "phone.png"}
    assert lost_on_paper(report["print"]["texts"], pdf) == []


def test_a_page_of_hostile_texts_passes_every_check(tmp_path: Path) -> None:
    """Markup, control characters, turned writing and endless words in every place: the same bars."""
    report = run("check_page.mjs", hostile().write(tmp_path / "index.html"))
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert report["texts"]["characters"] > 500


FAULTS = """
<img src="http://127.0.0.1:9/x.png">
<script>console.log(1); addEventListener("load", () => document.querySelector("main").append("late"))</script>
<div><pre>wide wide</pre></div><table><tr><td>wide</table>
<details><summary>s</summary><p>folded</p></details>
<a href="#a" tabindex="-1">never</a><a href="#b" style="outline: none">nowhere</a>
""".replace("wide", "x" * 500)


def faulty(path: Path, policy: str, body: str) -> list[str]:
    """Return what the checker calls wrong with a page of this policy and body."""
    path.write_text(
        f'<!doctype html><html lang="en"><head><title>t</title><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"></head><body><main>{body}</main></body></html>',
        encoding="utf-8",
    )
    return run("check_page.mjs", path)["wrong"]


def test_the_checker_sees_what_is_wrong(tmp_path: Path) -> None:
    """The control arm: each fault of a page is reported by its name."""
    found = faulty(tmp_path / "faulty.html", "default-src * 'unsafe-inline' data:", FAULTS + "<button>b</button>")
    assert set(found) >= {
        "requests",
        "console",
        "axe light",
        "axe narrow",
        "overflow",
        "text without scripts",
        "text in a sandbox",
        "print clipped",
        "print folded",
        "print controls",
        "skip link",
        "keyboard unreached",
        "keyboard unseen",
    }
    assert "csp" not in found


def test_the_checker_sees_what_the_policy_blocks(tmp_path: Path) -> None:
    """A style attribute under a strict policy is a violation, and Chromium says so on the console."""
    found = faulty(tmp_path / "styled.html", "default-src 'none'", '<p style="color: red">styled</p>')
    assert {"csp", "console"} <= set(found)
    assert "requests" not in found


def test_what_is_not_printed_is_missed(tmp_path: Path) -> None:
    """The control arm of the reading of a PDF: a row that print hides is named, and its neighbour is not."""
    path = tmp_path / "hidden.html"
    rows = "<tr><td>the first row of floors</td></tr><tr id='gone'><td>the second row</td></tr>"
    style = "<style>@media print { #gone { display: none } }</style>"
    assert path.write_text(f"<!doctype html><title>t</title>{style}<main><table>{rows}</table></main>")
    report = run("check_page.mjs", path, "--pdf", tmp_path / "page.pdf")
    assert lost_on_paper(report["print"]["texts"], tmp_path / "page.pdf") == ["the second row"]
