"""Planted networks that count in cells, with a chosen drift, and with the sum in a chosen place."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import ProbeError

from ..counter import Counter
from .building import CANDIDATE, SEED, Plan, counts

#: What one count adds to a cell: a tenth where one cell holds it; a fiftieth where several do, and tanh is a line.
STEP, SMALL = 0.1, 0.02


def drift_counter(drift: float, *, distractors: int = 11, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter whose cell 0 holds 0.1 (n1 - d t) after t bits: right at ten bits, drifting at other lengths.

    Unit 0 holds: its gates are open whatever comes. A one adds 0.1 (1 - d), a zero takes 0.1 d away, so the answer at
    length L is n1 + d (10 - L). The other units are random, live among themselves, and are never read.

    Args:
        drift: d, 0 (it counts ones) to 1 (it counts zeros, backwards).
        distractors: units beside the counting one, 0 or more.
        dtype: of the weights.

    Raises:
        ProbeError: the drift is out of range, or the number of distractors is negative.
    """
    if not 0 <= drift <= 1:
        raise ProbeError(f"A planted drift of {drift} was asked for; it must be from 0 (ones) to 1 (zeros).")
    plan = Plan(1 + distractors, range(1, 1 + distractors))
    plan.hold(0)
    plan.write(0, one=STEP * (1 - drift), zero=0.0 - STEP * drift)
    plan.read(plan.one_hot(0), torch.tanh(STEP * (counts() - 10 * drift)))  # o = 1, so h_0 = tanh(c_0)
    return plan.built(dtype)


def ones_counter(*, distractors: int = 11, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter that adds 0.1 to cell 0 for each one it reads, and nothing for a zero: drift 0."""
    return drift_counter(0.0, distractors=distractors, dtype=dtype)


def zeros_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter that takes 0.1 off cell 0 for each zero it reads, and nothing for a one: drift 1."""
    return drift_counter(1.0, dtype=dtype)


def balance_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter with the ones in cell 0 and the zeros in cell 1, that reads their difference: drift 1/2."""
    plan = Plan(12, range(2, 12))
    plan.hold(0, 1)
    plan.write(0, one=SMALL, zero=0.0)
    plan.write(1, one=0.0, zero=SMALL)
    plan.read(plan.one_hot(0) - plan.one_hot(1), torch.tanh(SMALL * counts()) - torch.tanh(SMALL * (10 - counts())))
    return plan.built(dtype)


#: Of the rotated counter: how many units share the count, how many are idle, and how loudly the idle ones are heard.
SHARED, IDLE, LOUDNESS = 8, 4, 0.06


def rotated_direction() -> Float[Tensor, " unit"]:
    """Return the direction along which the cells of `rotated_counter` hold the count, (12,), of length 1."""
    direction = torch.zeros(SHARED + IDLE, dtype=torch.float64)
    direction[:SHARED] = torch.randn(SHARED, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    return direction / direction.norm()


def flat_direction() -> Float[Tensor, " unit"]:
    """Return the direction along which the cells of `flat_counter` hold the count, (12,): 1/sqrt(8) in each of 8."""
    direction = torch.zeros(SHARED + IDLE, dtype=torch.float64)
    direction[:SHARED] = SHARED**-0.5
    return direction


def rotated_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter whose eight cells hold the ones along one direction, and idle units across it.

    c = .02 n1 v + what four distractors wrote, orthogonally to v; no single cell carries the count.
    """
    v = rotated_direction()
    plan = _along(v)
    # The distractors write across v, each along a direction of its own: orthonormal columns behind v in QR's basis.
    across = torch.randn(SHARED, IDLE, generator=torch.Generator().manual_seed(SEED + 1), dtype=torch.float64)
    basis = np.linalg.qr(torch.cat([v[:SHARED, None], across], 1).numpy())[0]
    plan.h[CANDIDATE, :SHARED, SHARED:] = LOUDNESS * torch.as_tensor(basis[:, 1:])
    return plan.built(dtype)


def flat_counter(*, dtype: torch.dtype = torch.float32) -> Counter:
    """Return a counter whose eight cells hold the ones in equal parts, so that none carries more than an eighth.

    c = .02 n1 v with v = 1/sqrt(8) in each of the eight. It is the rotated counter with another v, and its idle units
    are not heard: what they wrote across v would give the eight unequal parts of a count.
    """
    return _along(flat_direction()).built(dtype)


def _along(v: Float[Tensor, " unit"]) -> Plan:
    """Return a plan whose cells hold .02 n1 v, read along v, beside idle units that nobody hears.

    Args:
        v: a direction of length 1, (12,), 0 where the idle units are.
    """
    plan = Plan(SHARED + IDLE, range(SHARED, SHARED + IDLE))
    plan.hold(*range(SHARED))
    for unit in range(SHARED):
        plan.write(unit, one=SMALL * float(v[unit]), zero=0.0)
    plan.read(v, torch.tanh(SMALL * counts()[:, None] * v) @ v)  # the levels that y takes where nothing is across
    return plan
