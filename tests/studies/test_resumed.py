"""A report that was stopped goes on where it was, and another study's is never overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusing import refused
from studied import bits, planted, study_of, written

from probe import Finding
from probe.command_line import main
from probe.studies.measuring import Progress

#: Questions of one network that take little.
FEW = {"inputs": bits(24, 5), "readout": None, "questions": ["gates", "fixed-points"]}


class StoppedError(Exception):
    """Raised by a test instead of a kill."""


def answered(study: object, folder: Path, **more: object) -> dict[str, str]:
    """Run a study and return what was told of each question, begun ones left out."""
    told: list[Progress] = []
    study.run(folder, progress=told.append, **more)  # pyright: ignore[reportAttributeAccessIssue]
    return {one.question: one.state for one in told if one.state != "started"}


@pytest.mark.usefixtures("undrawn")
def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """After a stop, and where half of a file is no answer; the page is that of a run without one."""
    study, report = study_of(planted(), **FEW), tmp_path / "report"

    def stop(progress: Progress) -> None:
        if progress.question == "fixed-points" and progress.state == "started":
            raise StoppedError

    with pytest.raises(StoppedError):
        study.run(report, progress=stop)
    assert not (report / "index.html").exists()
    again = answered(study, report)
    assert (again["gates"], again["fixed-points"]) == ("kept", "answered")
    study.run(tmp_path / "whole")
    assert (report / "index.html").read_bytes() == (tmp_path / "whole" / "index.html").read_bytes()
    (part,) = (report / "measured").rglob("*.csv.xz")
    part.write_bytes(part.read_bytes()[:-9])
    assert answered(study, report)["gates"] == "answered"


@pytest.mark.usefixtures("undrawn")
def test_another_study_is_refused_unless_it_may_replace_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what differs, and all stays as it was; with overwrite no answer of the first is kept."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    study_of(planted(), **FEW).run(tmp_path)
    before = files()
    for more in ({"seed": 1}, {"inputs": bits(24, 5, seed=1)}, {"title": "Other"}, {"tolerance": 1e-4}):
        with refused():
            study_of(planted(), **FEW | more).run(tmp_path)
    with monkeypatch.context() as patch, refused():
        patch.setattr("probe.studies.identity.__version__", "99.0")
        study_of(planted(), **FEW).run(tmp_path)
    assert files() == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("mine")
    for folder in (mine, mine / "index.html"):  # what is no report
        with refused():
            study_of(planted(), **FEW).run(folder)
    assert (mine / "index.html").read_text() == "mine"
    other = study_of(planted(), **FEW | {"title": "Other"})
    assert set(answered(other, tmp_path, overwrite=True).values()) == {"answered"}


def test_a_python_file_is_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`study = probe.Study(...)` is reported as a TOML file is, and its figures are written for papers too."""
    _ = written(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nimport probe\nfrom functions import ones\nhere = Path(__file__).parent\n"
        "given = here / 'weights.safetensors', here / 'inputs.npy', {'ones': ones}\n"
        "study = probe.Study(*given, questions=['reading-ones', 'gates'])\n"
    )
    words = ["report", str(tmp_path / "mine.py"), "-o", str(tmp_path / "report"), "--quiet"]
    assert main.run([*words, "--figures", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out.splitlines()
    found = {file.parent.name: Finding.read(file.parent) for file in tmp_path.glob("report/findings/*/finding.json")}
    assert [line for line in said if line.startswith("reading-ones: ")] == [found["reading-ones"].lines()[0]]
    wanted = {
        tmp_path / "figures" / name / f"{figure.name}.{form}"
        for name, finding in found.items()
        for figure in finding.figures
        for form in ("svg", "pdf", "png")
    }
    assert set(tmp_path.glob("figures/*/*")) == wanted
    assert {line.strip() for line in said} >= {str(path) for path in wanted}
    page = tmp_path / "report" / "index.html"
    assert f"{page} {page.stat().st_size} bytes" in said
