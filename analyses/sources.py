"""Which code a measurement follows from: a digest of what `measure` reaches, without words and drawings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from models.loaded import PACKAGES as OWN
from models.loaded import ROOT as REPOSITORY
from models.loaded import TEXTS

#: Names of a module; None for all that it has.
Names = frozenset[str] | None
#: What nothing that measures imports and every measurement follows from: how the networks compute that it is given
#: (the rest about them is in their digest), what they are given as, on how many threads, with how many digits.
ALWAYS: tuple[tuple[str, Names], ...] = (
    ("models.counter", None),
    ("models.twins", frozenset({"Readout"})),
    ("analyses.common", frozenset({"Studied", "limit_threads"})),
    ("analyses.measured", frozenset({"DIGITS"})),
)
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
    return digest_from(_starts(question), root)


def digest_from(starts: Iterable[tuple[str, Names]], root: Path = REPOSITORY) -> str:
    """Return the SHA-256 of all code that some names of modules reach.

    Args:
        starts: modules, each with names, or None for all that it has.
        root: as of `digest`.
    """
    result = hashlib.sha256()
    for module, names in sorted(_reached(starts, root).items()):
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
    return _reached(_starts(question), root)


def _starts(question: str) -> list[tuple[str, Names]]:
    return [(f"analyses.{question}", frozenset({"measure"})), *ALWAYS]


def _reached(starts: Iterable[tuple[str, Names]], root: Path) -> dict[str, Names]:
    found: dict[str, Names] = {}
    waiting = [*starts]
    while waiting:
        module, names = waiting.pop()
        known = found.get(module, frozenset())
        if not _file(root, module) or known is None or (names is not None and module in found and names <= known):
            continue
        found[module] = None if names is None else known | names
        waiting += _imports(root, module, found[module])
        # Of the packages around it runs what is not a mere definition.
        waiting += [(str(package), frozenset()) for package in _packages(module)]
    return found


@cache
def _imports(root: Path, module: str, names: Names) -> list[tuple[str, Names]]:
    """Return the project's modules that the kept part of a module imports, and which of their names."""
    nodes = [node for statement in kept(root, module, names) for node in ast.walk(statement)]
    used = _used(nodes)
    found: list[tuple[str, Names]] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            source = _absolute(root, module, node)
            for alias in node.names:
                for rest in used.get(_called(alias), {()}) if _file(root, f"{source}.{alias.name}") else {()}:
                    found += _followed(root, source, (alias.name, *rest))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package = alias.name if alias.asname else _called(alias)
                for rest in used.get(_called(alias), {()}):
                    found += _followed(root, package, rest)
                found += [] if alias.asname else [(alias.name, None)]
    return found


def _used(nodes: Iterable[ast.AST]) -> dict[str, set[tuple[str, ...]]]:
    """Return what is taken of each name: of `a` in `a.b.c` that is b, c; in `f(a)` and `getattr(a, x)` all, ()."""
    found: dict[str, set[tuple[str, ...]]] = {}
    inside: set[ast.AST] = set()
    for node in nodes:  # as `ast.walk` gives them, the longest chain first
        chain, at = (), node
        while isinstance(at, ast.Attribute):
            chain, at = (at.attr, *chain), at.value
            inside.add(at)
        if isinstance(at, ast.Name) and node not in inside:
            found.setdefault(at.id, set()).add(chain)
    return found


def _followed(root: Path, module: str, chain: tuple[str, ...]) -> list[tuple[str, Names]]:
    """Return where names lead to, each taken of the one before: through packages to a module, or to a name in one."""
    for name in chain:
        inner = f"{module}.{name}"
        if not _file(root, inner):
            homes = [each for home, own in _homes(root, module, name) for each in _followed(root, home, (own,))]
            return [(module, frozenset({name}) if _is_mixed(module) and name != "*" else None), *homes]
        module = inner
    return [(module, None)]


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


@cache
def _homes(root: Path, package: str, name: str) -> list[tuple[str, str]]:
    """Return where a package has a name from, and as what: of lazy imports (PEP 562) only type checkers are told."""
    path = _file(root, package)
    if path is None or path.name != "__init__.py":
        return []
    return [
        (_absolute(root, package, node), alias.name)
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if _called(alias) == name
    ]


def _called(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def kept(root: Path, module: str, names: Names) -> list[ast.stmt]:
    """Return a module's top-level statements: all, or those that define names, what these use, and what just runs."""
    statements = _statements(root, module)
    if names is None:
        return statements
    defining = [(statement, _defined(statement)) for statement in statements]
    wanted, chosen = set(names), set[int]()
    grown = True
    while grown:
        grown = False
        for index, (statement, defined) in enumerate(defining):
            if index not in chosen and (defined is None or defined & wanted):
                chosen.add(index)
                wanted |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                grown = True
    # Of one import of several names only the used ones are followed.
    return [_narrowed(statement, wanted) for index, (statement, _) in enumerate(defining) if index in chosen]


def _narrowed(statement: ast.stmt, wanted: set[str]) -> ast.stmt:
    if isinstance(statement, ast.ImportFrom):
        used = [alias for alias in statement.names if alias.name == "*" or _called(alias) in wanted]
        return ast.ImportFrom(statement.module, used, statement.level)
    return statement


def _defined(statement: ast.stmt) -> set[str] | None:
    """Return the names that a statement defines, None where it may do more than that."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return None if statement.names[0].name == "*" else set(map(_called, statement.names))
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", statement)]
    nodes = [node for target in targets for node in ast.walk(target)]
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)) or not all(map(_is_plain, nodes)):
        return None  # a call, a condition, a loop; `TABLE["key"] = 1` fills what was defined elsewhere
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _is_plain(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Tuple, ast.List, ast.Starred, ast.expr_context))


@cache
def _statements(root: Path, module: str) -> list[ast.stmt]:
    """Return a module's statements without words, imports for type checkers, and what it does as a program.

    Words are docstrings, and how a class shows itself in a notebook.
    """
    path = _file(root, module)
    tree = ast.parse(_text(path) if path else "")
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and isinstance(body, list):
            node.body = [child for child in body if not _is_words(child) and not _is_shown(node, child)] or [
                ast.Pass()
            ]
    return [
        node
        for statement in tree.body
        for node in (statement.orelse if isinstance(statement, ast.If) and _is_idle(statement.test) else [statement])
    ]


def _is_idle(test: ast.expr) -> bool:
    """Return whether a condition never holds while something is measured."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


@cache
def _written(root: Path, module: str, names: Names) -> str:
    return " ".join(_canonical(kept(root, module, names)))


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_shown(parent: ast.AST, node: ast.stmt) -> bool:
    """Return whether this is the method that a notebook calls to show a value: nothing is measured by it."""
    return isinstance(parent, ast.ClassDef) and isinstance(node, ast.FunctionDef) and node.name == "_repr_html_"


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


def _text(path: Path) -> str:
    """Return a file as it was when this process began to load code, not as it was edited since."""
    return TEXTS[path] if path in TEXTS else path.read_text(encoding="utf-8")


@cache
def _file(root: Path, module: str) -> Path | None:
    """Return the file of a module of the project."""
    if module.partition(".")[0] not in OWN:
        return None
    place = root.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)
