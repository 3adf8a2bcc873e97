"""Reads HDF5 files: every array by its path, with the attributes; links out of the file are not followed."""

from __future__ import annotations

import io
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ProbeError, require
from ..readers import DEEPEST, MOST_VALUES, Budget, count, no_numbers

#: How a heap of strings begins; the bytes of its header, of an object's header, of the smallest; the most objects.
_HEAP, _HEADER, _OBJECT, _LEAST, _MOST = b"GCOL\x01", 16, 16, 4096, 1_000_000
#: The attributes that say something here, and the most bytes of one.
READ = ("model_config", "keras_version", "layer_names", "weight_names")
MOST_TEXT = 50_000_000


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """What an HDF5 file holds.

    Attributes:
        arrays: numpy's arrays by path, such as `model_weights/lstm/kernel:0`; of what is no numbers a text that
            says what it is.
        attributes: those in `READ` of each group by its path, `""` for the file: text, or lists of text.
    """

    arrays: dict[str, Any]
    attributes: dict[str, dict[str, Any]]


def read(source: Path | bytes, budget: Budget) -> Hierarchy:
    """Return the arrays and attributes of an HDF5 file, or of its bytes.

    Raises:
        ProbeError: h5py is not installed, or an array lies outside the file or is too large.
        OSError, RuntimeError, KeyError, ValueError: the file is damaged; `reading` turns them into a ProbeError.
    """
    require(f"{str(budget.path)!r} is an HDF5 file: reading it", "keras", "h5py")
    import h5py

    _check_heaps(source)
    found = Hierarchy({}, {})
    with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
        for number, (name, item) in enumerate(_walk(file, "", 0, budget)):
            if number > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES} groups")
            if isinstance(item, h5py.Dataset):
                found.arrays[name] = _array(name, item, budget)
            else:
                found.attributes[name] = {key: _text(item.attrs[key]) for key in READ if _is_readable(item, key)}
    return found


def _check_heaps(source: Path | bytes) -> None:
    """Raise ValueError where an object of a heap of strings has no size: HDF5's library would read it forever."""
    if isinstance(source, bytes):
        _check_heaps_of(source)
    elif source.stat().st_size:
        with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_heaps_of(content)


def _check_heaps_of(content: bytes | mmap.mmap) -> None:
    start, seen = content.find(_HEAP), 0
    while start >= 0:
        size = int.from_bytes(content[start + 8 : start + _HEADER], "little")
        at, end = start + _HEADER, start + size
        # One that is smaller, or reaches beyond the file, the library refuses itself.
        while _LEAST <= size <= len(content) - start and at + _OBJECT <= end:
            number = int.from_bytes(content[at : at + 2], "little")
            length = int.from_bytes(content[at + 8 : at + _OBJECT], "little")
            step = _OBJECT + (length + 7) // 8 * 8 if number else length
            seen += 1
            if step == 0 or at + step > end or seen > _MOST:
                raise ValueError(f"an object of {length} bytes in a heap of {size}")
            at += step
        start = content.find(_HEAP, start + 1)


def _is_readable(group: Any, key: str) -> bool:
    """Return whether a group has an attribute, which is not larger than any configuration is."""
    import h5py

    if key not in group.attrs:
        return False
    attribute = h5py.h5a.open(group.id, key.encode())
    size = attribute.get_storage_size() if 0 not in attribute.shape else 0
    if size > MOST_TEXT or count(attribute.shape) > MOST_VALUES:
        raise ValueError(f"an attribute {key!r} of {size} bytes")
    return True


def _walk(group: Any, start: str, depth: int, budget: Budget) -> Iterator[tuple[str, Any]]:
    import h5py

    yield start, group
    if depth > DEEPEST:
        raise ValueError(f"groups more than {DEEPEST} deep")
    for key in group:
        name = f"{start}/{key}" if start else key
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ProbeError(
                f"{str(budget.path)!r} links {name!r} to another place, maybe to another file, which is not opened. "
                "Copy the array itself into the file."
            )
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _walk(item, name, depth + 1, budget)
        elif isinstance(item, h5py.Dataset):
            yield name, item


def _array(name: str, item: Any, budget: Budget) -> Any:
    import numpy as np

    if item.external or item.is_virtual:
        raise ProbeError(
            f"{str(budget.path)!r} keeps {name!r} in another file, which is not opened. Copy the array into the file."
        )
    if item.shape is None or item.dtype.kind not in "fiub":
        return "nothing" if item.shape is None else no_numbers(item.dtype)
    budget.take(name, count(item.shape) * item.dtype.itemsize)
    return np.asarray(item[()])


def _text(value: Any) -> Any:
    """Return an attribute as text or a list of text."""
    import numpy as np

    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (np.ndarray, list, tuple)):
        return [_text(part) for part in value][:MOST_VALUES]
    return str(value)


def parsed(text: Any, what: str) -> Any:
    """Return an attribute's or file's JSON.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deep") from error
