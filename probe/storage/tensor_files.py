"""Reads and writes safetensors files, without a second copy in memory.

Reference: https://github.com/huggingface/safetensors: eight bytes for the length of a header of JSON, the header, and
the tensors' bytes without a gap. What this library says about a file lies in the header's `__metadata__`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .digests import KEY, canonical, of_bytes
from .files import check_regular

#: Who says something about a file in its metadata.
OURS = "rnn-probe"
_METADATA = "__metadata__"
#: The most bytes of a header, as other readers have it.
_MOST_HEADER = 100_000_000
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, eq=False)
class TensorFile:
    """What is in a safetensors file.

    Attributes:
        tensors: by name, in the order of their names.
        about: what this library says about the file, or None of a file that something else wrote.
        other: of what torch has no numbers for, the format's name of its kind, by name.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any] | None
    other: dict[str, str]


def as_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return a safetensors file of ours."""
    from safetensors.torch import save

    # A copy each: safetensors takes no tensors that share memory.
    whole = {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}
    content = memoryview(save(whole))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:start])) | {_METADATA: {"format": "pt", OURS: json.dumps(about)}}
    header[_METADATA][KEY] = of_bytes(_told(header), content[start:])
    # In one order, which the writer's own metadata do not have; padded, so that numbers lie at whole addresses.
    written = canonical(header)
    written += b" " * (-len(written) % 8)
    return b"".join((len(written).to_bytes(8, "little"), written, content[start:]))


def read(path: Path, take: Callable[[str, int], None] = lambda *_: None) -> TensorFile:
    """Return what is in a safetensors file, each tensor in memory of its own."""
    check_regular(path)
    with path.open("rb") as file:
        header, room = _header(file, path.stat().st_size, take)
        about = _about(header)
        digest = None if about is None else hashlib.sha256(_told(header))
        tensors: dict[str, Tensor] = {}
        other: dict[str, str] = {}
        for name, kind, shape, size in _entries(header, room):
            take(name, size)
            raw = torch.empty(size, dtype=torch.uint8)
            if file.readinto(raw.numpy().data) != size:
                raise ValueError(f"it ends within {name!r}")
            if digest is not None:
                digest.update(raw.numpy().data)
            if kind in _DTYPES:
                tensors[name] = (raw if size else raw.new_empty(0)).view(_DTYPES[kind]).reshape(shape)
            else:
                other[name] = kind
    if digest is not None and digest.hexdigest() != header[_METADATA].get(KEY):
        raise ValueError("it was damaged or changed after it was written: its digest differs")
    return TensorFile(dict(sorted(tensors.items())), about, other)


def about_of(path: Path) -> dict[str, Any] | None:
    """Return what this library says about a safetensors file, or None; its tensors are not looked at."""
    check_regular(path)
    with path.open("rb") as file:
        return _about(_header(file, path.stat().st_size, lambda *_: None)[0])


def _header(file: BinaryIO, size: int, take: Callable[[str, int], None]) -> tuple[dict[str, Any], int]:
    """Return the header of a file, and how many bytes follow it."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_MOST_HEADER, size - 8):
        raise ValueError(f"its header would have {length} bytes, and the file has {size}")
    take("its header", length)
    return _parsed(file.read(length)), size - 8 - length


def _about(header: Mapping[str, Any]) -> dict[str, Any] | None:
    told = header.get(_METADATA)
    if not isinstance(told, dict) or not isinstance(told.get(OURS), str):
        return None
    return _parsed(told[OURS])


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("its header is nested too deep") from error
    if not isinstance(header, dict):
        raise ValueError(f"its header is a {type(header).__name__}")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header says one name twice")
    return found


def _told(header: Mapping[str, Any]) -> bytes:
    """Return a header without the digest that lies in it."""
    told = {name: value for name, value in header[_METADATA].items() if name != KEY}
    return canonical({**header, _METADATA: told})


def _entries(header: Mapping[str, Any], room: int) -> list[tuple[str, str, list[int], int]]:
    """Return name, kind, shape and bytes of each tensor, in the order in which they lie in the file."""
    found = sorted(
        (_entry(name, told) for name, told in header.items() if name != _METADATA), key=lambda one: one[:2]
    )
    at = 0
    for start, end, name, _, _ in found:
        if start != at or end < start:
            raise ValueError(f"{name[:60]!r} begins at {start}, and what lies before it ends at {at}")
        at = end
    if at != room:
        raise ValueError(f"its tensors take {at} bytes, and it has room for {room}")
    return [(name, kind, shape, end - start) for start, end, name, kind, shape in found]


def _entry(name: str, told: Any) -> tuple[int, int, str, str, list[int]]:
    """Return where a tensor begins and ends, its name, kind and shape."""
    told = told if isinstance(told, dict) else {}
    kind, shape, places = str(told.get("dtype")), _sizes(told.get("shape")), _sizes(told.get("data_offsets"))
    if shape is None or places is None or len(places) != 2:
        raise ValueError(f"its header describes {name[:60]!r} as {str(told)[:80]}")
    size = places[1] - places[0]
    if kind in _DTYPES and size != math.prod(shape) * _DTYPES[kind].itemsize:
        raise ValueError(f"{name[:60]!r} has {size} bytes for the shape {shape} of {kind}")
    return places[0], places[1], name, kind, shape


def _sizes(value: Any) -> list[int] | None:
    return value if isinstance(value, list) and all(type(one) is int and one >= 0 for one in value) else None
