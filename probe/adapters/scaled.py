"""States that a layer keeps divided by exp(m), as the memory that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ProbeError

#: Below this m a memory is nothing in float32; so small a factor would divide by zero.
_LEAST = -80.0


def memory(kept: Tensor, m: Tensor) -> Tensor:
    """Return kept exp(m): what a layer holds, whatever it is divided by.

    Raises:
        ProbeError: it is too large for the type.
    """
    return kept * _factor(kept, m)


def kept(memory: Tensor, m: Tensor) -> Tensor:
    """Return memory exp(-m): what a layer keeps, with the very factor of `memory`, so that no error adds up."""
    return memory / _factor(memory, m)


def put_back(own: Tensor, changed: Tensor, m: Tensor) -> Tensor:
    """Return what a layer keeps of a memory, the layer's own numbers bit for bit where the memory is its own.

    Args:
        own: what the layer kept, divided by exp(m).
        changed: the memory that it is to keep now.
        m: what the layer took the logarithm of its factor for.
    """
    value = kept(changed, m)
    # A difference of two close numbers is exact, and so is the sum: a gradient runs through `changed` all the same.
    return value + torch.where(changed == memory(own, m), own - value, 0).detach()


def _factor(like: Tensor, m: Tensor) -> Tensor:
    factor = m.to(like.dtype).clamp(min=_LEAST).exp()
    if bool(factor.isinf().any()):
        raise ProbeError(
            f"A layer divides its memory by exp(m), and m is {float(m.max()):.3g}: {like.dtype} has no such number. "
            "Give the model and its input float64, model.double(), which holds exp(709)."
        )
    return factor
