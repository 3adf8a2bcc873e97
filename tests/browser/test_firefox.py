"""Every committed page, and an explorer, in Firefox with the network blocked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.explorers import EXAMPLE, says, written
from tests.browser.tools import PAGES, run

NEEDS = ("Firefox",)

FAULTY = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; img-src *"></head>
<body><main><p style="color: red">styled</p><img src="http://example.org/x.png">
<script>console.log("said"); throw new Error("thrown")</script></main></body></html>"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what each page asks for, says and violates, by the name of its folder and its own."""
    folder = tmp_path_factory.mktemp("pages") / "made"
    folder.mkdir()
    (folder / "faulty.html").write_text(FAULTY, encoding="utf-8")
    report = run("firefox.mjs", *PAGES, written(folder), folder / "faulty.html")
    assert report["version"].startswith("firefox/")
    return {named(Path(path)): page for path, page in report["pages"].items()}


def named(path: Path) -> str:
    """Return what a page is called here."""
    return f"{path.parent.name}-{path.stem}"


def test_pages_ask_say_and_violate_nothing_and_the_explorer_is_used_by_keyboard(found: dict[str, Any]) -> None:
    """Opened from disk, every detail unfolded, scrolled to its end: no request, no message, no violation.

    Tab reaches the sequence; what is typed is answered as the network itself does, and stands in the address.
    """
    for name in (*map(named, PAGES), "made-index"):
        page = found[name]
        assert (page["requests"], page["console"], page["csp"], page["overflow"]) == ([], [], [], 0), name
        assert page["words"] > 100
    explorer = found["made-index"]["explorer"]
    assert explorer["tabs"] < 20
    assert (says(EXAMPLE) in explorer["before"], says("111011") in explorer["typed"]) == (True, True)
    assert explorer["typed"] != explorer["before"]
    assert "x=111011" in explorer["hash"]


def test_firefox_tells_what_is_wrong(found: dict[str, Any]) -> None:
    """The control arm: a request, what a script says and throws, and a style that the policy forbids are all seen."""
    faulty = found["made-faulty"]
    assert any("example.org" in request for request in faulty["requests"])
    assert "log: said" in faulty["console"]
    assert any("thrown" in message for message in faulty["console"])
    assert any(violation.startswith("style-src") for violation in faulty["csp"])
