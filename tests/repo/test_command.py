"""The command line of our own studies: what is measured, judged, told and verified, and what is refused."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from refusing import said

from analyses.__main__ import run
from analyses.counter import study
from models import planted
from models.populations import Population
from probe import Finding, Study
from probe.command_line.shell import FAILED, INTERRUPTED, USAGE
from probe.plots.style import ShownFigure
from probe.studies.verify import Again

REPOSITORY = Path(__file__).parents[2]


def test_what_cannot_be_done_is_said_in_one_line_and_an_interrupt_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is computed; after an interrupt, with what the same command does then."""
    for line in ("conter", "counter accuracy singel-units", "counter --jobs 0", "counter --measure --verify"):
        assert run(line.split()) == (FAILED if "accuracy" in line else USAGE)
        error = capsys.readouterr().err
        assert error.startswith("python -m analyses: ")
        assert error.count("\n") == 1
        said(error)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "each", interrupted)
    assert run(["counter"]) == INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err


def test_help_wrong_words_and_a_module_that_is_run_by_its_path_need_no_torch() -> None:
    """They are answered at once; what is run by its path says what to type, where its imports would fail."""
    code = (
        "import sys; from analyses.__main__ import run\n"
        "codes = [run([word]) for word in ('--help', 'conter', '--no-such')]\n"
        f"sys.exit('torch' in sys.modules or codes != [0, {USAGE}, {USAGE}])"
    )
    path = str(REPOSITORY / "analyses" / "dyck.py")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    helped, ran = (
        subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
        for words in (["-c", code], [path])
    )
    assert (helped.returncode, "--findings" in helped.stdout) == (0, True)
    said(ran.stderr)
    assert (ran.returncode, ran.stdout, "Type one of these" in ran.stderr) == (USAGE, "", True)
    # A relative import fails before anything of ours can say so.
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (REPOSITORY / "analyses").rglob("*.py")]
    assert not any(isinstance(node, ast.ImportFrom) and node.level for tree in trees for node in ast.walk(tree))


def test_networks_are_measured_then_judged_and_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two counters and a planted network: nothing is judged before; then a question has its folder and lines.

    Of a figure that is one of Python, which draws it.
    """
    for name, value in {
        "SECOND_JUDGED": Population("few", "counter", range(2000, 2002)),
        "STUDIES": {"judged": lambda fit=True: study.judged(["bit_effects"], fit=fit)},
        "PANEL": {"judged": ("planted/ones",)},
        "FOLDER": tmp_path,
    }.items():
        monkeypatch.setattr(study, name, value)
    ones = {"ones": planted.battery()["ones"]}
    monkeypatch.setattr(planted, "battery", lambda: ones)
    monkeypatch.chdir(tmp_path)
    assert run(["counter", "bit-effects"]) == FAILED
    assert "Measure what is missing" in capsys.readouterr().err
    assert run(["counter", "--measure"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{tmp_path / 'judged.csv.xz'}: 3 networks measured, with their controls\n"
    assert run(["counter", "bit-effects", "--findings", "found", "--figures", "figures"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    finding = Finding.read(tmp_path / "found" / "bit_effects")
    claims = finding.claims
    assert {claim.verdict for claim in claims} == {"undecided"}
    exec(finding.python(0).replace("; ", "; got = "), given := {})
    assert (given["got"].svg, type(given["got"].figure)) == (finding.figures[0].svg, ShownFigure)
    assert [line.split()[:2] for line in lines].count([claims[0].rule.key, "undecided:"]) == 1
    drawn = {str(path) for path in Path("figures").glob("*/*")}
    assert {Path(path).suffix for path in drawn} == {".svg", ".pdf", ".png"}
    assert drawn <= set(lines)
    assert run(["counter", "--verify"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["the", "the"]
    moved = [Again("planted/ones", 1, 0, ("accuracy moved.",), 0.1)]
    monkeypatch.setattr(Study, "verify", lambda *_, **__: iter(moved))
    monkeypatch.setitem(study.STUDIES, "judged", lambda: study.judged(["bit_effects"], fit=False))
    assert run(["counter", "--verify", "--everything"]) == FAILED
    assert capsys.readouterr().err == "python -m analyses: accuracy moved.\n"


def test_the_command_of_the_docs_draws_for_papers_and_a_question_without_a_figure_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--figures` of a question that draws nothing would leave no folder, and not a word."""
    told = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    ((words, draws),) = re.findall(r"`python -m analyses (counter (\S+) --figures) DIR`", told)
    monkeypatch.chdir(tmp_path)
    assert run([*words.split(), "figures", "--findings", "found", "--quiet"]) == 0
    assert "no figure" not in capsys.readouterr().out
    drawn = list((tmp_path / "figures" / draws.replace("-", "_")).iterdir())
    assert {path.suffix for path in drawn} == {".svg", ".pdf", ".png"}
    assert run(["counter", "single-units", "--figures", "none", "--findings", "found", "--quiet"]) == 0
    assert "  no figure: the question draws none\n" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
