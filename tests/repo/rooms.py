"""The imports of `probe/`, read from its code: which module needs which, on how many floors."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

#: How values show themselves, and in which room: it stands above them, and they reach up into it.
SHOWN = {"_repr_html_": "notebook", "plot": "plots"}

Arrows = dict[str, set[str]]


def named(file: Path, root: Path) -> str:
    """Return a module's dotted name; that of a package for its `__init__.py`."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path, package: str = "probe") -> dict[str, Path]:
    """Return the modules of a package, by their names."""
    return {named(file, root): file for file in sorted((root / package).rglob("*.py"))}


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


def circles(arrows: Arrows) -> list[set[str]]:
    """Return the sets of modules that import each other in a loop."""
    reached = {one: _reached(arrows, one) for one in arrows}
    loops = [{one} | {other for other in reached[one] if one in reached[other]} for one in arrows]
    found: list[set[str]] = []
    for loop in loops:
        if len(loop) > 1 and loop not in found:
            found.append(loop)
    return found


def _reached(arrows: Arrows, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def floors(arrows: Arrows) -> dict[str, int]:
    """Return the floor of each module of arrows without a circle: one above the highest that it imports, from 1."""
    found: dict[str, int] = {}

    def floor(one: str) -> int:
        if one not in found:
            found[one] = 1 + max(map(floor, arrows.get(one, set())), default=0)
        return found[one]

    return {one: floor(one) for one in arrows}


def between_rooms(arrows: Arrows) -> Arrows:
    """Return the arrows between the rooms of a package: the folders and modules directly below it."""
    found: Arrows = {}
    for one, others in arrows.items():
        if "." in one:
            room = one.split(".")[1]
            inner = {other.split(".")[1] for other in others if "." in other}
            found[room] = found.get(room, set()) | (inner - {room})
    return found
