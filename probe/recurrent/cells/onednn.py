"""oneDNN's product of matrices, which takes AVX-512 where it is; MKL's, torch's own, does so on Intel's processors.

It gains on large layers, and on processors whose AVX-512 has its full width, such as AMD's Zen 5, on smaller ones too
(`python -m benchmarks.kernels --only onednn`).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

#: From how many weights on it is taken: the least that it was measured on, 128 units.
_LEAST = 1 << 16


def suits(x: Tensor, weights: int) -> bool:
    """Return whether a product is oneDNN's: of many weights in float32 on the CPU, where torch still has it.

    For each number of rows, inputs and outputs it keeps 0.6 MB until the process ends, of the latest 1,024.
    """
    if weights < _LEAST or x.dtype != torch.float32 or not x.is_cpu or not torch.backends.mkldnn.enabled:
        return False
    return _has_more() and _works()


def affine(
    x: Float[Tensor, "*lead input"], weight: Float[Tensor, "output input"], bias: Float[Tensor, " output"]
) -> Float[Tensor, "*lead output"]:
    """Return weight x + bias."""
    return _linear()(x, weight, bias, "none", [], "")


@cache
def _has_more() -> bool:
    """Return whether oneDNN may take instructions that MKL may not."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not limit.startswith(("SSE", "AVX2"))


def _linear() -> Any:
    return torch.ops.mkldnn._linear_pointwise  # private, but compiled models are made of it


@cache
def _works() -> bool:
    """Return whether the operation is there and does what it did."""
    x, weight, bias = torch.eye(3, 2), torch.arange(8.0).view(4, 2), torch.arange(4.0)
    try:
        return torch.equal(affine(x, weight, bias), torch.addmm(bias, x, weight.T))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
