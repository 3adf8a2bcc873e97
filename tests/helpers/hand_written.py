"""Networks written by hand whose units hold what they are said to hold, and concepts that they do not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

#: The shape of the inputs of the planted studies.
SEQUENCES, STEPS = 200, 10


def bits(count: int = SEQUENCES, length: int = STEPS) -> np.ndarray:
    """Return random bits, (sequence, step, 1)."""
    return np.random.default_rng(0).integers(0, 2, (count, length, 1)).astype(np.float32)


def written(units: int = 6, **held: int) -> nn.RNN:
    """Return a network of which some units hold something, and the others are random.

    Args:
        units: how many there are.
        **held: what each of these units holds: `ones`, how many ones came; `again`, the same; `time`, the step;
            `last`, the last input.
    """
    rnn: Any = nn.RNN(1, units, batch_first=True, nonlinearity="relu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.uniform_(-0.3, 0.3, generator=generator)
        for what, unit in held.items():
            for parameter in rnn.parameters():
                parameter[unit] = 0
            rnn.weight_hh_l0[:, unit] = 0
            rnn.weight_hh_l0[unit, unit] = float(what != "last")
            rnn.weight_ih_l0[unit, 0] = {"ones": 0.1, "again": 0.1, "time": 0.0, "last": 1.0}[what]
            rnn.bias_ih_l0[unit] = 0.1 * (what == "time")
    return rnn


def dead(units: int = 6) -> nn.RNN:
    """Return a network whose states are 0, whatever it reads."""
    rnn = nn.RNN(1, units, batch_first=True)
    for parameter in rnn.parameters():
        _ = nn.init.zeros_(parameter)
    return rnn


def ones(x: np.ndarray) -> np.ndarray:
    """Return how many ones came so far."""
    return np.cumsum(x[:, 0])


def time(x: np.ndarray) -> np.ndarray:
    """Return the step, from 1."""
    return np.arange(1, len(x) + 1)


def last(x: np.ndarray) -> list[str]:
    """Return the last input in words."""
    return ["one" if step[0] else "nought" for step in x]


def labels(seed: int, values: str = "abcdefg") -> np.ndarray:
    """Return an arbitrary label for each sequence, the same at all of its steps."""
    drawn = np.random.default_rng(seed).choice(list(values), SEQUENCES)
    return np.repeat(drawn[:, None], STEPS, axis=1)


def mostly(values: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    """Return values of which a share are those of other states."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(values.shape) < share, rng.permutation(values.ravel()).reshape(values.shape), values)
