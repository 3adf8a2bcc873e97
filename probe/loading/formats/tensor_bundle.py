"""Reads TensorFlow's checkpoints and SavedModel variables without TensorFlow: an index and raw arrays.

The index is a sorted table of blocks, each entry the array's name with its dtype, shape, file, offset, size and
checksum. Every checksum is checked, so a flipped bit is an error and never another network.

Reference: TensorFlow, core/protobuf/tensor_bundle.proto and core/lib/io/table_format.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ProbeError
from ..readers import MOST_VALUES, Budget, Contents, count, file_bytes, reading
from .crc32c import masked
from .protobuf import decoded, fields, message, number, signed, varint

ADVICE = "Give the .index file that tf.train.Saver wrote, with its .data files beside it."
MAGIC = bytes.fromhex("57fb808b247547db")
SUFFIX = ".index"
#: Of TensorFlow's dtypes by their number, those of numbers.
DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}
OBJECTS, _STRING = "_CHECKPOINTABLE_OBJECT_GRAPH", 7
_FOOTER, _TRAILER = 48, 5


@dataclass
class Entry:
    """Where one array lies."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0
    sliced: bool = False


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a checkpoint, given its .index file."""
    with reading(path, "a TensorFlow checkpoint", ADVICE):
        entries = dict(_table(file_bytes(path, budget)))
        shards = _shards(entries.pop(b"", None))
        tensors: dict[str, Tensor] = {}
        left_out: dict[str, str] = {}
        files: dict[int, bytes] = {}
        names: dict[str, str] = {}
        for key, value in entries.items():
            name, entry = key.decode("utf-8"), _entry(value)
            if entry.shard not in range(shards):
                raise ValueError(f"{name!r} lies in file {entry.shard} of {shards}")
            if entry.shard not in files:
                data = path.with_name(f"{path.name.removesuffix(SUFFIX)}.data-{entry.shard:05}-of-{shards:05}")
                files[entry.shard] = file_bytes(data, budget)
            if name == OBJECTS and entry.dtype == _STRING:
                names = _full_names(files[entry.shard][entry.offset : entry.offset + entry.size])
            elif entry.dtype not in DTYPES or entry.sliced:
                kind = "text" if entry.dtype == _STRING else f"numbers of TensorFlow's dtype {entry.dtype}"
                left_out[name] = "a slice of a partitioned variable" if entry.sliced else kind
            else:
                tensors[name] = _tensor(name, entry, files[entry.shard], budget)
        called = [names.get(name, name) for name in tensors]
        if len(set(called)) == len(called):
            tensors = dict(zip(called, tensors.values(), strict=True))
            left_out = {names.get(name, name): what for name, what in left_out.items()}
    return Contents(tensors, "TensorFlow", "TensorFlow checkpoint", left_out=left_out)


def _tensor(name: str, entry: Entry, data: bytes, budget: Budget) -> Tensor:
    dtype = DTYPES[entry.dtype]
    part = data[entry.offset : entry.offset + entry.size]
    if len(part) != entry.size or entry.size != count(entry.shape) * dtype.itemsize:
        raise ValueError(f"{name!r} has {len(part)} bytes for an array of shape {entry.shape} of {dtype}")
    if masked(part) != entry.checksum:
        raise ProbeError(
            f"The checksum of {name!r} in {str(budget.path)!r} differs: the file is damaged. Get it anew."
        )
    budget.take(name, entry.size)
    if not part:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.frombuffer(bytearray(part), dtype=dtype).reshape(entry.shape)


def _full_names(text: bytes) -> dict[str, str]:
    """Return the variables' own names by those that TensorFlow 2 gives them in a file, such as `variables/3/...`."""
    view = memoryview(text)
    length, at = varint(view, 0)
    names = {}
    for key, node in fields(view[at + 4 : at + 4 + length]):  # a checksum of the length lies between
        for inner, attribute in fields(message(node)) if key == 1 else ():
            if inner == 2:
                facts = dict(fields(message(attribute)))
                if {2, 3} <= set(facts):
                    names[decoded(facts[3])] = decoded(facts[2])
    return {key: name for key, name in names.items() if name}


def _shards(header: bytes | None) -> int:
    if header is None:
        raise ValueError("there is no header, as in checkpoints before TensorFlow 1.0 (Saver's version V1)")
    found = dict(fields(header))
    if found.get(2, 0) != 0:
        raise ValueError("its arrays are big-endian")
    return number(found.get(1, 1))


def _entry(value: bytes) -> Entry:
    entry = Entry()
    for key, content in fields(value):
        if key == 2:
            entry.shape = [size for at, dim in fields(message(content)) if at == 2 for size in _size(message(dim))]
        elif key == 7:
            entry.sliced = True
        elif key in _PLACES:
            setattr(entry, _PLACES[key], number(content))
    return entry


_PLACES = {1: "dtype", 3: "shard", 4: "offset", 5: "size", 6: "checksum"}


def _size(dim: memoryview) -> list[int]:
    return [signed(number(value)) for key, value in fields(dim) if key == 1] or [0]


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of a sorted table."""
    if len(data) < _FOOTER or not data.endswith(MAGIC):
        raise ValueError("it does not end as an index does")
    view = memoryview(data)
    numbers, at = [], len(data) - _FOOTER
    for _ in range(4):
        value, at = varint(view, at)
        numbers.append(value)
    seen = 0
    last = None
    for _, handle in _block(view, *numbers[2:]):
        offset, at = varint(memoryview(handle), 0)
        size, _ = varint(memoryview(handle), at)
        for key, value in _block(view, offset, size):
            seen += 1
            if seen > MOST_VALUES or (last is not None and key <= last):
                raise ValueError("its names are not sorted")
            last = key
            yield key, value


def _block(view: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if end + _TRAILER > len(view):
        raise ValueError("a block lies beyond its end")
    if view[end] != 0:
        raise ValueError("its index is compressed")
    if masked(bytes(view[offset : end + 1])) != int.from_bytes(view[end + 1 : end + _TRAILER], "little"):
        raise ValueError("the checksum of its index differs")
    block = view[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    stop, at, key = len(block) - 4 * (restarts + 1), 0, b""
    if stop < 0:
        raise ValueError("a block of no entries")
    while at < stop:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if at + own + length > stop or shared > len(key):
            raise ValueError("an entry lies beyond its block")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, bytes(block[at + own : at + own + length])
        at += own + length
