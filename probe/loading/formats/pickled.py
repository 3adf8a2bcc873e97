"""Reads pickles by following their opcodes; it never calls a function of the file.

A pickle is a program that names functions and calls them. Here the few names that arrays of numpy and JAX need stand
for functions of this module, which note their arguments. Any other name ends the reading.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ProbeError
from ..readers import Budget, Contents, collect, count, file_bytes, flatten, reading

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
        if not isinstance(state, tuple):
            raise ValueError(f"an array whose state is a {type(state).__name__}")
        self.state = state

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


def _from_jax(_: Any, __: Any, state: Any, *___: object) -> Array:
    made = Array()
    made.__setstate__(state)
    return made


def same(value: Any) -> Any:
    """Return what is given: some calls of a pickle only wrap a value."""
    return value


class Encoded:
    """Marks `_codecs.encode`, by which Python 3 writes bytes for Python 2."""


class Ordered:
    """Marks `collections.OrderedDict`."""


_CORES = ("numpy.core", "numpy._core")
NUMPY: Mapping[str, Callable[..., Any]] = {
    **{f"{core}.multiarray._reconstruct": lambda *_: Array() for core in _CORES},
    **{f"{core}.multiarray.scalar": lambda dtype, data: _from_buffer(data, dtype, ()) for core in _CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _CORES},
    "numpy.ndarray": Array,
    "numpy.dtype": DType,
    "_codecs.encode": Encoded,
    "collections.OrderedDict": Ordered,
}
#: What JAX and Haiku write around numpy's arrays.
_JAX: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(
        (f"{part}._reconstruct_array" for part in ("jax._src.array", "jaxlib.xla_extension", "jax.array")), _from_jax
    ),
    **{f"haiku._src.data_structures.{name}": same for name in ("FlatMapping", "FlatMap")},
    "builtins.dict": same,
}


class Reader(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Python's own unpickler in Python, with a table in the place of imports.

    Not the one in C, which makes room for as many memory slots as a damaged opcode names. What is called, made or
    given a state is what stands in the table, and what came of it; copies of what a pickle holds once are counted.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # pyright: ignore[reportAttributeAccessIssue]
    stack: list[Any]
    append: Callable[[Any], None]

    def __init__(self, content: bytes, names: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._names = names
        self._room = len(content) + 1000
        self._handed: dict[int, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name.

        Raises:
            RefusedError: nothing does.
        """
        if f"{module}.{name}" not in self._names:
            raise RefusedError(f"{module}.{name}")
        found = self._names[f"{module}.{name}"]
        self._handed[id(found)] = found
        return found

    def called(self, function: Any, arguments: Any) -> Any:
        """Return what one of the table's functions makes of its arguments."""
        if id(function) not in self._handed or not isinstance(arguments, tuple):
            raise ValueError(f"a call of a {type(function).__name__}")
        if function is Encoded:
            return self._encoded(*arguments)
        if function is Ordered:
            return self._ordered(*arguments)
        return function(*arguments)

    def made(self, class_: Any, arguments: Any) -> Any:
        """Return a new object of one of the table's classes."""
        if id(class_) not in self._handed or not isinstance(class_, type) or arguments:
            raise ValueError(f"an object of a {type(class_).__name__}")
        return OrderedDict() if class_ is Ordered else class_.__new__(class_)  # pyright: ignore[reportCallIssue]

    def _copied(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ValueError("one value is copied many times")

    def _encoded(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding != "latin1" or not isinstance(text, str):
            raise ValueError(f"bytes in the encoding {str(encoding)[:20]!r}")
        self._copied(len(text))
        return text.encode(encoding)

    def _ordered(self, pairs: Any = ()) -> OrderedDict[Any, Any]:
        self._copied(len(pairs))
        return OrderedDict(pairs)

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.called(self.stack[-1], arguments)

    def _load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], arguments)

    def _load_newobj_ex(self) -> None:
        named, arguments = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], arguments or named)

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self.called(klass, tuple(args)) if args else self.made(klass, ()))

    def _load_build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        # Not by its attributes: a function of the table would be another one for the next file. What an OrderedDict
        # has besides its items is torch's `_metadata`.
        if not isinstance(thing, OrderedDict):
            thing.__setstate__(state)

    dispatch[pickle.REDUCE[0]] = _load_reduce
    dispatch[pickle.NEWOBJ[0]] = _load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = _load_newobj_ex
    dispatch[pickle.BUILD[0]] = _load_build


def read(path: Path, budget: Budget) -> Contents:
    """Return the arrays of a pickle, by the keys and positions under which they lie."""
    content = file_bytes(path, budget)
    with reading(path, "a pickle of arrays", ADVICE):
        try:
            value = Reader(content, {**NUMPY, **_JAX}).load()
        except RefusedError as refused:
            raise ProbeError(
                f"{str(path)!r} is a pickle that asks for {str(refused)!r}, which is not opened because opening it "
                f"can run any code. {ADVICE}"
            ) from None
        arrays, other = flatten({path.stem: value} if isinstance(value, Array) else value, Array)
        tensors, left_out = collect(budget, ((name, array.get(budget, name)) for name, array in arrays.items()))
    return Contents(tensors, "unknown", "pickle of arrays", left_out=left_out | other)
