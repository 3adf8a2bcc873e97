"""Reads from a frozen TensorFlow graph what its cells add to the forget gate and which functions they apply.

A variable's file does not say it; a graph does, where its nodes are those that TensorFlow's own cells make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import ProbeError
from ..formats.graph_def import FrozenGraph, Graph, GraphNode
from ..readers import DEEPEST

_FUNCTIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid"}
#: Nodes that hand on what they are given.
_PASSING = ("Identity", "Enter", "Switch", "ReadVariableOp", "RefEnter")
_ADDING = ("Add", "AddV2", "BiasAdd")
_CLIPPING = ("Minimum", "Maximum", "ClipByValue")


def facts(frozen: FrozenGraph) -> dict[str, dict[str, Any]]:
    """Return `forget_bias` and `activation` of each cell whose nodes are found, by its name.

    Raises:
        ProbeError: a cell clips its state, or has a function that no cell here has.
    """
    found: dict[str, dict[str, Any]] = {}
    for graph, names in _graphs(frozen):
        users = _users(graph)
        for node in graph.nodes.values():
            if node.op in _ADDING and len(node.inputs) == 2:
                variable = _variable(graph, node.inputs[1], names)
                if variable is not None and variable.endswith(("/bias", "/biases")):
                    cell = variable.rpartition("/")[0]
                    if cell.endswith("/candidate"):
                        cell = cell.removesuffix("/candidate")
                    found.setdefault(cell, {}).update(_of_cell(graph, users, node, cell))
    return found


def _graphs(frozen: FrozenGraph) -> Iterator[tuple[Graph, Mapping[str, str]]]:
    """Yield the graph, and each loop's body with what its arguments are called in the graph around it."""
    yield frozen.main, {}
    for node in frozen.main.nodes.values():
        body = frozen.functions.get(node.function)
        if body is not None:
            given = zip(body.arguments, node.inputs, strict=False)
            outer = {argument: _variable(frozen.main, name, {}) for argument, name in given}
            yield body, {argument: name for argument, name in outer.items() if name is not None}


def _users(graph: Graph) -> dict[str, list[tuple[GraphNode, int]]]:
    """Return the nodes that use each node, and which of its outputs."""
    users: dict[str, list[tuple[GraphNode, int]]] = {}
    for node in graph.nodes.values():
        for name in node.inputs:
            if not name.startswith("^"):
                users.setdefault(_stem(name), []).append((node, _output(name)))
    return users


def _stem(name: str) -> str:
    return name.partition(":")[0]


def _output(name: str) -> int:
    last = name.rpartition(":")[2] if ":" in name else "0"
    return int(last) if last.isdigit() else 0


def _variable(graph: Graph, name: str, names: Mapping[str, str], depth: int = 0) -> str | None:
    """Return the constant that a name leads to."""
    stem = _stem(name)
    if stem in names:
        return names[stem]
    node = graph.nodes.get(stem)
    if node is None or depth > DEEPEST:
        return None
    if node.op == "Const":
        return node.name
    if node.op in _PASSING and node.inputs:
        return _variable(graph, node.inputs[0], names, depth + 1)
    return None


def _of_cell(
    graph: Graph, users: Mapping[str, list[tuple[GraphNode, int]]], added: GraphNode, cell: str
) -> dict[str, Any]:
    """Return what the nodes behind a cell's bias say."""
    scope = added.name.rpartition("/")[0]
    clipped = next(
        (n.name for n in graph.nodes.values() if n.op in _CLIPPING and n.name.startswith(f"{scope}/")), None
    )
    if clipped is not None:
        raise ProbeError(
            f"{cell!r} cuts off its state ({clipped!r}), which no cell here does. It cannot be loaded; leave it out "
            f"with names={{{cell + '*'!r}: None}}."
        )
    behind = users.get(added.name, [])
    split = next((node for node, _ in behind if node.op == "Split"), None)
    if split is None:
        functions = [_function(node, cell) for node, _ in behind if node.op != "Shape"]
        return {"activation": functions[0]} if len(functions) == 1 and functions[0] else {}
    parts: dict[int, list[GraphNode]] = {}
    for node, output in users.get(split.name, []):
        parts.setdefault(output, []).append(node)
    if sorted(parts) != [0, 1, 2, 3]:
        return {}
    known = {"forget_bias": _added(graph, parts[2]), "activation": _function(parts[1][0], cell)}
    return {name: value for name, value in known.items() if value is not None}


def _function(node: GraphNode, cell: str) -> str | None:
    if node.op in (*_ADDING, "Mul", "Split"):
        return None  # arithmetic: what it is a part of is no cell that is known
    if node.op not in _FUNCTIONS:
        raise ProbeError(
            f"{cell!r} applies {node.op!r}, and {', '.join(_FUNCTIONS)} can be loaded. Leave it out with "
            f"names={{{cell + '*'!r}: None}}."
        )
    return _FUNCTIONS[node.op]


def _added(graph: Graph, nodes: list[GraphNode]) -> float | None:
    """Return the constant that is added to the forget gate."""
    if len(nodes) != 1 or nodes[0].op not in ("Add", "AddV2"):
        return None
    for name in nodes[0].inputs:
        node = graph.nodes.get(_stem(name))
        if node is not None and node.op == "Const" and node.value is not None and node.value.numel() == 1:
            return float(node.value)
    return None
