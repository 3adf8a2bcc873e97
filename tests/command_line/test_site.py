"""`rnn-probe site` puts several studies together: an index says of each what its own page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import ran, refused
from pages_read import SVG, square
from refusing import refused as raised

from probe.report import Link, Page, Section, Table, Text
from probe.studies.pages.site import write_site


def study(folder: Path, lead: str, *others: str, title: str = "What it <learned>") -> Path:
    """Build a study's first page, which shows before it tells, and others beside it, in the order of neighbours."""
    said = Section("One", [Text("x"), Table(["n"], [[1]], "t")], key="claims")
    Page(title, lead, [said], hero=[square("1 square")]).write(folder / "index.html")
    beside = [[], *([Link(one, f"{one}.html")] for one in others), []]
    for name, before, after in zip(others, beside, beside[2:], strict=False):
        shown = Section("One", [square("1", svg=SVG.replace("<rect", "<text>w</text><rect"))], key="one")
        way = {"up": [Link("The <study>", "index.html")], "neighbours": [*before, *after]}
        Page(f"Of {name}", "Said.", [shown], **way).write(folder / f"{name}.html")
    return folder


def test_each_study_is_told_by_its_own_first_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The title and the lead are those of the page, inert as there; a second run is equal.

    Other pages are linked in the order of their neighbours, and no network is said to run where none does.
    """
    first = study(tmp_path / "counter", "It counts & <b>drifts</b>.", "states", "controls", "more")
    folders, path = [first, study(tmp_path / "another_one", "It does not.")], tmp_path / "index.html"
    printed = ran(capsys, "site", *folders, "-o", tmp_path, "--title", "Mine")
    assert printed == f"{path} {path.stat().st_size} bytes\n"
    text = path.read_text()
    told = ("<title>Mine</title>", "2 studies, 5 pages.", ">The &lt;study&gt;, page by page</h2>")
    told += ("What it &lt;learned&gt;</a>", "It counts &amp; &lt;b&gt;drifts&lt;/b&gt;.")
    assert [part for part in told if part not in text] == []
    names = ("index.html", "index.html", "index.html#claims")
    linked = [f"{one}/{name}" for one in ("counter", "another_one") for name in names]
    linked += [f"counter/{name}.html" for name in ("states", "controls", "more")]
    assert re.findall(r'href="([a-z_]+/[^"]+)"', text) == linked
    assert (text.count('class="whole"'), text.count('class="thumbnail"'), "<text" in text) == (2, 3, False)
    assert write_site(folders, tmp_path, title="Mine").read_text() == text


def test_what_cannot_be_linked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error names what was given and what to do, and nothing is written."""
    one, bad = study(tmp_path / "one", "It counts."), study(tmp_path / "bad", "It counts.")
    (bad / "more.html").write_text("<p>nothing")
    away, large = study(tmp_path / "other" / "two", "No."), study(tmp_path / "Big Name", "No.")
    for folders in ([], [one, tmp_path / "empty"], [away], [large], [one, bad]):
        with raised():
            write_site(folders, tmp_path)
    refused(capsys, "site", tmp_path / "no", "-o", tmp_path)
    assert not (tmp_path / "index.html").exists()
