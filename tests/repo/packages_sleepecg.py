"""SleepECG: sleep stages from heart beats; masked sequences through two bidirectional GRU layers, from Keras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import probe

CLASSIFIERS = ("wrn-gru-mesa", "wrn-gru-mesa-weighted", "ws-gru-mesa")
#: From info.yml and config.json: a step where all features have this value is masked.
MASKED = -1.0
#: Keras's, which torch's default is not.
EPSILON = 1e-3


def features_of(arrays: dict[str, Tensor], lengths: Sequence[int]) -> Tensor:
    """Return waves of the features' usual sizes, (batch, time, 36), which need no random numbers; masked beyond."""
    shape = (len(lengths), max(lengths), 36)
    z = 2 * np.sin(np.arange(np.prod(shape)) ** 1.5).reshape(shape)
    mean, variance = (arrays[f"batch_normalization/vars/{number}"].double().numpy() for number in (2, 3))
    x = (mean + np.sqrt(variance + EPSILON) * z).astype(np.float32)
    for row, length in enumerate(lengths):
        x[row, length:] = MASKED
    return torch.from_numpy(x)


@torch.no_grad()
def stages(checkpoint: probe.Checkpoint, arrays: dict[str, Tensor], features: Tensor, mask: Tensor) -> Tensor:
    """Return the stages' probabilities, (batch, time, stage), of the file's layers and arrays."""
    gamma, beta, mean, variance = (arrays[f"batch_normalization/vars/{number}"] for number in range(4))
    x: Tensor = gamma * (features - mean) / torch.sqrt(variance + EPSILON) + beta
    x = torch.relu(x @ arrays["dense/vars/0"] + arrays["dense/vars/1"])
    for module in checkpoint.recurrent.values():
        x = module(x, mask=mask)[0]
    return torch.softmax(x @ arrays["dense_1/vars/0"] + arrays["dense_1/vars/1"], dim=2)
