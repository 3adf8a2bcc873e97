"""Reads TensorFlow's frozen graphs (GraphDef) without TensorFlow: their constants and their nodes.

Reference: TensorFlow, core/framework/graph.proto, node_def.proto, function.proto, tensor.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..readers import MOST_VALUES, Budget, Contents, count, file_bytes, reading
from .protobuf import decoded, fields, integers, message, number, signed
from .tensor_bundle import DTYPES

ADVICE = "Give a frozen graph (.pb); of a SavedModel give its folder, of a checkpoint its .index file."
#: The field in which a TensorProto lists numbers of a dtype one by one; those that are floats by their bits.
_LISTS = {
    torch.float32: 5,
    torch.float64: 6,
    torch.int32: 7,
    torch.int16: 7,
    torch.int8: 7,
    torch.uint8: 7,
    torch.int64: 10,
    torch.bool: 11,
}


@dataclass(eq=False)
class GraphNode:
    """One node: name, operation, inputs, and those of its attributes that are looked at."""

    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    value: Tensor | None = None
    function: str = ""


@dataclass(eq=False)
class Graph:
    """The nodes of a graph or of a function's body, by name; `arguments` are what a function is called with."""

    nodes: dict[str, GraphNode] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class FrozenGraph:
    """A graph and the functions beside it."""

    main: Graph
    functions: Mapping[str, Graph]


def read(path: Path, budget: Budget) -> Contents:
    """Return the constant arrays of floats of a frozen graph by their nodes' names, and the graph."""
    content = memoryview(file_bytes(path, budget))
    with reading(path, "a frozen graph of TensorFlow", ADVICE):
        main, functions = Graph(), {}
        for key, value in fields(content):
            if key == 1:
                _add(main, _node(message(value), budget))
            elif key == 2:
                functions |= dict(_functions(message(value), budget))
        if not any(node.op for node in main.nodes.values()):
            raise ValueError("it has no nodes with an operation")
        # The others are axes, shapes and numbers of the arithmetic.
        tensors = {
            name: node.value
            for name, node in main.nodes.items()
            if node.value is not None and node.value.is_floating_point() and node.value.dim() and not node.inputs
        }
    return Contents(tensors, "TensorFlow", "TensorFlow frozen graph", FrozenGraph(main, functions))


def _functions(library: memoryview, budget: Budget) -> Iterator[tuple[str, Graph]]:
    for key, function in fields(library):
        if key != 1:
            continue
        name, graph = "", Graph()
        for inner, value in fields(message(function)):
            if inner == 1:
                for at, part in fields(message(value)):
                    name = decoded(part) if at == 1 else name
                    if at == 2:
                        graph.arguments += [decoded(text) for which, text in fields(message(part)) if which == 1]
            elif inner == 3:
                _add(graph, _node(message(value), budget))
        yield name, graph


def _add(graph: Graph, node: GraphNode) -> None:
    if node.name in graph.nodes or len(graph.nodes) > MOST_VALUES:
        raise ValueError(f"two nodes {node.name!r}, or more than {MOST_VALUES}")
    graph.nodes[node.name] = node


def _node(view: memoryview, budget: Budget) -> GraphNode:
    node = GraphNode()
    tensor: memoryview | None = None
    for key, value in fields(view):
        if key == 1:
            node.name = decoded(value)
        elif key == 2:
            node.op = decoded(value)
        elif key == 3:
            node.inputs.append(decoded(value))
        elif key == 5:
            entry = dict(fields(message(value)))
            name = decoded(entry[1]) if 1 in entry else ""
            for kind, content in fields(message(entry[2])) if 2 in entry else ():
                if kind == 8 and name == "value":
                    tensor = message(content)
                elif kind == 10 and name == "body":
                    node.function = next((decoded(text) for at, text in fields(message(content)) if at == 1), "")
    if node.op == "Const" and tensor is not None:
        node.value = _tensor(node.name, tensor, budget)
    return node


def _tensor(name: str, view: memoryview, budget: Budget) -> Tensor | None:
    """Return a TensorProto's numbers, or None where it has none that torch knows."""
    parts: dict[int, list[int | memoryview]] = {}
    for key, value in fields(view):
        parts.setdefault(key, []).append(value)
    dtype = DTYPES.get(number(parts.get(1, [0])[0]))
    shape = [
        signed(number(size))
        for dims in parts.get(2, [])
        for key, dim in fields(message(dims))
        if key == 2
        for inner, size in fields(message(dim))
        if inner == 1
    ]
    if dtype is None:
        return None
    size = count(shape)
    budget.take(name, size * dtype.itemsize)
    if 4 in parts:
        content = bytes(message(parts[4][0]))
        if len(content) != size * dtype.itemsize:
            raise ValueError(f"{name!r} has {len(content)} bytes for the shape {shape}")
        flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return flat.reshape(shape)
    listed = _listed(parts.get(_LISTS.get(dtype, 0), []), dtype)
    if len(listed) > size or (size and not listed and dtype not in _LISTS):
        raise ValueError(f"{name!r} has {len(listed)} numbers for the shape {shape}")
    # The last number stands for all that are left out; none at all for zeros.
    last = listed[-1] if listed else 0
    return (
        torch.tensor(listed, dtype=dtype).reshape(shape)
        if len(listed) == size
        else _filled(listed, last, shape, dtype)
    )


def _filled(listed: list[int | float], last: float, shape: list[int], dtype: torch.dtype) -> Tensor:
    flat = torch.full((count(shape),), last, dtype=dtype)
    flat[: len(listed)] = torch.tensor(listed, dtype=dtype)
    return flat.reshape(shape)


def _listed(values: list[int | memoryview], dtype: torch.dtype) -> list[int | float]:
    found: list[int | float] = []
    for value in values:
        if dtype in (torch.float32, torch.float64):
            data = value.to_bytes(dtype.itemsize, "little") if isinstance(value, int) else bytes(value)
            if len(data) % dtype.itemsize:
                raise ValueError("a list of floats that ends within one")
            found += torch.frombuffer(bytearray(data), dtype=dtype).tolist() if data else []
        else:
            found += [signed(one) for one in integers(value)]
    return found
