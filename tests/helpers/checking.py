"""Checks what functions are given and return against their annotations, while tests run: beartype, made once.

`--jaxtyping-packages` puts a check around each function of the library, also around one inside another whenever the
outer one is called. What is put around it follows from its annotations alone, so it is made the first time only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype

_MADE: dict[tuple[Any, ...], Callable[..., Any]] = {}


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function's check; of the same function inside another one, that of the first time.

    Args:
        function: has the annotations of what is checked and does nothing else, as jaxtyping makes it.
    """
    code = getattr(function, "__code__", None)
    if code is None or "<locals>" not in function.__qualname__:
        return beartype(function)
    hints = tuple(function.__annotations__.items())
    key = (function.__module__, function.__qualname__, code.co_code, code.co_varnames, code.co_flags, hints)
    try:
        found = _MADE.get(key)
    except TypeError:  # an annotation that is no key
        return beartype(function)
    if found is None:
        found = _MADE[key] = beartype(function)
    return found
