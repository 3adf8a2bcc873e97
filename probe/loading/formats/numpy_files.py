"""Reads numpy's files: an .npz archive, one .npy array, a folder of .npy arrays; pickles inside are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from ...storage.files import check_regular
from ..readers import Budget, Contents, check_archive, collect, count, no_numbers, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give what numpy.save or numpy.savez wrote of arrays of numbers."
_ENDING = ".npy"
#: So many bytes are read at a time.
_PIECE = 1 << 20


def read_archive(path: Path, budget: Budget) -> Contents:
    """Return the arrays of an .npz file, by their names in it."""
    with reading(path, "an .npz archive", ADVICE), zipfile.ZipFile(path) as archive:
        check_archive(archive, budget)
        names = [name for name in archive.namelist() if name.endswith(_ENDING)]
        if len(set(names)) < len(names):
            raise ProbeError(f"{str(path)!r} holds two arrays of one name. The file is damaged.")
        other = tuple(name for name in archive.namelist() if not name.endswith(_ENDING))
        tensors, left_out = collect(budget, _in_archive(archive, names, budget))
    return Contents(tensors, "unknown", "npz archive", left_out=left_out | dict.fromkeys(other, ""))


def read_folder(path: Path, budget: Budget) -> Contents:
    """Return the arrays of the .npy files below a folder, by their paths in it without the ending, dotted."""
    with reading(path, "a folder of .npy files", ADVICE):
        tensors, left_out = collect(budget, _in_folder(path, budget))
    return Contents(tensors, "unknown", "folder of npy files", left_out=left_out)


def read_array(path: Path, budget: Budget) -> Contents:
    """Return the one array of an .npy file, named after the file."""
    with reading(path, "an .npy file", ADVICE), path.open("rb") as file:
        tensors, left_out = collect(budget, [(path.stem, _array(file, path.stat().st_size, path.stem, budget))])
    return Contents(tensors, "unknown", "npy file", left_out=left_out)


def _in_archive(archive: zipfile.ZipFile, names: Iterable[str], budget: Budget) -> Iterator[tuple[str, Any]]:
    for name in names:
        with archive.open(name) as stream:
            yield name.removesuffix(_ENDING), _array(stream, archive.getinfo(name).file_size, name, budget)


def _in_folder(path: Path, budget: Budget) -> Iterator[tuple[str, Any]]:
    for file in sorted(path.rglob(f"*{_ENDING}")):
        # A link could lead to any file of the machine.
        if file.is_symlink() or not file.resolve().is_relative_to(path.resolve()):
            raise ProbeError(f"{str(file)!r} is a link out of its folder. Copy the file itself there.")
        check_regular(file)
        size = file.stat().st_size
        budget.stored += size
        name = ".".join(file.relative_to(path).with_suffix("").parts)
        with file.open("rb") as stream:
            yield name, _array(stream, size, name, budget)


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype, which stand before an array's numbers."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of version {version} of the .npy format")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(stream)


def _array(stream: Any, size: int, name: str, budget: Budget) -> np.ndarray | str:
    """Return an array, read straight into its own memory; of objects a text that says so."""
    import numpy as np

    start = stream.tell()
    shape, fortran, dtype = _header(stream)
    if dtype.hasobject:
        return no_numbers(dtype)
    left, wanted = size - (stream.tell() - start), count(shape) * dtype.itemsize
    if left != wanted:
        raise ValueError(f"{name!r} has {left} bytes for an array of shape {shape} of {dtype}")
    budget.take(name, wanted)
    array = np.empty(shape, dtype, order="F" if fortran else "C")
    view, at = array.reshape(-1, order="A").view(np.uint8).data if wanted else memoryview(b""), 0
    while at < wanted:
        read = stream.readinto(view[at : at + _PIECE])
        if not read:
            raise ValueError(f"{name!r} ends after {at} of {wanted} bytes")
        at += read
    return array
