"""Fresh memory for large results."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: From how many bytes on numpy asks the system for huge pages.
_LARGE = 1 << 22


def fresh(like: Tensor, *shape: int) -> Tensor:
    """Return an uninitialised tensor of the type and device of another.

    Large ones on the CPU come from numpy, which asks Linux for huge pages: the first write to a page of 4 kB costs
    more than the numbers that are written there (`torch.empty` and `fill_` of 52 MB take four times as long).
    """
    large = math.prod(shape) * like.element_size() >= _LARGE
    if like.device.type != "cpu" or not large or like.dtype not in (torch.float32, torch.float64):
        return like.new_empty(shape)
    import numpy as np

    return torch.from_numpy(np.empty(shape, np.float32 if like.dtype == torch.float32 else np.float64))


def copied(value: Tensor) -> Tensor:
    """Return a copy of a tensor without gradients, in fresh memory and in its own order of axes."""
    if value.requires_grad or not value.is_contiguous():
        return value.clone()
    return fresh(value, *value.shape).copy_(value)
