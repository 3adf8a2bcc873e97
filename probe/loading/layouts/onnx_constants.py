"""Computes which values of an ONNX graph are constant before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..formats.onnx_file import OnnxModel
from ..readers import DEEPEST

#: A step of an exporter's arithmetic makes at most so many numbers.
MOST_NUMBERS = 500_000_000


@dataclass(eq=False)
class Scope:
    """The names of one graph, and of the graphs around it.

    Attributes:
        start: where the graph lies, as in `OnnxModel.constants`.
        constants: values by name.
        producers: nodes by the names of what they compute.
        around: the graph that this one is nested in, or None.
        given: names that the graph is given when it runs.
        kept: names of the constants that are in the file.
    """

    start: str = ""
    constants: dict[str, Tensor] = field(default_factory=dict)
    producers: dict[str, Any] = field(default_factory=dict)
    around: Scope | None = None
    given: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    @classmethod
    def of(cls, graph: Any, start: str, model: OnnxModel, around: Scope | None) -> Scope:
        """Return the scope of a graph."""
        scope = cls(start, dict(model.constants[start]), around=around)
        scope.kept = frozenset(scope.constants)
        scope.producers = {name: node for node in graph.node for name in node.output if name}
        scope.given = frozenset(value.name for value in graph.input) - frozenset(scope.constants)
        return scope

    def home(self, name: str) -> Scope | None:
        """Return the innermost scope that has a name."""
        if name in self.constants or name in self.producers or name in self.given:
            return self
        return None if self.around is None else self.around.home(name)


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as plain values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def constant(scope: Scope, name: str, depth: int = 0) -> Tensor | None:
    """Return a name's value where it follows from constants alone, or None.

    Raises:
        ValueError: the graph computes it in too many steps, or of shapes that do not fit.
    """
    home = scope.home(name)
    if home is None or depth > DEEPEST:
        return None
    node = home.producers.get(name)
    if name in home.constants or node is None:
        return home.constants.get(name)
    if node.op_type == "Constant":
        home.constants[name] = value = _constant_node(node)
        return value
    compute = _OPERATIONS.get(node.op_type)
    if compute is None or node.domain not in ("", "ai.onnx"):
        return None
    inputs = [constant(home, one, depth + 1) if one else None for one in node.input]
    if any(value is None for one, value in zip(node.input, inputs, strict=True) if one):
        return None
    results = compute(inputs, attributes(node), len(node.output))
    for output, result in zip(node.output, results, strict=False):
        home.constants[output] = result
    return home.constants.get(name)


def _constant_node(node: Any) -> Any:
    for name, value in attributes(node).items():
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.float32 if "float" in name else torch.int64)
    return None


_DTYPES = {
    1: torch.float32,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
Values = list[Any]


def _ints(value: Any) -> list[int]:
    return [int(one) for one in (value.flatten().tolist() if isinstance(value, Tensor) else value)]


def _at(values: Values, place: int) -> Any:
    return values[place] if place < len(values) else None


def _transpose(values: Values, given: Mapping[str, Any], _: int) -> Values:
    order = given.get("perm") or range(values[0].dim())[::-1]
    return [values[0].permute(*order).contiguous()]


def _concat(values: Values, given: Mapping[str, Any], _: int) -> Values:
    if sum(value.numel() for value in values) > MOST_NUMBERS:
        raise ValueError("a concatenation of too many numbers")
    return [torch.cat(values, given["axis"])]


def _slice(values: Values, given: Mapping[str, Any], _: int) -> Values:
    x = values[0]
    starts = _ints(given["starts"] if "starts" in given else values[1])
    ends = _ints(given["ends"] if "ends" in given else values[2])
    chosen = _at(values, 3) if "axes" not in given else given["axes"]
    axes = range(len(starts)) if chosen is None else _ints(chosen)
    steps = [1] * len(starts) if _at(values, 4) is None else _ints(values[4])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = torch.arange(x.shape[axis])[slice(start, end) if step > 0 else slice(None)]
        if step != 1:
            if step < 0 or step > x.shape[axis]:
                raise ValueError("a slice that goes backwards")
            places = places[::step]
        x = x.index_select(axis, places)
    return [x]


def _axes(values: Values, given: Mapping[str, Any]) -> list[int] | None:
    axes = given.get("axes", _at(values, 1))
    return None if axes is None else _ints(axes)


def _squeeze(values: Values, given: Mapping[str, Any], _: int) -> Values:
    axes = _axes(values, given)
    return [values[0].squeeze() if axes is None else values[0].squeeze(tuple(axes))]


def _unsqueeze(values: Values, given: Mapping[str, Any], _: int) -> Values:
    x, axes = values[0], _axes(values, given) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return [x]


def _reshape(values: Values, given: Mapping[str, Any], _: int) -> Values:
    shape = _ints(values[1])
    if not given.get("allowzero"):
        shape = [values[0].shape[place] if size == 0 else size for place, size in enumerate(shape)]
    return [values[0].reshape(shape)]


def _split(values: Values, given: Mapping[str, Any], outputs: int) -> Values:
    axis = given.get("axis", 0)
    sizes = given.get("split", _at(values, 1))
    if sizes is None:
        return list(torch.tensor_split(values[0], outputs, axis))
    return list(values[0].split(_ints(sizes), axis))


def _gather(values: Values, given: Mapping[str, Any], _: int) -> Values:
    x, places, axis = values[0], values[1], given.get("axis", 0) % max(values[0].dim(), 1)
    flat = x.index_select(axis, places.flatten() % x.shape[axis])
    return [flat.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])]


def _dequantize(values: Values, given: Mapping[str, Any], _: int) -> Values:
    x, scale, zero = values[0], values[1], _at(values, 2)
    if scale.numel() != 1:
        axis = given.get("axis", 1) % x.dim()
        shape = [-1 if place == axis else 1 for place in range(x.dim())]
        scale, zero = scale.reshape(shape), None if zero is None else zero.reshape(shape)
    whole = x.to(torch.int32) - (0 if zero is None else zero.to(torch.int32))
    return [whole.to(scale.dtype) * scale]


_OPERATIONS: Mapping[str, Callable[[Values, Mapping[str, Any], int], Values]] = {
    "Identity": lambda values, *_: [values[0]],
    "Cast": lambda values, given, _: [values[0].to(_DTYPES[given["to"]])],
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Split": _split,
    "Gather": _gather,
    "Shape": lambda values, *_: [torch.tensor(values[0].shape, dtype=torch.int64)],
    "DequantizeLinear": _dequantize,
}
