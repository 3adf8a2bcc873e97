"""States of noise in which a concept was planted, for probes that must find it, and all strings of eight bits."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

RNG = np.random.default_rng(0)
BATCH, TIME, UNITS = 120, 20, 6
NOISE = RNG.normal(size=(BATCH, TIME, UNITS))
STEP = np.broadcast_to(np.arange(TIME, dtype=float), (BATCH, TIME))
COUNT = (RNG.random((BATCH, TIME)) < 0.5).cumsum(1).astype(float)
BITS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))[:, :, None]
ONES = BITS[:, :, 0].cumsum(1)


def with_units(units: dict[int, np.ndarray], noise: float = 0.0) -> np.ndarray:
    """Return the noise with values in some units, to which a part of the noise is added."""
    states = NOISE.copy()
    for unit, values in units.items():
        states[:, :, unit] = values + noise * NOISE[:, :, unit]
    return states


def untrained() -> nn.LSTM:
    """Return an untrained LSTM over bits."""
    torch.manual_seed(3)
    return nn.LSTM(1, 7, batch_first=True)
