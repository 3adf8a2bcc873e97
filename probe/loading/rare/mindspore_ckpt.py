"""Reads MindSpore's `.ckpt` files: arrays by name, in a protocol buffer.

Reference: MindSpore 2.10, mindspore/ccsrc/utils/checkpoint.proto: a Checkpoint has values (1), each a tag (1) and a
tensor (2) of dims (1), the name of its dtype (2) and bytes (3). A large array is written in several pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..formats import protobuf
from ..readers import MOST_VALUES, Budget, Contents, collect, count, file_bytes, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give a file that mindspore.save_checkpoint wrote, not encrypted."
#: How such a file begins: a value, of a length below 2 ** 28.
START = b"\n"
_DTYPES = {
    "Float16": "f2",
    "Float32": "f4",
    "Float64": "f8",
    "Int8": "i1",
    "Int16": "i2",
    "Int32": "i4",
    "Int64": "i8",
    "UInt8": "u1",
    "UInt16": "u2",
    "UInt32": "u4",
    "UInt64": "u8",
    "Bool": "?",
}


@dataclass
class _Parameter:
    dims: list[int]
    dtype: str
    pieces: list[bytes] = field(default_factory=list)

    def get(self, name: str, budget: Budget) -> np.ndarray | str:
        import numpy as np

        data = b"".join(self.pieces)
        if self.dtype not in _DTYPES:
            return f"numbers of the kind {self.dtype[:20]!r}"
        dtype = np.dtype(_DTYPES[self.dtype]).newbyteorder("<")
        # A scalar is written with one axis of no size.
        shape = [] if self.dims == [0] and len(data) == dtype.itemsize else self.dims
        if count(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{name!r} has {len(data)} bytes for an array of shape {shape} of {self.dtype}")
        budget.take(name, len(data))
        return np.frombuffer(data, dtype).reshape(shape)


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a checkpoint of MindSpore by their names."""
    content = file_bytes(path, budget)
    with reading(path, "a checkpoint of MindSpore", ADVICE):
        found: dict[str, _Parameter] = {}
        last = ""
        for number, value in protobuf.fields(content):
            if number != 1 or len(found) > MOST_VALUES:
                raise ValueError(f"a field of the number {number}")
            name, parameter = _value(value)
            if name in found and name != last:
                raise ValueError(f"two arrays of the name {name!r}")
            kept = found.setdefault(name, parameter)
            if kept is not parameter:
                kept.pieces += parameter.pieces
            last = name
        tensors, left_out = collect(budget, ((name, one.get(name, budget)) for name, one in found.items()))
    return Contents(tensors, "MindSpore", "MindSpore checkpoint", left_out=left_out)


def _value(value: protobuf.Value) -> tuple[str, _Parameter]:
    name, parameter = "", _Parameter([], "")
    for number, part in protobuf.fields(protobuf.message(value)):
        if number == 1:
            name = protobuf.decoded(part)
        elif number == 2:
            for own, inner in protobuf.fields(protobuf.message(part)):
                if own == 1:
                    parameter.dims += [protobuf.signed(size) for size in protobuf.integers(inner)]
                elif own == 2:
                    parameter.dtype = protobuf.decoded(inner)
                elif own == 3:
                    parameter.pieces.append(bytes(protobuf.message(inner)))
    return name, parameter
