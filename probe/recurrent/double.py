"""A model in float64: what it makes of numbers without a type is float64 too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def in_float64(model: nn.Module) -> nn.Module:
    """Return a copy of a model in float64 and in evaluation mode.

    While it is called, torch's default type is float64: a loop often begins with `torch.zeros(batch, units)`, which
    would be float32 otherwise.

    Args:
        model: the model.
    """
    copied, before = copy.deepcopy(model).double().eval(), list[torch.dtype]()

    def begin(*_: Any) -> None:
        before.append(torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)

    def end(*_: Any) -> None:
        torch.set_default_dtype(before.pop())

    _ = copied.register_forward_pre_hook(begin, prepend=True)
    _ = copied.register_forward_hook(end, always_call=True)
    return copied


@contextmanager
def default_type_put_back() -> Iterator[None]:
    """Put torch's default type back, which an interrupt of a model in float64 leaves at float64."""
    before = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(before)
