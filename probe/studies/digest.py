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
from collections.abc import Iterable, Mapping
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
    """Digests of values, each taken once."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[Any, str]] = {}

    def of(self, value: Any) -> str:
        if isinstance(value, _PLAIN):
            return _sha(type(value).__name__, value if isinstance(value, bytes) else repr(value))
        if id(value) not in self._met:
            # What is met again meanwhile holds itself. The value is kept, or another could get its id.
            self._met[id(value)] = value, "itself"
            self._met[id(value)] = value, _sha(type(value).__name__, *map(self.of, _parts(value)))
        return self._met[id(value)][1]


def _sha(*texts: str | bytes) -> str:
    sha = hashlib.sha256()
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        sha.update(b"%d:" % len(data) + data)
    return sha.hexdigest()


def _parts(value: Any) -> Iterable[Any]:  # noqa: PLR0911, PLR0912 - a case a kind
    """Return what a value is made of."""
    match value:
        case np.ndarray():
            whole = value.tolist() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
            return str(value.dtype), value.shape, whole
        case Tensor():
            plain = value.detach().cpu()
            return str(value.dtype), (plain.double() if plain.is_floating_point() else plain).numpy()
        case nn.Module():
            return [value.state_dict(), *((name, type(one), _numbers(one)) for name, one in value.named_modules())]
        case Mapping():
            return value.items()
        case set() | frozenset():
            return sorted(value, key=digest)
        case tuple() | list():
            return value
        case types.CodeType():
            return value.co_code, value.co_consts, value.co_names, value.co_varnames, value.co_freevars
        case functools.partial():
            return value.func, value.args, value.keywords
        case types.MethodType() | staticmethod() | classmethod():
            return value.__func__, getattr(value, "__self__", None)
        case property():
            return value.fget, value.fset
        case types.FunctionType() | type() | types.ModuleType() if _is_installed(value):
            return getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__)
        case types.FunctionType():
            return _of_function(value)
        case type():
            members = {
                name: one
                for name, one in vars(value).items()
                if callable(one) or (isinstance(one, _MEMBERS) and not name.startswith("__"))
            }
            return value.__qualname__, value.__bases__, members
        case types.ModuleType():
            file = Path(value.__file__ or "")
            return value.__name__, file.read_bytes() if file.is_file() else b""
    return _of_other(value)


def _numbers(module: nn.Module) -> dict[str, Any]:
    """Return the numbers and texts of a module that its weights do not tell."""
    return {key: one for key, one in vars(module).items() if not key.startswith("_") and is_plain(one)}


def _of_function(function: types.FunctionType) -> Iterable[Any]:
    """Return code, defaults, what is closed over, and the global values that the code names, also inside of it."""
    closed, names, codes = [], set(), [function.__code__]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name without a value yet
            closed.append(cell.cell_contents)
    for code in codes:
        names |= {str(one.argval) for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    known = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    return function.__code__, function.__defaults__, function.__kwdefaults__, closed, known


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
