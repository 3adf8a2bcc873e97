"""The digest of values: of arrays, texts and numbers, and of functions by their code and all that it refers to."""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..subjects.functions import of_package

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
#: What counts of a class, beside what can be called.
_MEMBERS = (*_PLAIN, tuple, list, set, frozenset, dict, np.ndarray, Tensor, property, staticmethod, classmethod)


def digest(*values: Any) -> str:
    """Return the SHA-256 of values, the same in every process.

    A function counts by its code, its defaults, and the values of all names in it; one of an installed package by its
    name. A value that can be told in no such way, such as an open file, has another digest each time.
    """
    return _Digests().of(values)


def is_plain(value: Any) -> bool:
    """Return whether a value is made of numbers, texts and arrays: its digest is the same on every machine."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    return isinstance(value, (*_PLAIN, np.ndarray, Tensor)) or (
        isinstance(value, (tuple, list, set, frozenset)) and all(map(is_plain, value))
    )


class _Digests:
    """Digests of values, each told once."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[Any, str]] = {}

    def of(self, value: Any) -> str:
        if isinstance(value, _PLAIN):
            return _sha(type(value).__name__, value if isinstance(value, bytes) else repr(value))
        if id(value) not in self._met:
            # What is met again while it is told holds itself. The value is kept, or another could get its id.
            self._met[id(value)] = value, "itself"
            parts = next(parts for kind, parts in _PARTS if isinstance(value, kind))(value)
            self._met[id(value)] = value, _sha(type(value).__name__, *map(self.of, parts))
        return self._met[id(value)][1]


def _sha(*texts: str | bytes) -> str:
    sha = hashlib.sha256()
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        sha.update(b"%d:" % len(data) + data)
    return sha.hexdigest()


def _of_array(array: np.ndarray) -> Iterable[Any]:
    whole = array.tolist() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    return str(array.dtype), array.shape, whole


def _of_tensor(tensor: Tensor) -> Iterable[Any]:
    plain = tensor.detach().cpu()
    return str(tensor.dtype), (plain.double() if plain.is_floating_point() else plain).numpy()


def _of_network(network: nn.Module) -> Iterable[Any]:
    """Return weights, and of each module its class, and numbers and texts that the weights do not tell."""
    found: list[Any] = [network.state_dict()]
    for name, module in network.named_modules():
        told = {key: one for key, one in vars(module).items() if isinstance(one, _PLAIN) and not key.startswith("_")}
        found.append((name, type(module), told))
    return found


def _of_function(function: types.FunctionType) -> Iterable[Any]:
    """Return code, defaults, what is closed over, and the global values that the code names, also inside of it."""
    if _is_installed(function):
        return function.__module__, function.__qualname__
    closed, names, codes = [], set(), [function.__code__]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name without a value yet
            closed.append(cell.cell_contents)
    for code in codes:
        names |= {str(one.argval) for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    known = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    return function.__code__, function.__defaults__, function.__kwdefaults__, closed, known


def _of_class(given: type) -> Iterable[Any]:
    if _is_installed(given):
        return given.__module__, given.__qualname__
    members = {
        name: one
        for name, one in vars(given).items()
        if callable(one) or (isinstance(one, _MEMBERS) and not name.startswith("__"))
    }
    return given.__qualname__, given.__bases__, members


def _of_module(module: types.ModuleType) -> Iterable[Any]:
    file = Path(getattr(module, "__file__", None) or "")
    return module.__name__, file.read_bytes() if file.is_file() and not _is_installed(module) else b""


def _of_other(value: Any) -> Iterable[Any]:
    if callable(value) and hasattr(value, "__wrapped__"):
        return (getattr(value, "__wrapped__"),)  # noqa: B009 - of functools.lru_cache
    if hasattr(value, "__dict__") and (dataclasses.is_dataclass(value) or not _is_installed(type(value))):
        return type(value), vars(value)
    with suppress(Exception):
        return type(value), pickle.dumps(value, protocol=5)
    return (os.urandom(16),)


def _is_installed(value: Any) -> bool:
    """Return whether a function, class or module is of Python, of this library or of an installed package."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(name), "__file__", None)
    return name.partition(".")[0] in sys.stdlib_module_names or (file is not None and of_package(file))


#: What values of a type are made of; the first type that fits counts.
_PARTS: tuple[tuple[Any, Callable[[Any], Iterable[Any]]], ...] = (
    (np.ndarray, _of_array),
    (Tensor, _of_tensor),
    (nn.Module, _of_network),
    (Mapping, lambda value: value.items()),
    ((set, frozenset), lambda value: sorted(value, key=digest)),
    ((tuple, list), lambda value: value),
    (types.CodeType, lambda code: (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars)),
    (types.FunctionType, _of_function),
    (type, _of_class),
    (types.ModuleType, _of_module),
    (functools.partial, lambda value: (value.func, value.args, value.keywords)),
    ((types.MethodType, staticmethod, classmethod), lambda value: (value.__func__, getattr(value, "__self__", None))),
    (property, lambda value: (value.fget, value.fset)),
    (object, _of_other),
)
