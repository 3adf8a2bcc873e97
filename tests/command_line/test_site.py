"""`rnn-probe site` puts several studies together: an index says of each what its own page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusing import refused as raised

from probe.command_line.main import run
from probe.report import Figure, Page, Section, Text
from probe.studies.pages.site import head_of, write_site


def test_the_help_says_that_code_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody runs a stranger's file unasked."""
    assert run(["report", "--help"]) == 0
    assert "are run: give none that you do not trust" in " ".join(capsys.readouterr().out.split())


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'


def study(folder: Path, lead: str, *others: str, title: str = "What it <learned>") -> Path:
    """Build a study's first page, which shows before it tells, and others beside it."""
    said = Section("One", [Text("x")], key="one")
    hero = [Figure(SVG, "1 square", "A square.", "Square")]
    Page(title, lead, [said], hero=hero).write(folder / "index.html")
    for name in others:
        Page(f"Of {name}", "Said.", [said]).write(folder / f"{name}.html")
    return folder


def test_each_study_is_told_by_its_own_first_sentences(tmp_path: Path) -> None:
    """The title and the lead are those of the page, inert as there; other pages are linked; a second run is equal."""
    folders = [
        study(tmp_path / "counter", "It counts & <b>drifts</b>.", "states", "controls"),
        study(tmp_path / "another_one", "It does not."),
    ]
    path = write_site(folders, tmp_path, title="Mine")
    text = path.read_text()
    assert path == tmp_path / "index.html"
    assert "<title>Mine</title>" in text
    assert "4 pages." in text
    assert ">What it &lt;learned&gt;</h2>" in text
    assert "It counts &amp; &lt;b&gt;drifts&lt;/b&gt;." in text
    for target in ("another_one/index.html", "counter/index.html", "counter/states.html", "counter/controls.html"):
        assert f'href="{target}"' in text
        assert (path.parent / target).is_file()
    assert text.index("Of controls") < text.index("Of states") < text.index("another_one/")
    assert text.count('class="thumbnail"') == 2
    assert head_of(folders[0] / "index.html") == ("What it <learned>", "It counts & <b>drifts</b>.")
    assert write_site(folders, tmp_path, title="Mine").read_text() == text


def test_what_cannot_be_linked_is_refused(tmp_path: Path) -> None:
    """An error names what was given and what to do, and nothing is written."""
    one = study(tmp_path / "one", "It counts.")
    for folders in ([], [one, tmp_path / "empty"], [study(tmp_path / "other" / "two", "No.")]):
        with raised():
            write_site(folders, tmp_path)
    with raised():
        write_site([study(tmp_path / "Big Name", "No.")], tmp_path)
    bad = study(tmp_path / "bad", "It counts.")
    (bad / "more.html").write_text("<p>nothing")
    with raised():
        write_site([one, bad], tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where and how large, and that it failed where there is nothing."""
    assert run(["site", str(tmp_path / "no"), "-o", str(tmp_path)]) == 1
    assert "has no index.html" in capsys.readouterr().err
    folders = [str(study(tmp_path / name, "It counts.")) for name in ("a", "b")]
    assert run(["site", *folders, "-o", str(tmp_path)]) == 0
    path = tmp_path / "index.html"
    assert capsys.readouterr().out == f"{path} {path.stat().st_size} bytes\n"
