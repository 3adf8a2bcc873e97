"""Recorded numbers as numpy has them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_array(value: Tensor) -> np.ndarray:
    """Return a tensor as numpy; bfloat16, which numpy lacks, becomes float32."""
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
