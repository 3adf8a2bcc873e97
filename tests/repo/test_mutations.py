"""The mutations of `benchmarks/mutations/`: each is found by function and expression, at exactly one place."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.generated import mutants_of
from benchmarks.mutants import CORE, generated, written
from benchmarks.mutations import MUTATIONS, Mutation, MutationError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A module."""

START = 0.5  # Ein Wert für den Anfang.


class Cell:
    """A cell."""

    scale = 2

    def step(self, f, c, i, g):
        """Return the new cell state."""
        kept = f * c  # what is kept
        return kept + (i * g)


def step(f, c, i, g):
    """Return it again."""
    text = f"{f * c}"
    return (
        f * c  # kept
        + i * g,
        text,
    )
'''


def mutation(function: str, old: str, new: str) -> Mutation:
    """Return a mutation of the module above."""
    return Mutation("a defect", "some.module", function, old, new, "tests/wheel/test_some.py")


def test_every_mutation_stands_at_one_place_of_todays_source() -> None:
    """Whoever moves the code takes its mutation along: none may match nothing, or several places."""
    assert len(written(MUTATIONS)) == len(MUTATIONS) >= 50


def test_every_mutation_has_a_name_of_its_own_and_tests_that_exist() -> None:
    """What must notice is a file of tests in the checkout."""
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS)
    assert [one.test for one in MUTATIONS if not (ROOT / one.tests).is_file()] == []
    named = [(ROOT / one.tests, one.test.partition("::")[2]) for one in MUTATIONS if "::" in one.test]
    assert [name for file, name in named if f"def {name}(" not in file.read_text()] == []
    assert set(CORE) <= {one.file for one in MUTATIONS}


@pytest.mark.parametrize(
    ("function", "old", "new", "before", "after"),
    [
        ("Cell.step", "f * c", "c", "kept = f * c  # what", "kept = (c)  # what"),
        ("Cell.step", "i * g", "i", "kept + (i * g)", "kept + ((i))"),
        ("Cell.step", "kept = f * c", "kept = c", "kept = f * c  # what", "kept = c  # what"),
        ("step", "f * c + i * g", "f * c - i * g", "f * c  # kept\n        + i * g,", "(f * c - i * g),"),
        ("Cell", "scale = 2", "scale = 3", "scale = 2", "scale = 3"),
        ("", "0.5", "0.25", "START = 0.5  #", "START = (0.25)  #"),
    ],
)
def test_only_the_expression_is_written_anew(function: str, old: str, new: str, before: str, after: str) -> None:
    """Comments, letters of two bytes, line breaks and other functions stay byte for byte."""
    assert SOURCE.count(before) == 1
    assert mutation(function, old, new).applied(SOURCE) == SOURCE.replace(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("        kept = f * c  # what is kept\n", "        kept = (\n            f\n            * c\n        )\n"),
        ("kept", "remembered"),
        ("class Cell:", "class Other:\n    def step(self, f, c):\n        return f * c\n\n\nclass Cell:"),
        ("        kept = f", "        if g is None:\n            return g\n        kept = f"),
    ],
)
def test_layout_names_and_place_do_not_matter(before: str, after: str) -> None:
    """A function may be formatted anew, moved, and changed elsewhere: its mutation is still found."""
    changed = mutation("Cell.step", "f * c", "c").applied(SOURCE.replace(before, after))
    assert changed != SOURCE.replace(before, after)
    assert "f * c" not in changed.partition("class Cell")[2].partition("def step(f")[0]


@pytest.mark.parametrize(
    ("function", "old", "new", "problem"),
    [
        ("Cell.step", "f * g", "f", "'f * g' stands at no place of Cell.step"),
        ("Cell.stop", "f * c", "f", "there is no Cell.stop"),
        ("Cell", "f * c", "f", "'f * c' stands at no place of Cell"),
        ("", "f * c", "f", "'f * c' stands at no place of the module itself"),
        ("step", "f * c", "f", "'f * c' stands at 2 places (lines 19, 21"),
        ("step", "f +", "f", "'f +' is neither an expression nor one statement"),
        ("Cell.step", "f * c", "f*c", "'f*c' is what stands there already"),
        ("Cell.step", "kept = f * c", "for x in y:\n    pass\nz", "'for x in y:\\n    pass\\nz' is neither"),
        ("step", "text = f'{f * c}'", "if f:\n    pass", "'if f:\\n    pass' cannot be written"),
    ],
)
def test_what_matches_nothing_or_too_much_is_refused_by_name(function: str, old: str, new: str, problem: str) -> None:
    """A mutation that does not fit fails and says which one it is: one that is skipped would count as killed."""
    message = re.escape(f"Mutation 'a defect' of some/module.py: {problem}")
    with pytest.raises(MutationError, match=message):
        _ = mutation(function, old, new).applied(SOURCE)


def test_every_misfit_is_named_at_once() -> None:
    """One that matches nothing fails a run of all the others, and hides no second one."""
    lost = [
        Mutation(name, "probe.evidence.intervals", "median_interval", "0.123", "0", "") for name in ("one", "two")
    ]
    with pytest.raises(MutationError, match=r"'one'(?s:.*)'two'"):
        _ = written([*MUTATIONS[:3], *lost])


def test_generated_mutants_are_drawn_by_the_seed_and_change_what_runs() -> None:
    """The same seed gives the same mutants, each another program; what an annotation says is left alone."""
    source = "def half(x: int | None, *, y: int = 2) -> int | None:\n    return x and x / y\n"
    found, again, other = (list(mutants_of(source, random.Random(seed))) for seed in ("a", "a", "b"))
    assert found == again != other
    assert len({changed for _, changed in found} - {source}) == len(found) >= 3
    assert all(name.startswith(("line 1: ", "line 2: ")) for name, _ in found)
    for _, changed in found:
        assert "x: int | None, *, y: int = " in changed
        assert "-> int | None:" in changed


def test_generated_mutants_are_of_each_module_in_turn_and_judged_by_its_tests() -> None:
    """The files of tests are those that the module's mutations by hand name; of another module they must be given."""
    files = ["probe/evidence/intervals.py", "probe/evidence/claims.py"]
    found = list(islice(generated(files, random.Random(0)), 4))
    assert sorted(defect.file for defect in found) == sorted(files * 2)
    assert {defect.file: defect.tests for defect in found} == {
        "probe/evidence/intervals.py": ("tests/wheel/test_statistics.py",),
        "probe/evidence/claims.py": ("tests/wheel/test_claims.py",),
    }
    with pytest.raises(MutationError, match=r"probe/errors.py: .*--tests"):
        _ = next(generated(["probe/errors.py"], random.Random(0)))
    given = next(generated(["probe/recurrent/cells/scan.py"], random.Random(0), ["tests/wheel/test_recording.py"]))
    assert given.tests == ("tests/wheel/test_recording.py",)


WORKSHOP = """
import sys
from itertools import islice
from pathlib import Path

import pytest  # once, for every run that is forked

from benchmarks.workshop import Defect, Workshop

copy = Workshop(Path(sys.argv[1]))
assert copy.run(["test_cell.py"], keep=True) == 0
for source in sys.argv[2:]:
    defect = Defect("a defect", "cell.py", source, ("test_cell.py",))
    print(copy.judge(defect, timeout=1 if "while" in source else 60)[0])
assert copy.run(["test_cell.py"]) == 0
"""


def test_each_defect_is_judged_by_tests_that_see_it_and_nothing_else(tmp_path: Path) -> None:
    """What a test notices is killed, what none notices survives, and what ends no test is neither; then all is whole.

    The sources are of one size, so that a compiled module of one could be taken for another's.
    """
    sources = {"C = 2": "killed", "C = 1": "survived", "D = 1": "exit 2", "C = 3": "killed"}
    endless = "while 1:\n    pass"
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "cell.py").write_text("C = 0")
    (tmp_path / "test_cell.py").write_text("from cell import C\n\n\ndef test_c():\n    assert C in (0, 1)\n")
    command = [sys.executable, "-c", WORKSHOP, str(tmp_path), *sources, endless]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.split("\n") == [*sources.values(), "timed out", ""], done.stderr
    assert (tmp_path / "cell.py").read_text() == "C = 0"
