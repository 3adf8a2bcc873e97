"""ONNX models: the constants of their graphs, and the graphs themselves, nested ones included. Nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..reading import Budget, Contents, count, file_bytes, reading, tensor_of

ADVICE = "Give a file that an exporter to ONNX wrote."
INSTALL = "pip install 'rnn-probe[onnx]'"


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model's graph.

    Attributes:
        graph: onnx's GraphProto.
        reader: turns a TensorProto into a tensor, or None where it holds no numbers.
    """

    graph: Any
    reader: _Tensors


def read(path: Path, budget: Budget) -> Contents:
    """Return the constants of an ONNX model's outermost graph by name, and the graph."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ProbeError(
            f"{str(path)!r} is an ONNX model, which the package onnx reads, and it is not installed: {INSTALL}."
        ) from error
    content = file_bytes(path, budget)
    with reading(path, "an ONNX model", ADVICE):
        try:
            model = onnx.ModelProto.FromString(content)
        except DecodeError as error:
            raise ValueError(str(error)) from error
        if not model.graph.node and not model.graph.initializer:
            raise ValueError("it has no graph")
        reader = _Tensors(path, budget)
        tensors: dict[str, Tensor] = {}
        left_out: list[str] = []
        for proto in model.graph.initializer:
            tensor = reader.tensor(proto)
            if tensor is None:
                left_out.append(proto.name)
            else:
                tensors[proto.name] = tensor
        left_out += [proto.values.name for proto in model.graph.sparse_initializer]
    version = f"{model.producer_name} {model.producer_version}".strip()
    return Contents(tensors, "ONNX", "ONNX model", OnnxModel(model.graph, reader), tuple(left_out), version)


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
