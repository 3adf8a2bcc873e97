"""The command line of our own studies: what is measured, judged, told and verified, and what is refused."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analyses.__main__ import FAILED, INTERRUPTED, USAGE, run
from analyses.counter import study
from models import planted
from models.populations import Population
from probe import Finding, Study
from probe.studies.verify import Again

REPOSITORY = Path(__file__).parents[2]
NAMED = ("accuracy", "bit_effects")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["conter"], "There is no study 'conter'; there is 'counter'"),
        (["counter", "accuracy", "singel-units"], "Did you mean 'single_units'?"),
        (["counter", "--jobs", "0"], "--jobs is 0; give 1 or more."),
        (["counter", "accuracy", "--pages"], "give one of them, and no question."),
        (["counter", "--measure", "--verify"], "give one of them, and no question."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is computed."""
    assert run(words) == FAILED
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_help_and_wrong_words_need_no_torch() -> None:
    """They are answered at once; a word that is no option is wrong usage."""
    code = (
        "import sys; from analyses.__main__ import run\n"
        "codes = [run([word]) for word in ('--help', 'conter', '--no-such')]\n"
        f"sys.exit('torch' in sys.modules or codes != [0, {FAILED}, {USAGE}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--findings" in done.stdout


def test_a_module_that_is_run_by_its_path_says_what_to_type() -> None:
    """In one sentence, where its imports would fail or nothing at all would be printed."""
    path = str(REPOSITORY / "analyses" / "counter" / "study.py")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False)
    said = f"error: {path} is a module of a study, and is not run by its path. Type: python -m analyses counter\n"
    assert (done.returncode, done.stdout, done.stderr) == (USAGE, "", said)


def test_modules_of_studies_import_each_other_by_their_whole_names() -> None:
    """A relative import fails before anything of ours can say what to type."""
    files = sorted((REPOSITORY / "analyses").rglob("*.py"))
    relative = [
        file.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert len(files) > 30
    assert relative == []


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the study be of two counters and one planted network; return where it is measured."""
    monkeypatch.setattr(study, "SECOND_JUDGED", Population("few", "counter", range(2000, 2002)))
    ones = {"ones": planted.battery()["ones"]}
    monkeypatch.setattr(planted, "battery", lambda: ones)
    monkeypatch.setattr(study, "STUDIES", {"judged": lambda: study.judged(NAMED)})
    monkeypatch.setattr(study, "PANEL", {"judged": ("planted/ones",)})
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "judged.csv.xz"


def test_networks_are_measured_then_judged_and_measured_again(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is judged before; then each question has its folder, its figures and its lines."""
    words = [name.replace("_", "-") for name in NAMED]
    assert run(["counter", *words]) == FAILED
    assert "Measure what is missing" in capsys.readouterr().err
    assert run(["counter", "--measure"]) == 0
    assert capsys.readouterr().out == f"{few}: 3 networks measured, with their controls\n"
    assert run(["counter", *words, "--findings", "found", "--figures", "figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in NAMED:
        finding = Finding.read(few.parent / "found" / name)
        assert {claim.verdict for claim in finding.claims} == {"undecided"}
        assert [line.split() for line in lines].count([finding.claims[0].rule.key, "undecided"]) == 1
    drawn = {str(path) for path in Path("figures").glob("*/*")}
    assert {Path(path).suffix for path in drawn} == {".svg", ".pdf", ".png"}
    assert drawn <= {line.strip() for line in lines}
    assert run(["counter", "--verify"]) == 0
    verified = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in verified] == ["the", "the"]
    moved = [Again("planted/ones", 1, 0, ("accuracy moved.",), 0.1)]
    monkeypatch.setattr(Study, "verify", lambda *_, **__: iter(moved))
    assert run(["counter", "--verify", "--everything"]) == FAILED
    assert capsys.readouterr().err == "error: accuracy moved.\n"


def test_an_interrupt_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With what the same command does then."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "findings", interrupted)
    assert run(["counter"]) == INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
