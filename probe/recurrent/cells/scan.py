"""c at every step of an LSTM, from what each step forgets and writes: c' = f c + w."""

from __future__ import annotations

from math import isqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: From how many steps, and up to how many numbers a step, stretches of steps are computed beside each other.
_MANY_STEPS, _SMALL_STEP = 64, 4096
#: Up to how many numbers in all are copied to where they are scanned faster.
_FEW_NUMBERS = 50_000


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
    with np.errstate(all="ignore"):  # torch says nothing of infinite numbers either
        return torch.from_numpy(scan_arrays(written.numpy(), f.numpy(), c.numpy(), bounded=bounded))


def scan_arrays(written: np.ndarray, f: np.ndarray, c: np.ndarray, *, bounded: bool = True) -> np.ndarray:
    """Do the same with arrays; see `scan`."""
    small = bounded and len(f) >= _MANY_STEPS and c.size <= _SMALL_STEP
    # In float64 committed measurements depend on the bits of one step after the other.
    if small and written.dtype == np.float32:
        return _scan_stretches(written, f, c)
    if written.size > _FEW_NUMBERS:
        return _scan_steps(written, f, c)
    own = written.copy()  # where a step lies in one piece, numpy takes half the time for it
    c = _scan_steps(own, f.copy(), c)
    written[:] = own
    return c


def _scan_steps(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Scan one step after the other; numpy takes a third of torch's time for a small step."""
    product = np.empty_like(written[0] if len(written) else c)  # in memory as a step is
    for forgotten, now in zip(f, written, strict=True):
        c = np.add(now, np.multiply(forgotten, c, product), now)
    return c


def _scan_stretches(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Scan all stretches of about sqrt(time) steps at once, each from zero, and then add what each began with."""
    length = isqrt(len(f))
    whole = len(f) // length * length
    own, gates = (array[:whole].reshape(-1, length, *array.shape[1:]).swapaxes(0, 1) for array in (written, f))
    # The first steps of all stretches lie beside each other in memory, then the second ones.
    local, kept = own.copy(), gates.copy()
    product = np.empty_like(local[0])
    for before, now, left_before, left in zip(local, local[1:], kept, kept[1:], strict=False):
        np.add(now, np.multiply(left, before, product), now)
        np.multiply(left, left_before, left)
    ends = local[-1].copy()
    _scan_steps(ends, kept[-1], c)
    kept[:, 0] *= c
    kept[:, 1:] *= ends[:-1]
    np.add(local, kept, own)
    return _scan_steps(written[whole:], f[whole:], written[whole - 1])
