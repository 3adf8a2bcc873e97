"""Several studies as one site: their pages side by side, and an index that says of each what its own page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.command_line.main import run
from probe.errors import ProbeError
from probe.report import Figure, Page, Section, Text
from probe.studies.pages.site import head_of, write_site

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
    """The title and the lead are those of the page, inert as there, and no picture's; other pages are linked."""
    folders = [
        study(tmp_path / "counter", "It counts & <b>drifts</b>.", "states", "controls"),
        study(tmp_path / "more" / "another_one", "It does not."),
    ]
    path = write_site(folders, tmp_path / "site")
    text = path.read_text()
    assert path == tmp_path / "site" / "index.html"
    assert "4 pages." in text
    assert ">What it &lt;learned&gt;</h2>" in text
    assert "It counts &amp; &lt;b&gt;drifts&lt;/b&gt;." in text
    for target in ("another_one/index.html", "counter/index.html", "counter/states.html", "counter/controls.html"):
        assert f'href="{target}"' in text
        assert (path.parent / target).is_file()
    assert text.index("Of controls") < text.index("Of states") < text.index("another_one/")
    assert text.count('class="thumbnail"') == 2
    assert head_of(folders[0] / "index.html") == ("What it <learned>", "It counts & <b>drifts</b>.")
    copied = path.parent / "counter" / "states.html"
    assert copied.read_bytes() == (folders[0] / "states.html").read_bytes()


def test_studies_that_lie_in_the_site_stay_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Only the index is written, the same bytes again."""
    folders = [study(tmp_path / name, "It counts.") for name in ("a", "b")]
    before = (tmp_path / "a" / "index.html").stat().st_mtime_ns
    first = write_site(folders, tmp_path, title="Mine").read_bytes()
    assert b"<title>Mine</title>" in first
    assert write_site(folders, tmp_path, title="Mine").read_bytes() == first
    assert (tmp_path / "a" / "index.html").stat().st_mtime_ns == before


def test_what_cannot_be_linked_or_would_be_lost_is_refused(tmp_path: Path) -> None:
    """An error names what was given and what to do, and nothing is written."""
    one, out = study(tmp_path / "one", "It counts."), tmp_path / "site"
    with pytest.raises(ProbeError, match="A site needs a study"):
        write_site([], out)
    with pytest.raises(ProbeError, match=r"'.*empty' has no index.html"):
        write_site([one, tmp_path / "empty"], out)
    with pytest.raises(ProbeError, match="both called 'one'; rename one"):
        write_site([one, study(tmp_path / "other" / "one", "No.")], out)
    with pytest.raises(ProbeError, match="cannot be linked as 'Big Name'"):
        write_site([study(tmp_path / "Big Name", "No.")], out)
    bad = study(tmp_path / "bad", "It counts.")
    (bad / "more.html").write_text("<p>nothing")
    with pytest.raises(ProbeError, match=r"more\.html.* is no page"):
        write_site([one, bad], out)
    assert not out.exists()
    study(out / "one", "Another page.")
    with pytest.raises(ProbeError, match=r"is another page than .*overwrite=True"):
        write_site([one], out)
    assert "Another page." in (out / "one" / "index.html").read_text()
    write_site([one], out, overwrite=True)
    assert "It counts." in (out / "one" / "index.html").read_text()


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where and how large, and that it failed where there is nothing."""
    assert run(["site", str(tmp_path / "no"), "-o", str(tmp_path)]) == 1
    assert "has no index.html" in capsys.readouterr().err
    folders = [str(study(tmp_path / name, "It counts.")) for name in ("a", "b")]
    assert run(["site", *folders, "-o", str(tmp_path)]) == 0
    path = tmp_path / "index.html"
    assert capsys.readouterr().out == f"{path} {path.stat().st_size} bytes\n"
