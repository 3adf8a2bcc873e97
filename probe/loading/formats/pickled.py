"""Pickles whose contents are arrays: their opcodes are followed, and no function of a file is ever called.

A pickle is a program that names functions and calls them. Here the few names that numpy's arrays need stand for
functions of this module, which note what they are given; every other name ends the reading.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from ..reading import Budget, Contents, collect, count, file_bytes, flatten, reading

if TYPE_CHECKING:
    import numpy as np

ADVICE = "Give a pickle of numpy arrays in dicts and lists, or save them with numpy.savez."
_KINDS = "fiub"


class RefusedError(Exception):
    """Raised for a name that a pickle asks for and does not get."""


class DType:
    """What a pickle says of a dtype: its code, such as `f4`, and its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else str(code)
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("latin1") if isinstance(order, bytes) else str(order)

    def get(self) -> np.dtype[Any]:
        """Return numpy's dtype.

        Raises:
            ValueError: it is none of numbers.
        """
        import numpy as np

        if self.order not in "<>=|" or self.code[:1] not in _KINDS or not self.code[1:].isdigit():
            raise ValueError(f"an array of {self.code[:20]!r}, which are no numbers")
        return np.dtype((self.order if self.order in "<>" else "=") + self.code)


class Array:
    """What a pickle says of an array: shape, dtype, order, bytes."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = tuple(state)

    def get(self, budget: Budget, name: str) -> np.ndarray:
        """Return numpy's array.

        Raises:
            ValueError: the parts do not make one of numbers.
        """
        import numpy as np

        _, shape, dtype, fortran, raw = self.state
        kind, data = dtype.get(), raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
        if count(shape) * kind.itemsize != len(data):
            raise ValueError(f"{name!r} has {len(data)} bytes for an array of shape {shape} of {kind}")
        budget.take(name, len(data))
        return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    made = Array()
    made.state = (1, shape, dtype, order == "F", data)
    return made


def _scalar(dtype: Any, data: Any) -> Array:
    return _from_buffer(data, dtype, ())


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode(encoding)


_CORES = ("numpy.core", "numpy._core")
NUMPY: Mapping[str, Callable[..., Any]] = {
    **{f"{core}.multiarray._reconstruct": lambda *_: Array() for core in _CORES},
    **{f"{core}.multiarray.scalar": _scalar for core in _CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _CORES},
    "numpy.ndarray": Array,
    "numpy.dtype": DType,
    "_codecs.encode": _encoded,
    "collections.OrderedDict": OrderedDict,
}


class Reader(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Python's own unpickler in Python, with a table in the place of imports.

    Not the one in C, which makes room for as many memory slots as a damaged opcode names.
    """

    def __init__(self, content: bytes, names: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name.

        Raises:
            RefusedError: nothing does.
        """
        if f"{module}.{name}" not in self._names:
            raise RefusedError(f"{module}.{name}")
        return self._names[f"{module}.{name}"]


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a pickle, by the keys and positions under which they lie."""
    content = file_bytes(path, budget)
    with reading(path, "a pickle of arrays", ADVICE):
        try:
            value = Reader(content, NUMPY).load()
        except RefusedError as refused:
            raise ProbeError(
                f"{str(path)!r} is a pickle that asks for {str(refused)!r}, which is not opened because opening it "
                f"can run any code. {ADVICE}"
            ) from None
        if isinstance(value, Array):
            value = {path.stem: value}
        arrays, other = flatten(value, Array)
        tensors, left_out = collect(budget, ((name, array.get(budget, name)) for name, array in arrays.items()))
    return Contents(tensors, "unknown", "pickle of arrays", left_out=(*left_out, *other))
