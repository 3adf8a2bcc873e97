"""The rooms of `probe/`: few floors, no circles, a first line each, and nothing heavy to run a network."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError
from pathlib import Path

import pytest

from tests.repo.rooms import SHOWN, Arrows, between_rooms, floors, imports, modules

ROOT = Path(__file__).resolve().parents[2]
KNOWN = modules(ROOT)
ARROWS: Arrows = {name: imports(name, file, KNOWN) for name, file in KNOWN.items()}
FLOORS, AT_THE_ROOT, IN_A_FOLDER = 12, 6, 16


def test_there_are_few_floors_and_no_loops() -> None:
    """No modules and no rooms import each other in a loop; from the ground to what imports most of the house."""
    assert floors(ARROWS)
    found = floors(between_rooms(ARROWS))
    assert max(found.values()) <= FLOORS
    assert found["errors"] == 1 < found["recurrent"] < found["hooks"]


def test_values_show_themselves_in_the_rooms_of_pictures_alone() -> None:
    """What `_repr_html_` and `plot` import stands outside the floors: pictures, or what is already below."""
    shown = {name: imports(name, file, KNOWN, shown=True) for name, file in KNOWN.items()}
    assert {other.split(".")[1] for others in shown.values() for other in others} >= set(SHOWN.values())
    for name, others in shown.items():
        assert {one for one in others - ARROWS[name] if one.split(".")[1] not in SHOWN.values()} == set(), name


def test_each_folder_holds_few_files_which_say_what_lives_there() -> None:
    """A folder of forty files is searched, and not read; a module's first line is a sentence."""
    folders = Counter(file.parent for file in KNOWN.values())
    assert folders[ROOT / "probe"] <= AT_THE_ROOT
    assert max(folders.values()) <= IN_A_FOLDER
    assert [name for name, file in KNOWN.items() if not ast.get_docstring(ast.parse(file.read_text()))] == []


LATE = "def f():\n    from .a import x"
SHOWING = "class B:\n    def {}(self):\n        from .a import x"


@pytest.mark.parametrize(
    ("code", "circle"),
    [
        ("from . import a", True),
        ("import probe.c", True),
        (LATE, True),
        (SHOWING.format("plots"), True),
        (SHOWING.format("plot"), False),
        (SHOWING.format("_repr_html_"), False),
        ("if TYPE_CHECKING:\n    from .a import x", False),
    ],
)
def test_a_circle_would_be_noticed(code: str, circle: bool, tmp_path: Path) -> None:
    """The control arm: plain, late and absolute imports close a circle; those of types alone do not."""
    (tmp_path / "probe").mkdir()
    for name, text in {"a": "from . import b", "b": code, "c": "from probe.a import x"}.items():
        _ = (tmp_path / "probe" / f"{name}.py").write_text(text)
    known = modules(tmp_path)
    arrows = {name: imports(name, file, known) for name, file in known.items()}
    if circle:
        with pytest.raises(CycleError):
            floors(arrows)
    else:
        assert floors(arrows) == {"probe.b": 1, "probe.a": 2, "probe.c": 3}
