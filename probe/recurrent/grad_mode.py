"""Leaves torch's grad mode as it was found, also where an interrupt falls into torch's own `no_grad`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def grad_mode_kept(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function that puts the grad mode back where it raises.

    `no_grad` is written in Python: an interrupt inside its `__enter__` or `__exit__` leaves autograd off.
    """

    @wraps(function)
    def kept(*given: _P.args, **keywords: _P.kwargs) -> _R:
        found = torch.is_grad_enabled()
        try:
            return function(*given, **keywords)
        except BaseException:
            _ = torch.set_grad_enabled(found)
            raise

    return kept
