"""`rnn-probe report` runs a report of one's own, and `rnn-probe site` puts several together.

- `rnn-probe report` runs a report of one's own: a Python file or a folder that defines `report(folder, *, jobs)`.
- Several studies as one site: their pages side by side, and an index that says of each what its own page says.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from refusing import refused as raised

from probe.command_line.main import run
from probe.report import Figure, Page, Section, Text
from probe.studies.pages.site import head_of, write_site

OWN = """
from pathlib import Path

from probe.report import Page, Section, Text


def report(folder: Path, *, jobs: int) -> Path:
    page = Page("Mine", f"{jobs} at a time.", [Section("One", [Text("x")], key="one")])
    return page.write(folder / "mine.html")
"""


def written(folder: Path, text: str = OWN, name: str = "report.py") -> Path:
    """Write a Python file into a folder, which is made, and return its path."""
    folder.mkdir(exist_ok=True)
    _ = (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run the command line where it must fail, and return the one line that it says."""
    assert run(["report", *map(str, words)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_run_and_its_page_is_printed(whole: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file and its folder mean the same; the function is given the folder and how many processes it may use."""
    file, out = written(tmp_path / "mine"), tmp_path / "out"
    words = ["report", str(file.parent if whole else file), "-o", str(out), "--jobs", "3"]
    for _ in range(2):  # once more, into its own folder
        assert run(words) == 0
        page = out / "mine.html"
        assert capsys.readouterr().out == f"{page} {page.stat().st_size} bytes\n"
        assert "3 at a time." in page.read_text(encoding="utf-8")


def test_a_report_may_run_a_study_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What marks the folder as a study's and what marks it as this report's do not meet."""
    text = OWN + '\n    \ndef before(folder):\n    (folder / "study.json").write_text("{}")\n    return folder\n'
    file = written(tmp_path, text.replace("return page.write(folder", "return page.write(before(folder)"))
    for _ in range(2):
        assert run(["report", str(file), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("option", "value"), [("--seed", "1"), ("--figures", "figures")])
def test_what_is_of_a_study_alone_is_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report of one's own draws what it likes: it has no seed to choose, and no figures that we know of."""
    file = written(tmp_path / "mine")
    assert f"{option} is of a study" in refused(capsys, file, "-o", tmp_path / "out", option, value)


def test_another_report_is_replaced_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds a study's page, and one of the file as it was before."""
    file, out = written(tmp_path / "mine"), tmp_path / "out"
    out.mkdir()
    _ = (out / "index.html").write_text("kept")
    assert "holds the report of another study" in refused(capsys, file, "-o", out)
    assert not (out / "mine.html").exists()
    assert run(["report", str(file), "-o", str(out), "--overwrite"]) == 0
    _ = written(tmp_path / "mine", OWN + "\n# changed\n")
    _ = capsys.readouterr()
    assert "before its Python file was changed" in refused(capsys, file, "-o", out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 3", "defines no report(folder, *, jobs) and no study"),
        ("report = 3", "does not fit (3 is not a callable object). It is called as report(folder, jobs=1)"),
        ("def report(folder):\n    return folder", "does not fit (got an unexpected keyword argument 'jobs')"),
        (
            "def report(folder, *, jobs):\n    return 3",
            "returned 3, which is no Path. It is called as",
        ),
        ("def report(folder, *, jobs):\n    return folder / 'no'", "out/no', where no file is"),
        ("def report(folder, *, jobs):\n    return 1 / 0", "raised ZeroDivisionError (division by zero"),
        ("def report(folder, *, jobs):\n    exit(0)", "asks to exit, with the code 0"),
        (OWN + "\nstudy = 3", "defines both study and report; keep the one that you mean"),
        ("import nothing_of_the_kind", "cannot be run: ModuleNotFoundError"),
    ],
)
def test_what_is_no_report_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, and what it should define."""
    told = refused(capsys, written(tmp_path, text), "-o", tmp_path / "out")
    assert message in told
    assert "report.py" in told


def test_what_is_neither_study_nor_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was given is named, and what may be: no path, another ending, a folder without the file, another name."""
    for name, message in (
        ("nowhere.py", "There is no study"),
        ("study.json", "a folder whose report.py defines the latter"),
        ("empty", "is a folder without a report.py. Give a .toml file, a .py file that defines study or report("),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        told = refused(capsys, tmp_path / name, "-o", tmp_path / "out")
        assert message in told
        assert name in told
    file = written(tmp_path, "x = 3", "mine.py")
    assert "must hold study = probe.Study(...), or define report(" in refused(capsys, file, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seed is a study's; there is no half process; the report is a folder."""
    file = written(tmp_path)
    assert "--seed is of a study" in refused(capsys, file, "-o", tmp_path / "out", "--seed", "1")
    assert "--jobs 0 must be 1 or more" in refused(capsys, file, "-o", tmp_path / "out", "--jobs", "0")
    assert "is a file; the report is a folder" in refused(capsys, file, "-o", file)
    assert not (tmp_path / "out").exists()


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
    with raised():
        write_site([], out)
    with raised():
        write_site([one, tmp_path / "empty"], out)
    with raised():
        write_site([one, study(tmp_path / "other" / "one", "No.")], out)
    with raised():
        write_site([study(tmp_path / "Big Name", "No.")], out)
    bad = study(tmp_path / "bad", "It counts.")
    (bad / "more.html").write_text("<p>nothing")
    with raised():
        write_site([one, bad], out)
    assert not out.exists()
    study(out / "one", "Another page.")
    with raised():
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
