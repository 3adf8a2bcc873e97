"""Which code a measurement follows from: a digest of what `measure` reaches, without words and drawings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

#: Names of a module; None for all that it has.
Names = frozenset[str] | None
REPOSITORY = Path(__file__).parent.parent
#: Packages whose code is followed; what is outside of them is a version in the provenance.
OWN = ("probe", "models", "analyses")
#: How the networks compute, which nothing imports that is only given them; the rest about them is in their weights.
NETWORKS: tuple[tuple[str, Names], ...] = (("models.counter", None), ("models.twins", frozenset({"Readout"})))
#: In these a module both measures and draws: of them only what `measure` reaches is taken, of all others everything.
MIXED = ("analyses", "probe.questions")


def digest(question: str, root: Path = REPOSITORY) -> str:
    """Return the SHA-256 of all code that a question's `measure` reaches, through every module of the project.

    Docstrings, comments, layout and what only draws or words a finding leave it as it is, so that a better caption
    does not ask for a thousand networks to be measured again.

    Args:
        question: a module of `analyses`.
        root: the folder that holds the packages.
    """
    result = hashlib.sha256()
    for module, names in sorted(reached(question, root).items()):
        result.update(f"{module}\n{_written(root, module, names)}\n".encode())
    return result.hexdigest()


def reached(question: str, root: Path = REPOSITORY) -> dict[str, Names]:
    """Return the modules whose code a question's measurement follows from, each with the names that it takes.

    Args:
        question: as of `digest`.
        root: as of `digest`.

    Returns:
        The names by module; None where the whole module is taken.
    """
    found: dict[str, Names] = {}
    waiting = [(f"analyses.{question}", frozenset({"measure"})), *NETWORKS]
    while waiting:
        module, names = waiting.pop()
        known = found.get(module, frozenset())
        if not _file(root, module) or known is None or (names is not None and module in found and names <= known):
            continue
        found[module] = None if names is None else known | names
        waiting += _imports(root, module, found[module])
    return found


@cache
def _imports(root: Path, module: str, names: Names) -> list[tuple[str, Names]]:
    """Return the project's modules that the kept part of a module imports, and which of their names."""
    nodes = [node for statement in _kept(root, module, names) for node in ast.walk(statement)]
    used: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.setdefault(node.value.id, set()).add(node.attr)
    found: list[tuple[str, Names]] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            source = _absolute(root, module, node)
            for alias in node.names:
                found += _followed(root, source, alias.name, used.get(_called(alias), set()))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.append((alias.name, frozenset() if _is_mixed(alias.name) else None))
                for attribute in used.get(_called(alias), set()):
                    found += _followed(root, alias.name, attribute, set())
    return found


def _followed(root: Path, source: str, name: str, used: set[str]) -> list[tuple[str, Names]]:
    """Return where a name of a module or package leads to, of a module itself with the names that are used of it."""
    inner = f"{source}.{name}"
    if _file(root, inner):
        return [(inner, frozenset(used) if _is_mixed(inner) else None)]
    places = [source, *_homes(root, source, name)]
    return [(place, frozenset({name}) if _is_mixed(place) else None) for place in places]


@cache
def _homes(root: Path, package: str, name: str) -> list[str]:
    """Return where a package takes a name from: of what it imports lazily (PEP 562) only type checkers are told."""
    path = _file(root, package)
    if path is None or path.name != "__init__.py":
        return []
    return [
        _absolute(root, package, node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and name in map(_called, node.names)
    ]


def _called(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _kept(root: Path, module: str, names: Names) -> list[ast.stmt]:
    """Return a module's top-level statements: all, or those that define names and what these use."""
    statements = _statements(root, module)
    if names is None:
        return statements
    defining = [(statement, set(_defined(statement))) for statement in statements]
    wanted, chosen = set(names), set[int]()
    grown = True
    while grown:
        grown = False
        for index, (statement, defined) in enumerate(defining):
            if index not in chosen and defined & wanted:
                chosen.add(index)
                wanted |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                grown = True
    # Of one import of several names only the used ones are followed.
    return [_narrowed(statement, wanted) for index, (statement, _) in enumerate(defining) if index in chosen]


def _narrowed(statement: ast.stmt, wanted: set[str]) -> ast.stmt:
    if isinstance(statement, ast.ImportFrom):
        used = [alias for alias in statement.names if (alias.asname or alias.name) in wanted]
        return ast.ImportFrom(statement.module, used, statement.level)
    return statement


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.split(".")[0] for alias in statement.names)
    else:
        yield from (
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )


@cache
def _statements(root: Path, module: str) -> list[ast.stmt]:
    """Return a module's statements without docstrings and without imports for type checkers."""
    path = _file(root, module)
    tree = ast.parse(path.read_text() if path else "")
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and isinstance(body, list):
            node.body = [child for child in body if not _is_words(child)] or [ast.Pass()]
    return [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]


@cache
def _written(root: Path, module: str, names: Names) -> str:
    return " ".join(_canonical(_kept(root, module, names)))


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _canonical(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield a tree as words that are the same in every version of Python: no places, no empty fields."""
    for node in nodes:
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                yield f"{name}("
                yield from _canonical([value])
                yield ")"
            elif isinstance(value, list) and value:
                yield f"{name}["
                for item in value:
                    yield from _canonical([item]) if isinstance(item, ast.AST) else [repr(item)]
                yield "]"
            elif value not in (None, [], "") or isinstance(node, ast.Constant):
                yield f"{name}={value!r}"


def _absolute(root: Path, module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = _file(root, module)
    parts = module.split(".")
    package = parts if path is not None and path.name == "__init__.py" else parts[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_mixed(module: str) -> bool:
    return module.rpartition(".")[0] in MIXED


@cache
def _file(root: Path, module: str) -> Path | None:
    """Return the file of a module of the project."""
    if module.partition(".")[0] not in OWN:
        return None
    place = root.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)
