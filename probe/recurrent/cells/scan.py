"""c at every step of an LSTM, from what each step forgets and writes: c' = f c + w."""

from __future__ import annotations

from math import isqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: From how many steps, and up to how many numbers a step, stretches of steps are computed beside each other.
_MANY_STEPS, _SMALL_STEP = 64, 4096


def scan(
    written: Float[Tensor, "time batch unit"],
    f: Float[Tensor, "time batch unit"],
    c: Float[Tensor, "batch unit"],
    *,
    bounded: bool,
) -> Float[Tensor, "batch unit"]:
    """Turn what each step writes into c at every step, in place, and return the last one; without autograd.

    Args:
        written: i g of each step, and c in the end.
        f: the forget gate.
        c: the cell state before the first step.
        bounded: whether f lies between 0 and 1, so that products of it stay finite.
    """
    if written.device.type != "cpu" or written.dtype not in (torch.float32, torch.float64):
        product = torch.empty_like(c)
        for t in range(len(f)):
            # Two operations, as in the kernel: addcmul would round once.
            c = written[t].add_(torch.mul(f[t], c, out=product))
        return c
    small = bounded and len(f) >= _MANY_STEPS and c.numel() <= _SMALL_STEP
    # In float64 committed measurements depend on the bits of one step after the other.
    in_stretches = small and written.dtype == torch.float32
    scanned = _scan_stretches if in_stretches else _scan_steps
    with np.errstate(all="ignore"):  # torch says nothing of infinite numbers either
        return torch.from_numpy(scanned(written.numpy(), f.numpy(), c.numpy()))


def _scan_steps(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Scan one step after the other; numpy takes a third of torch's time for a small step."""
    product = np.empty_like(written[0] if len(written) else c)  # in memory as a step is
    for forgotten, now in zip(f, written, strict=True):
        np.multiply(forgotten, c, out=product)
        c = np.add(now, product, out=now)
    return c


def _scan_stretches(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Scan all stretches of about sqrt(time) steps at once, each from zero, and then add what each began with."""
    length = isqrt(len(f))
    whole = len(f) // length * length
    local, kept = (array[:whole].reshape(-1, length, *array.shape[1:]) for array in (written, f))
    kept = kept.copy()
    product = np.empty_like(local[:, 0])
    for t in range(1, length):
        np.multiply(kept[:, t], local[:, t - 1], out=product)
        np.add(local[:, t], product, out=local[:, t])
        np.multiply(kept[:, t], kept[:, t - 1], out=kept[:, t])
    starts = np.empty_like(product)
    for start, last, left in zip(starts, local[:, -1], kept[:, -1], strict=True):
        start[:] = c
        c = last + left * c
    kept *= starts[:, None]
    local += kept
    written[:whole] = local.reshape(whole, *written.shape[1:])
    return _scan_steps(written[whole:], f[whole:], written[whole - 1])
