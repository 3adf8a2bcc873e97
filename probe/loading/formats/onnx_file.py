"""Reads ONNX models: the constants of their graphs and the graphs themselves, without running them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError, require
from ..readers import DEEPEST, Budget, Contents, count, file_bytes, reading, tensor_of

ADVICE = "Give a file that an exporter to ONNX wrote."


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model's graph.

    Attributes:
        path: the file.
        graph: onnx's GraphProto.
        constants: of each graph, by where it lies ("" for the outermost, `If_0.then_branch.` for one in it), the
            arrays by name.
    """

    path: Path
    graph: Any
    constants: Mapping[str, dict[str, Tensor]]


def read(path: Path, budget: Budget) -> Contents:
    """Return the constants of an ONNX model's graphs by name, and the outermost graph."""
    require(f"{str(path)!r} is an ONNX model: reading it", "onnx", "onnx")
    import onnx

    protobuf = importlib.import_module("google.protobuf.message")
    content = file_bytes(path, budget)
    with reading(path, "an ONNX model", ADVICE):
        try:
            model = onnx.ModelProto.FromString(content)
        except protobuf.DecodeError as error:
            raise ValueError(str(error)) from error
        # What was parsed holds all numbers once more.
        budget.take("its graph", len(content), copies=1)
        if not model.graph.node and not model.graph.initializer:
            raise ValueError("it has no graph")
        reader = _Tensors(path, budget)
        constants: dict[str, dict[str, Tensor]] = {}
        tensors: dict[str, Tensor] = {}
        left_out: list[str] = []
        for start, graph in graphs(model.graph, "", 0):
            own = constants[start] = {}
            left_out += [f"{start}{name}: a loop of its own" for name in _own_loops(graph)]
            for name, proto in _constants(graph):
                tensor = reader.tensor(proto)
                if tensor is None:
                    left_out.append(start + name)
                else:
                    own[name] = tensor
            # Numbers without an axis are of the arithmetic, unless the model keeps them as parameters.
            kept = {proto.name for proto in graph.initializer}
            tensors |= {start + name: tensor for name, tensor in own.items() if tensor.dim() or name in kept}
    version = f"{model.producer_name} {model.producer_version}".strip()
    described = OnnxModel(path, model.graph, constants)
    return Contents(tensors, "ONNX", "ONNX model", described, dict.fromkeys(left_out, ""), version)


def graphs(graph: Any, start: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a graph and those nested in it, each with where it lies.

    Raises:
        ValueError: they are nested too deep.
    """
    if depth > DEEPEST:
        raise ValueError(f"graphs more than {DEEPEST} deep")
    yield start, graph
    for number, node in enumerate(graph.node):
        for name, inner in inner_graphs(node):
            yield from graphs(inner, f"{start}{name_of(node, number)}.{name}.", depth + 1)


def inner_graphs(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the graphs that a node holds, with the names of its attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        for number, inner in enumerate(attribute.graphs):
            yield f"{attribute.name}{number}", inner


def name_of(node: Any, number: int) -> str:
    """Return a node's name, or what it computes, or its operation with its number."""
    return node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{number}"


def _own_loops(graph: Any) -> Iterator[str]:
    """Yield the loops that multiply matrices: a recurrent layer that an exporter wrote as arithmetic looks so."""
    for number, node in enumerate(graph.node):
        if node.op_type in ("Loop", "Scan"):
            inside = {one.op_type for _, inner in inner_graphs(node) for one in inner.node}
            if inside & {"MatMul", "Gemm"}:
                yield name_of(node, number)


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the TensorProtos of a graph by name."""
    for proto in graph.initializer:
        yield proto.name, proto
    for node in graph.node:
        values = [
            attribute.t for attribute in node.attribute if attribute.name == "value" and attribute.HasField("t")
        ]
        if node.op_type == "Constant" and node.output and values:
            yield node.output[0], values[0]


class _Tensors:
    """Reads TensorProtos of one file, and their numbers in files beside it."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self._budget = path, budget

    def tensor(self, proto: Any) -> Tensor | None:
        """Return a TensorProto's numbers, or None where it has none that torch knows.

        Raises:
            ProbeError: they lie outside the model's folder.
            ValueError: they do not fit the shape.
        """
        import numpy as np
        from onnx import TensorProto, numpy_helper

        types = {
            TensorProto.FLOAT: "f4",
            TensorProto.DOUBLE: "f8",
            TensorProto.FLOAT16: "f2",
            TensorProto.BFLOAT16: "u2",
            TensorProto.INT64: "i8",
            TensorProto.INT32: "i4",
            TensorProto.INT8: "i1",
            TensorProto.UINT8: "u1",
            TensorProto.BOOL: "?",
        }
        if proto.data_type not in types:
            return None
        kind, shape = np.dtype(types[proto.data_type]), tuple(proto.dims)
        size = count(shape) * kind.itemsize
        self._budget.stored += size if proto.data_location == TensorProto.EXTERNAL else 0
        self._budget.take(proto.name, size)
        if proto.data_location == TensorProto.EXTERNAL:
            raw: bytes | None = self._beside(proto, size)
        else:
            raw = proto.raw_data if proto.HasField("raw_data") else None
        if raw is not None:
            if len(raw) != size:
                raise ValueError(f"{proto.name!r} has {len(raw)} bytes for the shape {shape}")
            array = np.frombuffer(raw, kind.newbyteorder("<")).reshape(shape)
        elif proto.data_type == TensorProto.BFLOAT16:
            array = np.array(list(proto.int32_data), np.uint16).reshape(shape)
        else:
            array = numpy_helper.to_array(proto)
        tensor = tensor_of(array)
        if tensor is not None and proto.data_type == TensorProto.BFLOAT16:
            tensor = tensor.view(torch.bfloat16)
        return tensor

    def _beside(self, proto: Any, size: int) -> bytes:
        """Return numbers that lie in a file of the model's folder."""
        facts = {entry.key: entry.value for entry in proto.external_data}
        folder = self.path.resolve().parent
        file = folder / facts.get("location", "")
        if file.is_symlink() or not file.resolve().is_relative_to(folder) or not file.is_file():
            raise ProbeError(
                f"{str(self.path)!r} keeps {proto.name!r} in {facts.get('location', '')!r}, which is no file of its "
                "folder. Put the model's files into one folder."
            )
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", size))
        if offset < 0 or length != size:
            raise ValueError(f"{proto.name!r} has {length} bytes instead of {size}")
        with file.open("rb") as data:
            _ = data.seek(offset)
            return data.read(size)
