"""The rooms of `probe/`: few floors, no circles, a first line each, and nothing heavy to run a network."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.repo.rooms import SHOWN, Arrows, between_rooms, circles, floors, imports, modules

ROOT = Path(__file__).resolve().parents[2]
KNOWN = modules(ROOT)
ARROWS: Arrows = {name: imports(name, file, KNOWN) for name, file in KNOWN.items()}
FLOORS, AT_THE_ROOT, IN_A_FOLDER = 12, 6, 16


def test_no_modules_import_each_other_in_a_loop() -> None:
    """A part of a circle cannot be read, tested or moved without the whole of it."""
    assert circles(ARROWS) == []


def test_no_rooms_import_each_other_in_a_loop() -> None:
    """The same of the rooms."""
    assert circles(between_rooms(ARROWS)) == []


def test_there_are_few_floors() -> None:
    """From the ground, which imports nothing of the house, to what imports most of it."""
    found = floors(between_rooms(ARROWS))
    assert max(found.values()) <= FLOORS
    assert found["errors"] == 1 < found["recurrent"] < found["hooks"]


def test_values_show_themselves_in_the_rooms_of_pictures_alone() -> None:
    """What `_repr_html_` and `plot` import stands outside the floors: pictures, or what is already below."""
    shown = {name: imports(name, file, KNOWN, shown=True) for name, file in KNOWN.items()}
    assert {other.split(".")[1] for others in shown.values() for other in others} >= set(SHOWN.values())
    for name, others in shown.items():
        assert {one for one in others - ARROWS[name] if one.split(".")[1] not in SHOWN.values()} == set(), name


def test_the_root_and_each_folder_hold_few_files() -> None:
    """A folder of forty files is searched, and not read."""
    folders: dict[Path, int] = {}
    for file in KNOWN.values():
        folders[file.parent] = folders.get(file.parent, 0) + 1
    assert folders[ROOT / "probe"] <= AT_THE_ROOT
    assert {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > IN_A_FOLDER} == {}


def test_each_module_and_each_room_says_what_lives_there() -> None:
    """By its first line, a sentence."""
    silent = [name for name, file in KNOWN.items() if not (ast.get_docstring(ast.parse(file.read_text())) or "")]
    assert silent == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a": "from . import b", "b": "from . import a"}, [{"probe.a", "probe.b"}]),
        ({"a": "from . import b", "b": "def f():\n    from .a import x"}, [{"probe.a", "probe.b"}]),
        ({"a": "from . import b", "b": "if TYPE_CHECKING:\n    from .a import x"}, []),
        ({"a": "from . import b", "b": "class B:\n    def _repr_html_(self):\n        from .a import x"}, []),
        ({"a": "from . import b", "b": "class B:\n    def plot(self):\n        from .a import x"}, []),
        (
            {"a": "from . import b", "b": "class B:\n    def plots(self):\n        from .a import x"},
            [{"probe.a", "probe.b"}],
        ),
        ({"a": "from .b import x", "b": "import probe.c", "c": "from probe.a import x"}, 3),
    ],
)
def test_the_rule_of_circles_would_notice(files: dict[str, str], found: list[set[str]] | int, tmp_path: Path) -> None:
    """The control arm: plain, late and absolute imports close a circle; those of types alone do not."""
    (tmp_path / "probe").mkdir()
    for name, code in files.items():
        _ = (tmp_path / "probe" / f"{name}.py").write_text(code)
    known = modules(tmp_path)
    loops = circles({name: imports(name, file, known) for name, file in known.items()})
    assert (loops == found) if isinstance(found, list) else [len(loop) for loop in loops] == [found]


def test_the_rule_of_floors_would_notice() -> None:
    """The control arm: a chain of three stands on three floors, and what nobody imports on the lowest it can."""
    assert floors({"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}) == {"a": 3, "b": 2, "c": 1, "d": 2}
