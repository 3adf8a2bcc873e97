"""The imports of `probe/`, read from its code: which module needs which, on how many floors."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

#: How values show themselves, and in which room: it stands above them, and they reach up into it.
SHOWN = {"_repr_html_": "notebook", "plot": "plots"}

Arrows = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of `probe` by their dotted names; a package's is that of its `__init__.py`."""
    found = {}
    for file in sorted((root / "probe").rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path, known: Mapping[str, Path], *, shown: bool = False) -> set[str]:
    """Return which modules a module imports when it runs, inside functions too; not those of types alone.

    Args:
        name: its dotted name.
        file: its code.
        known: all modules.
        shown: those that the functions in `SHOWN` import, in place of the others.
    """
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in _running(ast.parse(file.read_text()), shown=shown):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            whole = {f"{start}.{alias.name}" for alias in node.names}
            found |= {one if one in known else start for one in whole}
    return {one for one in found if one in known and one != name}


def _running(node: ast.AST, *, shown: bool, inside: bool = False) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            if inside == shown:
                yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _running(other, shown=shown, inside=inside)
        else:
            within = inside or (isinstance(child, ast.FunctionDef) and child.name in SHOWN)
            yield from _running(child, shown=shown, inside=within)


def floors(arrows: Arrows) -> dict[str, int]:
    """Return the floor of each module: one above the highest that it imports, from 1.

    Raises:
        graphlib.CycleError: some import each other in a loop.
    """
    found: dict[str, int] = {}
    for one in TopologicalSorter(arrows).static_order():
        found[one] = 1 + max((found[other] for other in arrows.get(one, ())), default=0)
    return found


def between_rooms(arrows: Arrows) -> Arrows:
    """Return the arrows between the rooms of a package: the folders and modules directly below it."""
    found: Arrows = {}
    for one, others in arrows.items():
        if "." in one:
            room = one.split(".")[1]
            inner = {other.split(".")[1] for other in others if "." in other}
            found[room] = found.get(room, set()) | (inner - {room})
    return found
