"""The rooms of `probe/`: few floors, no circles, and a first line each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: How many floors the rooms have at most, and the modules of the room `recurrent` among themselves.
FLOORS, IN_RECURRENT = 12, 8
#: The tables of `probe/__init__.py` whose texts name what is imported when a name is first used.
TABLES = ("_HOMES", "_SHOWS")


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of `probe` by their dotted names; a package's is that of its `__init__.py`."""
    files = sorted((root / "probe").rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def arrows(root: Path) -> dict[str, set[str]]:
    """Return which modules each module imports when it runs, inside functions too; not those of types alone."""
    known, found = modules(root), dict[str, set[str]]()
    for name, file in known.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(file.read_text())
        named = {f"probe.{text}" for text in texts_of_tables(tree)} if name == "probe" else set[str]()
        named |= {one.rpartition(".")[0] for one in named}
        for node in running(tree):
            start = ""
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
                start = ".".join([*above, *([node.module] if node.module else [])])
            # `__version__` stands in `probe/__init__.py` itself, and takes nobody into a room.
            whole = {f"{start}.{alias.name}".strip(".") for alias in node.names if alias.name != "__version__"}
            named |= {one if one in known else start for one in whole}
        found[name] = {one for one in named if one in known and one != name}
    return found


def texts_of_tables(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of the tables that say where a name lives, and who shows a value."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in TABLES:
            yield from (ast.literal_eval(one) for one in ast.walk(node) if isinstance(one, ast.Constant))


def running(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of code that are made when it runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from running(other)
        else:
            yield from running(child)


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each module: one above the highest that it imports, from 1; in a loop there is none."""
    found: dict[str, int] = {}
    for one in TopologicalSorter(arrows).static_order():
        found[one] = 1 + max((found[other] for other in arrows.get(one, ())), default=0)
    return found


def test_there_are_few_floors_and_no_loops() -> None:
    """No modules and no rooms import each other in a loop; from the ground to what imports most of the house."""
    found, rooms = arrows(ROOT), dict[str, set[str]]()
    assert floors(found)
    for one, others in found.items():
        if "." in one:
            room = one.split(".")[1]
            rooms.setdefault(room, set()).update({other.split(".")[1] for other in others if "." in other} - {room})
    assert max(floors(rooms).values()) <= FLOORS
    assert floors(rooms)["errors"] == 1 < floors(rooms)["recurrent"] < floors(rooms)["hooks"]


def test_the_largest_room_has_few_floors() -> None:
    """Of the modules of `recurrent`, among themselves."""
    inside = {
        one: {o for o in others if _in_recurrent(o)} for one, others in arrows(ROOT).items() if _in_recurrent(one)
    }
    assert 1 < max(floors(inside).values()) <= IN_RECURRENT


def _in_recurrent(module: str) -> bool:
    return module.startswith("probe.recurrent.")


def test_the_map_of_the_rooms_is_right() -> None:
    """CONTRIBUTING.md lists each room once, and none imports a room of a later line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The map")[2].partition("Beside it")[0]
    lines = [re.findall(r"`(\w+)`", line.partition(":")[0]) for line in text.splitlines() if line.startswith("- ")]
    place = {room: number for number, rooms in enumerate(lines) for room in rooms}
    assert len(place) == sum(map(len, lines))
    imported = [(one.split("."), other.split(".")) for one, others in arrows(ROOT).items() for other in others]
    between = {(one[1], other[1]) for one, other in imported if len(one) > 1 < len(other)}
    rooms = {room for pair in between for room in pair} - {"__main__"}
    assert rooms <= place.keys()
    assert [(one, other) for one, other in sorted(between) if one in place and place[other] > place[one]] == []


def test_each_module_says_what_lives_there() -> None:
    """Its first line is a sentence."""
    assert [name for name, file in modules(ROOT).items() if not ast.get_docstring(ast.parse(file.read_text()))] == []


CIRCLES = {
    "from . import a": True,
    "import probe.c": True,
    "def f():\n    from .a import x": True,
    "class B:\n    def _repr_html_(self):\n        from .a import x": True,
    "from . import named": True,
    "if TYPE_CHECKING:\n    from .a import x": False,
}


@pytest.mark.parametrize(("code", "circle"), CIRCLES.items())
def test_a_circle_would_be_noticed(code: str, circle: bool, tmp_path: Path) -> None:
    """The control arm: plain, late, absolute and registered imports close a circle; those of types alone do not."""
    (tmp_path / "probe").mkdir()
    registering = '_SHOWS = {"c.C": {"plot": "a.draw"}}'
    modules = {"__init__": registering, "a": "from . import b", "b": code, "c": "from probe.a import x"}
    for name, text in modules.items():
        _ = (tmp_path / "probe" / f"{name}.py").write_text(text)
    if circle:
        with pytest.raises(CycleError):
            floors(arrows(tmp_path))
    else:
        assert floors(arrows(tmp_path)) == {"probe.b": 1, "probe.a": 2, "probe.c": 3, "probe": 4}
