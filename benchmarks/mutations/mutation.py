"""One deliberate defect: found by its function and expression, and written over that expression alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class MutationError(ValueError):
    """A mutation that does not fit the source; the message says which, and why."""


@dataclass(frozen=True)
class Mutation:
    """A deliberate defect, and who must notice it.

    Attributes:
        name: what goes wrong.
        module: the module that is changed, such as `probe.recurrent.cells.lstm`.
        function: the function or class in it, such as `LSTMCell.given`. A class stands for its own lines without its
            methods, the empty string for the module's own lines.
        old: a Python expression, or one statement, that stands there at exactly one place; comments, line breaks and
            quotes do not matter.
        new: what stands there instead.
        test: the file of tests of which one must fail, from the repository's root; or one test of it, `FILE::NAME`.
    """

    name: str
    module: str
    function: str
    old: str
    new: str
    test: str

    @property
    def tests(self) -> str:
        """The file of tests, from the repository's root."""
        return self.test.partition("::")[0]

    @property
    def file(self) -> str:
        """The module's file, from the repository's root."""
        return self.module.replace(".", "/") + ".py"

    def applied(self, source: str) -> str:
        """Return the module's source with the defect; what is outside of the expression stays byte for byte.

        Raises:
            MutationError: there is no such function, `old` stands there at no place or at several, or `new` is the
                same or cannot stand in its place.
        """
        tree = ast.parse(source)
        scopes = _named(tree, self.function)
        if not scopes:
            raise self._error(f"there is no {self.function}")
        old, new = self._parsed(self.old), self._parsed(self.new)
        if isinstance(old, ast.Expr) and isinstance(new, ast.Expr):
            old, new = old.value, new.value
        text = ast.dump(old)
        if text == ast.dump(new):
            raise self._error(f"{self.new!r} is what stands there already")
        found = [
            node for scope in scopes for node in _nodes(scope) if type(node) is type(old) and ast.dump(node) == text
        ]
        if len(found) != 1:
            lines = ", ".join(str(node.lineno) for node in found if isinstance(node, (ast.expr, ast.stmt)))
            where = f"at {len(found)} places (lines {lines})" if found else "at no place"
            raise self._error(f"{self.old!r} stands {where} of {self.function or 'the module itself'}")
        changed = _written(source, found[0], f"({self.new})" if isinstance(new, ast.expr) else self.new)
        # What was meant and what was written must be the same program.
        if _dumped(changed) != ast.dump(_Put(found[0], new).visit(tree)):
            raise self._error(f"{self.new!r} cannot be written in the place of {self.old!r}")
        return changed

    def _parsed(self, code: str) -> ast.stmt:
        try:
            (statement,) = ast.parse(code).body
        except (SyntaxError, ValueError):
            raise self._error(f"{code!r} is neither an expression nor one statement") from None
        return statement

    def _error(self, problem: str) -> MutationError:
        return MutationError(
            f"Mutation {self.name!r} of {self.file}: {problem}. It must name a function and an expression that "
            "stands in it at exactly one place; change it with the code, or take it out where that code is gone."
        )


class _Put(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a scope itself: the definitions in it too, but nothing of theirs."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, _DEFINITIONS):
            yield from _own(node)


def _named(tree: ast.Module, path: str) -> list[ast.AST]:
    """Return the definitions of that dotted name; the module itself for the empty one."""
    scopes: list[ast.AST] = [tree]
    for name in path.split(".") if path else ():
        scopes = [
            node for scope in scopes for node in _own(scope) if isinstance(node, _DEFINITIONS) and node.name == name
        ]
    return scopes


def _nodes(scope: ast.AST) -> Iterator[ast.AST]:
    return _own(scope) if isinstance(scope, (ast.Module, ast.ClassDef)) else ast.walk(scope)


def _written(source: str, node: ast.AST, text: str) -> str:
    """Return the source with a text over the place of one node, whose columns count bytes."""
    assert isinstance(node, (ast.expr, ast.stmt))
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.encode().splitlines(keepends=True)
    before = [*lines[: node.lineno - 1], lines[node.lineno - 1][: node.col_offset]]
    after = [lines[node.end_lineno - 1][node.end_col_offset :], *lines[node.end_lineno :]]
    return b"".join([*before, text.encode(), *after]).decode()


def _dumped(source: str) -> str | None:
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:
        return None


def of(module: str, test: str, *changes: tuple[str, str, str, str]) -> tuple[Mutation, ...]:
    """Return mutations (name, function, old, new) of one module that one test or one file of tests must notice."""
    return tuple(Mutation(name, module, function, old, new, test) for name, function, old, new in changes)
