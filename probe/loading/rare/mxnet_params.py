"""Reads MXNet's `.params` files: arrays by name.

Reference: MXNet 1.9, src/ndarray/ndarray.cc, `NDArray::Save` and `NDArray::Load`: a list of arrays, each with a
number for its version, a kind of storage, its shape, a device and a dtype; then a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from ..readers import MOST_VALUES, Budget, Contents, collect, count, file_bytes, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give a file that net.save_parameters or mx.nd.save of MXNet wrote of a dict of arrays."
START = (0x112).to_bytes(8, "little")
#: Versions of an array: how many bytes a size of its shape has, and whether a kind of storage stands before it.
_VERSIONS = {0xF993FAC8: (8, False), 0xF993FAC9: (8, True), 0xF993FACA: (8, True)}
_DTYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8", "?")
_DENSE = 0
_MOST_AXES = 32


@dataclass
class _Bytes:
    content: memoryview
    at: int = 0

    def take(self, size: int) -> memoryview:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError("it ends too early")
        self.at += size
        return self.content[self.at - size : self.at]

    def integer(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a file of MXNet by their names, without the `arg:` or `aux:` before them.

    Raises:
        ProbeError: the file is damaged, or its arrays have no names or are sparse.
    """
    content = file_bytes(path, budget)
    with reading(path, "a file of MXNet", ADVICE):
        data = _Bytes(memoryview(content))
        if data.take(8) != START or data.integer(8):
            raise ValueError("it begins as no such file does")
        number = data.integer(8)
        if number > MOST_VALUES:
            raise ValueError(f"{number} arrays")
        arrays = [_array(data, budget) for _ in range(number)]
        named = data.integer(8)
        if named != number:
            raise ValueError(f"{number} arrays and {named} names; arrays without names say nothing of what they are")
        names = [bytes(data.take(data.integer(8))).decode("utf-8") for _ in range(named)]
        if data.at != len(content):
            raise ValueError(f"{len(content) - data.at} bytes behind its end")
        tensors, left_out = collect(budget, _without_kind(names, arrays))
    return Contents(tensors, "MXNet", "MXNet params", left_out=left_out)


def _without_kind(names: list[str], arrays: list[Any]) -> Iterator[tuple[str, Any]]:
    for name, array in zip(names, arrays, strict=True):
        yield name.removeprefix("arg:").removeprefix("aux:"), array


def _array(data: _Bytes, budget: Budget) -> np.ndarray | str:
    import numpy as np

    version = data.integer(4)
    if version not in _VERSIONS:
        raise ValueError(f"an array of the version {version:#x}")
    wide, stored = _VERSIONS[version]
    if stored and data.integer(4, signed=True) not in (_DENSE, -1):
        raise ProbeError(
            f"{str(budget.path)!r} holds a sparse array of MXNet. Save it dense: array.tostype('default')."
        )
    axes = data.integer(4)
    if axes > _MOST_AXES:
        raise ValueError(f"an array of {axes} axes")
    shape = [data.integer(wide, signed=True) for _ in range(axes)]
    if not axes:
        return "an array without axes"
    _ = data.take(8)
    kind = data.integer(4)
    if kind >= len(_DTYPES):
        raise ValueError(f"an array of the dtype number {kind}")
    dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
    size = count(shape) * dtype.itemsize
    budget.take("an array", size)
    return np.frombuffer(data.take(size), dtype).reshape(shape)
