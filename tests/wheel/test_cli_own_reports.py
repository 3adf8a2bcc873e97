"""`rnn-probe report` runs a report of one's own: a Python file or a folder that defines `report(folder, *, jobs)`."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.command_line.main import run

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
