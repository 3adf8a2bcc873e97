"""The digest of the code that a measurement follows from: each way in which code can be reached."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from analyses import QUESTIONS, common, sources
from models import loaded

REPOSITORY = Path(__file__).parents[2]
BODY = "def measure(networks):\n    return "
FROM = f"from . import common\n\n\n{BODY}"
COMMON = {"analyses/common.py": "STRINGS = @\n"}
#: Files of a small project, with a digit where `@` stands, and what its question measures.
WAYS: dict[str, tuple[dict[str, str], str]] = {
    "a table that is filled below it": ({}, f"TABLE = {{}}\nTABLE['x'] = @\n\n\n{BODY}TABLE['x']\n"),
    "a table that a function is put into": (
        {},
        f"def one():\n    return @\n\n\nT = []\nT.append(one)\n{BODY}T[0]()\n",
    ),
    "one of two definitions": ({}, f"if True:\n\n    def one():\n        return @\n\n\n{BODY}one()\n"),
    "one of two imports": (
        COMMON,
        f"try:\n    from .common import STRINGS\nexcept ImportError:\n    STRINGS = 0\n\n\n{BODY}STRINGS\n",
    ),
    "what type checkers are not told": (
        {"analyses/common.py": "if TYPE_CHECKING:\n    STRINGS: int\nelse:\n    STRINGS = @\n"},
        f"{FROM}common.STRINGS\n",
    ),
    "what is only true without them": (
        {"analyses/common.py": "if not TYPE_CHECKING:\n    STRINGS = @\n"},
        f"{FROM}common.STRINGS\n",
    ),
    "a package around it": (
        {"probe/__init__.py": "print(@)\n", "probe/one.py": "ONE = 1\n"},
        f"from probe.one import ONE\n\n\n{BODY}ONE\n",
    ),
    "a module that is handed on": (COMMON, f"{FROM}getattr(common, 'STRINGS')\n"),
    "a star": (COMMON, f"from .common import *\n\n\n{BODY}STRINGS\n"),
    "a module by its whole name": (COMMON, f"import analyses.common\n\n\n{BODY}analyses.common.STRINGS\n"),
    "a module under another name": (COMMON, f"import analyses.common as c\n\n\n{BODY}c.STRINGS\n"),
    "a module of a package": (
        {"probe/__init__.py": "", "probe/questions/__init__.py": "", "probe/questions/one.py": "ONE = @\n"},
        f"import probe\n\n\n{BODY}probe.questions.one.ONE\n",
    ),
    "a package's other name for it": (
        {"probe/__init__.py": "from .recorder import record as note\n", "probe/recorder.py": "record = @\n"},
        f"from probe import note\n\n\n{BODY}note\n",
    ),
    "how many threads compute it": ({"analyses/common.py": "def limit_threads():\n    return @\n"}, f"{BODY}1\n"),
    "how many digits are kept": ({"analyses/measured.py": "DIGITS = '%.@g'\nFOLDER = 'here'\n"}, f"{BODY}1\n"),
}
#: Measures what it is given in the folder where it stands.
ALONE = """
import pickle, sys
from importlib import import_module
with open("networks", "rb") as file:
    networks = pickle.load(file)
import_module(f"analyses.{sys.argv[1]}").measure(networks).to_pickle("table")
"""


def small(root: Path, way: str, digit: str) -> str:
    """Write the small project of a way and return its question's digest."""
    files, question = WAYS[way]
    for name, text in {"analyses/__init__.py": "", **files, "analyses/asked.py": question}.items():
        written = text.replace("@", digit)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert (root / name).write_text(written) == len(written)
    return sources.digest("asked", root)


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_reaching_code_is_overlooked(tmp_path: Path, way: str) -> None:
    """Whether or not anybody writes it like this today."""
    first, second, again = (small(tmp_path / str(n), way, digit) for n, digit in enumerate("121"))
    assert first != second
    assert first == again


def test_what_a_module_does_as_a_program_is_not_reached(tmp_path: Path) -> None:
    """Every question ends in one; importing it runs nothing of that."""
    texts = [f"{BODY}1\n\n\nif __name__ == '__main__':\n    print({digit})\n" for digit in "12"]
    roots = [tmp_path / digit for digit in "12"]
    for root, text in zip(roots, texts, strict=True):
        (root / "analyses").mkdir(parents=True)
        assert (root / "analyses" / "asked.py").write_text(text) == len(text)
    first, second = (sources.digest("asked", root) for root in roots)
    assert first == second


@pytest.mark.parametrize("question", ["accuracy", "other_lengths", "programs", "steering", "gate_shares", "dynamics"])
def test_the_code_of_a_digest_measures_alone(question: str, tmp_path: Path) -> None:
    """In a folder that holds only the statements that the digest reads: the same numbers, so nothing is missing."""
    networks = [*common.group("counter", 0), *common.planted_networks(("ones-alone",))]
    for module, names in sources.reached(question).items():
        place = tmp_path.joinpath(*module.split("."))
        is_package = REPOSITORY.joinpath(*module.split(".")).is_dir()
        path = place / "__init__.py" if is_package else place.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [ast.unparse(ast.fix_missing_locations(each)) for each in sources.kept(REPOSITORY, module, names)]
        future = "from __future__ import annotations"
        text = "\n".join([future, *(line for line in kept if line != future)])
        assert path.write_text(text) == len(text)
    with (tmp_path / "networks").open("wb") as file:
        pickle.dump(networks, file)
    alone = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", ALONE, question], cwd=tmp_path, check=True, env=alone)
    wanted = import_module(f"analyses.{question}").measure(networks)
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "table"), wanted, check_exact=True)


#: Is edited between the loading of some code and of the rest, as a worker is that lives for days.
EDITED = """
import models.parallel
from pathlib import Path
path = Path("analyses/accuracy.py")
path.write_text(path.read_text().replace("common.COUNTS[:, -1]", "common.COUNTS[:, 0]"))
from analyses import sources
print(sources.digest("accuracy"))
"""


def test_the_digest_is_that_of_the_code_that_was_loaded(tmp_path: Path) -> None:
    """Not of what was edited since: a measurement by the old code would stand for one by the new."""
    for path, text in loaded.TEXTS.items():
        place = tmp_path / path.relative_to(REPOSITORY)
        place.parent.mkdir(parents=True, exist_ok=True)
        assert place.write_text(text) == len(text)
    line = [sys.executable, "-c", EDITED]
    first, second = (subprocess.check_output(line, cwd=tmp_path, text=True).strip() for _ in range(2))
    assert first == sources.digest("accuracy")
    assert second != first


def test_no_code_that_measures_takes_names_out_of_strings() -> None:
    """The digest could not follow them; the package's own lazy names are followed as type checkers do."""
    hidden = {"import_module", "__import__", "eval", "exec", "globals", "locals"}
    reached = {item for question in QUESTIONS for item in sources.reached(question).items()}
    found = {
        (module, node.id)
        for module, names in reached
        for statement in sources.kept(REPOSITORY, module, names)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id in hidden
    }
    assert {module for module, _ in found} <= {"probe"}
    assert len({module for module, _ in reached}) > 80
