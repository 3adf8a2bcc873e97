"""HDF5 files: every array by its path, with the attributes of the groups; nothing outside the file is followed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ..reading import DEEPEST, MOST_VALUES, Budget, count

INSTALL = "pip install 'rnn-probe[keras]'"


#: The attributes that say something here, and the most bytes of one.
READ = ("model_config", "keras_version", "layer_names", "weight_names")
MOST_TEXT = 50_000_000


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """What an HDF5 file holds.

    Attributes:
        arrays: numpy's arrays by path, such as `model_weights/lstm/kernel:0`; of strings, too.
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
    try:
        import h5py
    except ImportError as error:
        raise ProbeError(
            f"{str(budget.path)!r} is an HDF5 file, which h5py reads, and h5py is not installed: {INSTALL}."
        ) from error
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
        return np.empty(0, dtype=object)
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
