"""The rooms of `probe/`: few floors, no circles, and a first line each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = 12
#: How values show themselves: in rooms above them, into which they reach up.
SHOWN = ("_repr_html_", "plot")


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of `probe` by their dotted names; a package's is that of its `__init__.py`."""
    files = sorted((root / "probe").rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def arrows(root: Path) -> dict[str, set[str]]:
    """Return which modules each module imports when it runs, inside functions too; not those of types alone."""
    known, found = modules(root), dict[str, set[str]]()
    for name, file in known.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        named: set[str] = set()
        for node in running(ast.parse(file.read_text())):
            start = ""
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
                start = ".".join([*above, *([node.module] if node.module else [])])
            whole = {f"{start}.{alias.name}".strip(".") for alias in node.names}
            named |= {one if one in known else start for one in whole}
        found[name] = {one for one in named if one in known and one != name}
    return found


def running(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of code that are made when it runs, but for those of how a value shows itself."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from running(other)
        elif not (isinstance(child, ast.FunctionDef) and child.name in SHOWN):
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


def test_each_module_says_what_lives_there() -> None:
    """Its first line is a sentence."""
    assert [name for name, file in modules(ROOT).items() if not ast.get_docstring(ast.parse(file.read_text()))] == []


LATE = "def f():\n    from .a import x"
SHOWING = "class B:\n    def {}(self):\n        from .a import x"
CIRCLES = dict.fromkeys(["from . import a", "import probe.c", LATE, SHOWING.format("plots")], True)
CIRCLES |= dict.fromkeys([SHOWING.format("plot"), "if TYPE_CHECKING:\n    from .a import x"], False)


@pytest.mark.parametrize(("code", "circle"), CIRCLES.items())
def test_a_circle_would_be_noticed(code: str, circle: bool, tmp_path: Path) -> None:
    """The control arm: plain, late and absolute imports close a circle; those of types alone do not."""
    (tmp_path / "probe").mkdir()
    for name, text in {"a": "from . import b", "b": code, "c": "from probe.a import x"}.items():
        _ = (tmp_path / "probe" / f"{name}.py").write_text(text)
    if circle:
        with pytest.raises(CycleError):
            floors(arrows(tmp_path))
    else:
        assert floors(arrows(tmp_path)) == {"probe.b": 1, "probe.a": 2, "probe.c": 3}
