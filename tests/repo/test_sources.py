"""The digest of the code that a measurement follows from: what moves it, and what must not."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import FrameType

import pytest

from analyses import QUESTIONS, common, sources
from models import loaded

REPOSITORY = Path(__file__).parents[2]
PROJECT = {
    "analyses/__init__.py": "",
    "analyses/counting.py": '''"""How many are there?"""

from probe.questions import counts
from probe.report.page import Page

from . import common

TITLE = "How many?"
LEAST = 2


def measure(networks: list) -> dict:
    """Measure how many there are."""
    return counts.measure(_chosen(networks), common.STRINGS)


def _chosen(networks: list) -> list:
    """Choose some."""
    return networks[LEAST:]


def find(networks: list, table: dict) -> Page:
    """Draw how many there are."""
    return Page(TITLE, counts.draw(table), common.words(networks))
''',
    "analyses/common.py": '''"""Shared."""

from models import data
from probe.report import page

STRINGS = data.strings(10)


def words(networks: list) -> str:
    return page.sentence(networks)
''',
    "models/__init__.py": "",
    "models/data.py": "def strings(length: int) -> list:\n    return [0] * length\n",
    "models/counter.py": "class Counter:\n    def forward(self, x: int) -> int:\n        return x\n",
    "models/twins.py": """from .training import fit


class Readout:
    def forward(self, x: int) -> int:
        return x + 1


def twin(network: Readout) -> Readout:
    return fit(network)
""",
    "models/training.py": "def fit(network: object) -> object:\n    return network\n",
    "probe/__init__.py": '''"""Lazy."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .recorder import record

_HOMES = {"record": "recorder"}


def __getattr__(name: str) -> object:
    raise AttributeError(name)
''',
    "probe/recorder.py": "def record(x: int) -> int:\n    return x\n",
    "probe/kernels.py": """FACTOR = 2


class Kept:
    def words(self) -> str:
        return "kept"

    def _repr_html_(self) -> str:
        from .report import page

        return page.sentence([self.words()])
""",
    "probe/rows.py": "ROWS = 3\n",
    "probe/machines.py": '''"""Runs."""

from .kernels import FACTOR
from probe import record


def run(networks: list, strings: list) -> dict:
    """Run."""
    from .rows import ROWS

    return {0: record(FACTOR), 1: ROWS}
''',
    "probe/figures.py": "def new_figure() -> str:\n    return 'axes'\n",
    "probe/axes.py": "class Axes: ...\n",
    "probe/questions/__init__.py": "",
    "probe/questions/counts.py": '''"""Counts."""

from typing import TYPE_CHECKING

from ..figures import new_figure
from ..machines import run

if TYPE_CHECKING:
    from ..axes import Axes


def measure(networks: list, strings: list) -> dict:
    """Count."""
    return run(networks, strings)


def draw(table: dict) -> "Axes":
    """Draw."""
    return new_figure()
''',
    "probe/report/__init__.py": "",
    "probe/report/page.py": "class Page: ...\n\n\ndef sentence(networks: list) -> str:\n    return 'said'\n",
}


def project(root: Path, changed: str = "", old: str = "", new: str = "") -> Path:
    """Write the small project with one change and return its folder."""
    for name, text in PROJECT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert name != changed or old in text
        written = text.replace(old, new, 1) if name == changed else text
        assert path.write_text(written) == len(written)
    return root


def checkout(root: Path) -> None:
    """Copy the code that is here into another folder."""
    for path, text in loaded.TEXTS.items():
        place = root / path.relative_to(REPOSITORY)
        place.parent.mkdir(parents=True, exist_ok=True)
        assert place.write_text(text) == len(text)
    files = {path for package in sources.OWN for path in (REPOSITORY / package).rglob("*.py")}
    assert files <= set(loaded.TEXTS)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the small project as it is."""
    return sources.digest("counting", project(tmp_path_factory.mktemp("unchanged")))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("analyses/counting.py", "", ""),
        ("analyses/counting.py", '"""Measure how many there are."""', '"""Tell."""'),
        ("analyses/counting.py", '    """Choose some."""\n', ""),
        ("analyses/counting.py", "    return networks", "    # A comment.\n    return networks"),
        (
            "analyses/counting.py",
            "_chosen(networks), common.STRINGS",
            "\n        _chosen(networks), common.STRINGS\n    ",
        ),
        ("analyses/counting.py", "How many?", "How many are there?"),
        ("analyses/counting.py", "return Page(TITLE", "return Page('Said', TITLE"),
        ("analyses/common.py", "page.sentence(networks)", "page.sentence(networks[1:])"),
        ("probe/questions/counts.py", "return new_figure()", "return new_figure() + 'x'"),
        ("probe/questions/counts.py", '"""Count."""', '"""Count all."""'),
        ("probe/machines.py", '"""Run."""', '"""Run them."""'),
        ("probe/figures.py", "'axes'", "'other axes'"),
        ("probe/axes.py", "...", "x = 1"),
        ("probe/report/page.py", "'said'", "'not said'"),
        ("probe/kernels.py", "[self.words()]", "[self]"),
        ("models/twins.py", "return fit(network)", "return fit(fit(network))"),
        ("models/training.py", "return network", "return None"),
    ],
)
def test_words_and_drawings_leave_the_digest_as_it_is(
    unchanged: str, tmp_path: Path, name: str, old: str, new: str
) -> None:
    """A thousand networks are not measured again for a caption, nor for how they are trained: weights are known."""
    assert sources.digest("counting", project(tmp_path, name, old, new)) == unchanged


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("analyses/counting.py", "_chosen(networks), ", "networks, "),
        ("analyses/counting.py", "networks[LEAST:]", "networks[1:]"),
        ("analyses/counting.py", "LEAST = 2", "LEAST = 3"),
        ("analyses/common.py", "data.strings(10)", "data.strings(9)"),
        ("models/data.py", "[0] * length", "[1] * length"),
        ("models/counter.py", "return x", "return -x"),
        ("models/twins.py", "return x + 1", "return x + 2"),
        ("probe/questions/counts.py", "return run(networks, strings)", "return run(strings, networks)"),
        ("probe/machines.py", "record(FACTOR)", "record(-FACTOR)"),
        ("probe/kernels.py", "FACTOR = 2", "FACTOR = 3"),
        ("probe/kernels.py", 'return "kept"', 'return "lost"'),
        (
            "probe/kernels.py",
            "class Kept:\n    def words",
            "def _repr_html_() -> None: ...\nclass Kept:\n    def words",
        ),
        ("probe/rows.py", "ROWS = 3", "ROWS = 4"),
        ("probe/recorder.py", "return x", "return x + 1"),
    ],
)
def test_every_code_that_measuring_reaches_moves_the_digest(
    unchanged: str, tmp_path: Path, name: str, old: str, new: str
) -> None:
    """The question, its helpers and what they import: through modules, in functions, lazily through the package."""
    assert sources.digest("counting", project(tmp_path, name, old, new)) != unchanged


def test_a_package_imported_whole_is_followed_to_the_names_that_are_used(tmp_path: Path) -> None:
    """`import probe` and `probe.record` lead to where the package has it from."""
    changed = PROJECT["probe/machines.py"].replace("from probe import record", "import probe")
    changed = changed.replace("record(FACTOR)", "probe.record(FACTOR)")
    roots = [project(tmp_path / name) for name in ("one", "other")]
    for root in roots:
        assert (root / "probe" / "machines.py").write_text(changed) == len(changed)
    assert (roots[1] / "probe" / "recorder.py").write_text("def record(x: int) -> int:\n    return -x\n")
    first, second = (sources.digest("counting", root) for root in roots)
    assert first != second


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    """A checkout elsewhere reads the measurements of this one; each question has a digest of its own."""
    checkout(tmp_path)
    here = [sources.digest(question) for question in QUESTIONS]
    assert [sources.digest(question, tmp_path) for question in QUESTIONS] == here
    assert len(set(here)) == len(QUESTIONS)


def test_a_change_of_the_search_is_one_of_the_questions_that_search(tmp_path: Path) -> None:
    """In the code that is here: those two are measured again, and no other."""
    checkout(tmp_path)
    with (tmp_path / "probe" / "causal" / "alignment.py").open("a") as file:
        assert file.write("\nCHANGED = 1\n")
    moved = {name for name in QUESTIONS if sources.digest(name, tmp_path) != sources.digest(name)}
    assert moved == {"alignment", "erasure"}


@pytest.mark.parametrize("question", ["accuracy", "other_lengths", "bit_effects", "cell_trajectories", "steering"])
def test_every_function_that_runs_while_measuring_lies_in_code_that_is_reached(question: str) -> None:
    """What the digest reads from the text is held against what is called, so that no import is overlooked."""
    networks = [*common.group("counter", 0), *common.planted_networks(("ones-alone",))]
    module = import_module(f"analyses.{question}")
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            called.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        assert len(module.measure(networks))
    finally:
        sys.setprofile(None)
    paths = [Path(name).relative_to(REPOSITORY) for name in called if Path(name).is_relative_to(REPOSITORY)]
    modules = {".".join(path.with_suffix("").parts) for path in paths if path.parts[0] in sources.OWN}
    assert f"probe.questions.{question}" in modules
    assert modules <= set(sources.reached(question))
