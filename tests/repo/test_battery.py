"""The battery as a whole: one checkpoint put through every question, and all claims in one file."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import probe
from analyses.counter import POPULATION_QUESTIONS, QUESTIONS, command, merged
from models import zoo
from models.checkpoints import weights_digest
from models.packing import unpack
from models.recipes import recipe
from models.training import initialise
from tests.repo import asked_once

REPOSITORY = Path(__file__).parents[2]
KEYS = {
    "key",
    "statement",
    "metric",
    "definition",
    "source",
    "rule",
    "value",
    "interval",
    "n",
    "null",
    "own_initialisation",
}
KEYS |= {"planted", "verdict", "rule_first_used", "changed_after_measuring"}


def test_a_checkpoint_without_first_weights_is_asked_everything() -> None:
    """Every question and summary has its finding; the control is what its recipe and seed begin with."""
    found, _ = asked_once.battery()
    assert list(found) == [*QUESTIONS]
    assert all(finding.notes["answer"] for finding in found.values())
    begun = weights_digest(initialise(recipe("hidden-3"), 0))
    weights = found["accuracy"].provenance["weights"]
    assert weights["hidden-3/seed-0/own initialisation"] == begun
    assert list(weights) == [
        *(
            f"hidden-3/seed-0{control}"
            for control in ("", "/own initialisation", "/fitted head", "/ridge head", "/noise head")
        ),
        "planted/ones",
        "planted/ones-alone",
    ]
    for finding in (found[name] for name in QUESTIONS):
        assert {"template", "other"}.isdisjoint(finding.measurements["role"])
        assert (
            finding.provenance["command"]
            == f"python -m analyses counter {finding.question.replace('_', '-')} --checkpoint DIR"
        )


def test_one_checkpoint_decides_nothing() -> None:
    """What a verdict about the recipe needs is many networks."""
    found, _ = asked_once.battery()
    claims = [claim for finding in found.values() for claim in finding.claims]
    assert {claim.verdict for claim in claims} == {"undecided"}
    assert all(claim.n == 1 for claim in claims)


def test_all_claims_stand_in_one_file_with_their_rules() -> None:
    """`findings.json` has an entry a claim, with the rule's digest and the numbers of the claim itself."""
    found, entries = asked_once.battery()
    claims = {claim.rule.key: claim for finding in found.values() for claim in finding.claims}
    assert [entry["key"] for entry in entries] == list(claims)
    for entry in entries:
        assert set(entry) >= KEYS
        assert entry["rule"]["digest"] == claims[entry["key"]].rule.digest
        assert entry["value"] == pytest.approx(claims[entry["key"]].value, rel=1e-5)
        assert entry["verdict"] == claims[entry["key"]].verdict


def test_tensorflows_checkpoint_is_studied_alone_by_several_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its findings are about it, its planted controls and nothing else; what is done is said meanwhile."""
    checkpoint, out = unpack("tf1", 0, tmp_path / "tf1"), tmp_path / "out"
    words = ["--checkpoint", str(checkpoint), "--out", str(out), "--jobs", "2"]
    assert command.run(["accuracy", "bit-effects", *words, "--figures", str(tmp_path / "figures")]) == 0
    loading, first, second, drawing = capsys.readouterr().err.splitlines()
    assert loading.startswith("Loading the networks")
    assert {first.split(",")[0], second.split(",")[0]} == {"Answered accuracy", "Answered bit-effects"}
    assert (first[-7:], second[-7:]) == ("1 of 2.", "2 of 2.")
    assert drawing.endswith(f"{tmp_path / 'figures'}.")
    found = probe.Finding.read(out / "bit_effects")
    networks = found.measurements[["role", "network"]].drop_duplicates()
    assert networks["role"].tolist() == ["trained", "fitted head", "ridge head", "noise head", "planted", "planted"]
    digest = weights_digest(zoo.tensorflows_network().model)
    assert found.provenance["weights"][networks["network"].iloc[0]] == digest
    entries = json.loads((out / merged.NAME).read_text())
    assert {entry["question"] for entry in entries} == {"accuracy", "bit_effects"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "there", "--recipe", "counter"], "give one of them"),
        (["--checkpoint", "there", "--measured", "there"], "leave --measured out"),
        (["--recipe", "counter", "--figures", "there"], "leave --figures out"),
        (["--seeds", "0:3"], "--seeds goes with --recipe"),
        (["--recipe", "planted", "--seeds", "0:3"], "have no seeds"),
        (["--recipe", "counter", "--seeds", "3:0"], "--seeds is '3:0'"),
        (["--recipe", "counter", "--seeds", "all"], "--seeds is 'all'"),
        (["--recipe", "counter", "--seeds", "0:99999999999999999999"], "of 100000 at most"),
        (["--jobs", "0"], "--jobs is 0; give 1 or more"),
        (["--recipe", "counter", "--cluster", "tcp://host:1", "--jobs", "2"], "--cluster for others, not both"),
        (["--cluster", "tcp://host:1"], "--cluster goes with --recipe"),
        (["--recipe", "counter"], "leave --out out"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said in one line, before anything is computed."""
    assert command.run(["accuracy", *words, "--out", str(tmp_path / "out")]) == command.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_question_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists the questions and the nearest one, before torch is loaded."""
    assert command.run(["accuracy", "singel-units"]) == command.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: There is no question 'singel-units'; there is 'accuracy', 'single-units', ")
    assert error.endswith("Did you mean 'single-units'?\n")
    assert all(repr(name.replace("_", "-")) in error for name in QUESTIONS)


@pytest.mark.parametrize("name", [*POPULATION_QUESTIONS, "verdicts"])
def test_what_needs_all_questions_is_not_asked_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which command makes it, and lists no questions that were not meant."""
    word = name.replace("_", "-")
    assert command.run([word]) == command.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert repr(word) in error
    assert f"and makes {word} with them" in error
    assert "`python -m analyses counter" in error
    assert "Did you mean" not in error


def test_help_lists_what_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """Every question and population question by the name of its folder with dashes."""
    assert command.run(["--help"]) == 0
    words = re.findall(r"[\w-]+", capsys.readouterr().out)
    assert {name.replace("_", "-") for name in (*QUESTIONS, *POPULATION_QUESTIONS)} <= set(words)


@pytest.mark.parametrize("word", ["--help", "singel-units", "training-signal"])
def test_help_and_wrong_names_need_no_torch(word: str) -> None:
    """They are answered at once."""
    code = f"import sys; from analyses.counter.command import run; run([{word!r}]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False).returncode == 0
    )


def test_the_command_fails_in_one_line_and_leaves_other_peoples_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is no finding is not written into; a missing network and recipe are named; wrong usage is 2."""
    (tmp_path / "accuracy").mkdir()
    (tmp_path / "accuracy" / "mine.txt").write_text("mine")
    assert command.run(["accuracy", "--out", str(tmp_path)]) == command.FAILED
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "is no finding" in error
    assert [path.name for path in (tmp_path / "accuracy").iterdir()] == ["mine.txt"]
    gone = ["--checkpoint", str(tmp_path / "gone"), "--out", str(tmp_path / "o")]
    assert command.run(["accuracy", *gone]) == command.FAILED
    assert "gone" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert command.run(["accuracy", "--recipe", "conter", "--measured", str(tmp_path)]) == command.FAILED
    assert "Did you mean 'counter'" in capsys.readouterr().err
    assert command.run(["accuracy", "--ouut", "x"]) == command.USAGE
    assert command.run(["accuracy", "--jobs", "1.5"]) == command.USAGE
    assert command.run(["accuracy", "--help"]) == 0


@pytest.mark.parametrize(
    ("file", "typed"),
    [
        ("counter/single_units.py", "counter single-units"),
        ("counter/command.py", "counter --help"),
        ("flipflop/page.py", "flipflop --help"),
        ("__main__.py", "--help"),
    ],
)
def test_a_module_that_is_run_by_its_path_says_what_to_type(file: str, typed: str) -> None:
    """In one sentence, where its imports would fail or nothing at all would be printed."""
    path = str(REPOSITORY / "analyses" / file)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False)
    said = f"error: {path} is a module of a study, and is not run by its path. Type: python -m analyses {typed}\n"
    assert (done.returncode, done.stdout, done.stderr) == (command.USAGE, "", said)


def test_modules_of_studies_import_each_other_by_their_whole_names() -> None:
    """A relative import fails before anything of ours can say what to type."""
    files = sorted((REPOSITORY / "analyses").rglob("*.py"))
    relative = [
        file.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert len(files) > 50
    assert relative == []
