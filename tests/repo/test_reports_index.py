"""The index of the pages: what it says of each study, read from the pages themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe import ProbeError
from probe.report import Page, Section, Text
from reports import build_index


def study(folder: Path, lead: str, *others: str) -> None:
    """Build a study's first page and others beside it."""
    Page("What it <learned>", lead, [Section("One", [Text("x")], key="one")]).write(folder / "index.html")
    for name in others:
        Page(f"Of {name}", "Said.", [Section("One", [Text("x")], key="one")]).write(folder / f"{name}.html")


def test_each_study_is_told_by_its_own_first_sentences(tmp_path: Path) -> None:
    """The title and the lead are those of the page, inert as there; other pages are linked by their titles."""
    study(tmp_path / "counter", "It counts & <b>drifts</b>.", "states", "controls")
    study(tmp_path / "another", "It does not.")
    page = build_index.build(tmp_path)
    assert [section.key for section in page.sections] == ["another", "counter"]
    text = page.render()
    assert "4 pages." in text
    assert "What it &lt;learned&gt;" in text
    assert "It counts &amp; &lt;b&gt;drifts&lt;/b&gt;." in text
    for target in ("another/index.html", "counter/index.html", "counter/states.html", "counter/controls.html"):
        assert f'href="{target}"' in text
    assert text.index("Of controls") < text.index("Of states")


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    """No study, and an HTML file that is no page, are errors that name the path."""
    with pytest.raises(ProbeError, match="No study in"):
        build_index.build(tmp_path)
    (tmp_path / "counter").mkdir()
    (tmp_path / "counter" / "index.html").write_text("<p>nothing")
    with pytest.raises(ProbeError, match=r"counter/index\.html.*no page"):
        build_index.build(tmp_path)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where and how large, and that it failed where there is nothing."""
    assert build_index.run(["--reports", str(tmp_path)]) == 1
    assert "error: No study" in capsys.readouterr().err
    study(tmp_path / "counter", "It counts.")
    assert build_index.run(["--reports", str(tmp_path)]) == 0
    path = tmp_path / "index.html"
    assert capsys.readouterr().out == f"{path} {path.stat().st_size} bytes\n"
