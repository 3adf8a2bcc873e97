"""Mutations of chosen modules that nobody wrote: what cosmic-ray's operators make of them."""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterator

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names


def mutants_of(source: str, draws: random.Random) -> Iterator[tuple[str, str]]:
    """Yield mutants of a module in a random order, one for each place that an operator can change.

    Which operator a place gets is drawn too. What is no Python is left out (the operators take the `*` of a signature
    for a product), and what changes annotations alone, which say nothing about what the code does.

    Args:
        source: the module's source.
        draws: what is drawn from.

    Yields:
        The line with the operator, and the module's source with the change.
    """
    tree, meaning = get_ast(source), _meaning(source)
    places: defaultdict[tuple[tuple[int, int], ...], list[tuple[str, int]]] = defaultdict(list)
    for name in operator_names():
        if get_operator(name).arguments():  # it changes what one has to name
            continue
        operator = get_operator(name)()
        found = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for number, place in enumerate(found):
            places[tuple(place)].append((name, number))
    order = sorted(places)
    draws.shuffle(order)
    for place in order:
        name, number = draws.choice(places[place])
        changed = mutate_code(source, get_operator(name)(), number)
        if changed is not None and _meaning(changed) not in (None, meaning):
            yield f"line {place[0][0]}: {name.removeprefix('core/')}", changed


class _Unannotated(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _meaning(source: str) -> str | None:
    """Return the program without its annotations, or None where the source is no Python."""
    try:
        return ast.dump(_Unannotated().visit(ast.parse(source)))
    except SyntaxError:
        return None
