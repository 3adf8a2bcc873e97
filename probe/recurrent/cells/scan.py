"""c at every step of an LSTM, from what each step forgets and writes: c' = f c + w."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: Up to how many numbers in all are copied to where they are scanned faster.
_FEW_NUMBERS = 50_000


def scan(
    written: Float[Tensor, "time batch unit"],
    f: Float[Tensor, "time batch unit"],
    c: Float[Tensor, "batch unit"],
) -> Float[Tensor, "batch unit"]:
    """Turn what each step writes into c at every step, in place, and return the last one; without autograd.

    Args:
        written: i g of each step, and c in the end.
        f: the forget gate.
        c: the cell state before the first step.
    """
    if written.device.type != "cpu" or written.dtype not in (torch.float32, torch.float64):
        product = torch.empty_like(c)
        for t in range(len(f)):
            # Two operations, as in the kernel: addcmul would round once.
            c = written[t].add_(torch.mul(f[t], c, out=product))
        return c
    with np.errstate(all="ignore"):  # torch says nothing of infinite numbers either
        return torch.from_numpy(scan_arrays(written.numpy(), f.numpy(), c.numpy()))


def scan_arrays(written: np.ndarray, f: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Do the same with arrays; see `scan`."""
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
