"""`rnn-probe site` puts several studies together: an index says of each what its own page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ran, refused
from pages_read import square
from refusing import refused as raised

from probe.report import Page, Section, Text
from probe.studies.pages.site import head_of, write_site


def study(folder: Path, lead: str, *others: str, title: str = "What it <learned>") -> Path:
    """Build a study's first page, which shows before it tells, and others beside it."""
    said = Section("One", [Text("x")], key="one")
    Page(title, lead, [said], hero=[square("1 square")]).write(folder / "index.html")
    for name in others:
        Page(f"Of {name}", "Said.", [said]).write(folder / f"{name}.html")
    return folder


def test_each_study_is_told_by_its_own_first_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The title and the lead are those of the page, inert as there; other pages are linked; a second run is equal."""
    first = study(tmp_path / "counter", "It counts & <b>drifts</b>.", "states", "controls")
    folders, path = [first, study(tmp_path / "another_one", "It does not.")], tmp_path / "index.html"
    printed = ran(capsys, "site", *folders, "-o", tmp_path, "--title", "Mine")
    assert printed == f"{path} {path.stat().st_size} bytes\n"
    text = path.read_text()
    told = (
        "<title>Mine</title>",
        "4 pages.",
        ">What it &lt;learned&gt;</h2>",
        "It counts &amp; &lt;b&gt;drifts&lt;/b&gt;.",
    )
    assert [part for part in told if part not in text] == []
    for target in ("another_one/index.html", "counter/index.html", "counter/states.html", "counter/controls.html"):
        assert f'href="{target}"' in text
    assert text.index("Of controls") < text.index("Of states") < text.index("another_one/")
    assert text.count('class="thumbnail"') == 2
    assert head_of(first / "index.html") == ("What it <learned>", "It counts & <b>drifts</b>.")
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
