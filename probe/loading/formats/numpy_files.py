"""numpy's files: an .npz archive, one .npy array, a folder of .npy arrays. Nothing pickled is opened."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from ...files import check_regular
from ..reading import MOST_VALUES, Budget, Contents, check_archive, collect, count, no_numbers, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give what numpy.save or numpy.savez wrote of arrays of numbers."
_ENDING, _MAGIC = ".npy", b"\x93NUMPY"
#: So many bytes a header may have; numpy itself refuses one of more than 10,000.
_MOST_HEADER = 20_000


def read_archive(path: Path, budget: Budget) -> Contents:
    """Return the arrays of an .npz file, by their names in it."""
    with reading(path, "an .npz archive", ADVICE), zipfile.ZipFile(path) as archive:
        check_archive(archive, budget)
        names = [name for name in archive.namelist() if name.endswith(_ENDING)]
        if len(set(names)) < len(names):
            raise ProbeError(f"{str(path)!r} holds two arrays of one name. The file is damaged.")
        other = tuple(name for name in archive.namelist() if not name.endswith(_ENDING))
        tensors, left_out = collect(
            budget, ((name.removesuffix(_ENDING), _array(archive.read(name), name, budget)) for name in names)
        )
    return Contents(tensors, "unknown", "npz archive", left_out=left_out | dict.fromkeys(other, ""))


def read_folder(path: Path, budget: Budget) -> Contents:
    """Return the arrays of the .npy files below a folder, by their paths in it without the ending, dotted."""
    with reading(path, "a folder of .npy files", ADVICE):
        tensors, left_out = collect(budget, _in_folder(path, budget))
    return Contents(tensors, "unknown", "folder of npy files", left_out=left_out)


def read_array(path: Path, budget: Budget) -> Contents:
    """Return the one array of an .npy file, named after the file; or several that follow each other, by number.

    Equinox's `tree_serialise_leaves` writes several, and what they are called is in no file.
    """
    with reading(path, "an .npy file", ADVICE):
        parts = _parts(_bytes(path, budget))
        named = [(path.stem if len(parts) == 1 else str(number), part) for number, part in enumerate(parts)]
        tensors, left_out = collect(budget, ((name, _array(part, name, budget)) for name, part in named))
    return Contents(tensors, "unknown", "npy file" if len(parts) == 1 else "npy arrays in a row", left_out=left_out)


def _parts(content: bytes) -> list[bytes]:
    """Return the bytes of each array of a file; of one only, unless its numbers end where another begins."""
    parts, start = [], 0
    while len(parts) < MOST_VALUES:
        stream = io.BytesIO(content[start : start + _MOST_HEADER])
        shape, _, dtype = _header(stream)
        end = start + stream.tell() + count(shape) * dtype.itemsize
        if dtype.hasobject or content[end : end + len(_MAGIC)] != _MAGIC:
            break
        parts.append(content[start:end])
        start = end
    return [*parts, content[start:]]


def _in_folder(path: Path, budget: Budget) -> Iterator[tuple[str, Any]]:
    for file in sorted(path.rglob(f"*{_ENDING}")):
        # A link could lead to any file of the machine.
        if file.is_symlink() or not file.resolve().is_relative_to(path.resolve()):
            raise ProbeError(f"{str(file)!r} is a link out of its folder. Copy the file itself there.")
        name = ".".join(file.relative_to(path).with_suffix("").parts)
        yield name, _array(_bytes(file, budget), name, budget)


def _bytes(file: Path, budget: Budget) -> bytes:
    check_regular(file)
    if file.stat().st_size > budget.memory:
        budget.take(file.name, file.stat().st_size)
    return file.read_bytes()


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype, which stand before an array's numbers."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of version {version} of the .npy format")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(stream)


def _array(content: bytes, name: str, budget: Budget) -> np.ndarray | str:
    """Return the array of an .npy file's bytes; of objects a text that says so.

    numpy.load makes room for the shape that a header claims before it looks for the numbers.
    """
    import numpy as np

    stream = io.BytesIO(content)
    shape, fortran, dtype = _header(stream)
    if dtype.hasobject:
        return no_numbers(dtype)
    data = content[stream.tell() :]
    if count(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name!r} has {len(data)} bytes for an array of shape {shape} of {dtype}")
    budget.take(name, len(data))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
