"""Resemblyzer: a voice's embedding; three LSTM layers over mel frames, and a head on the last hidden state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import probe
from tests.repo.packages_files import RESEMBLYZER, own_class, read


class VoiceEncoder(nn.Module):
    """The network under the names of its checkpoint, filled out of it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        _ = probe.load(file, into=self.eval(), names={"similarity_*": None})

    def head(self, h: Tensor) -> Tensor:
        """Return embeddings of length 1 of last hidden states, (batch, 256)."""
        return nn.functional.normalize(torch.relu(self.linear(h)), dim=1)

    def forward(self, mels: Tensor) -> Tensor:
        """Return embeddings, (batch, 256), of frames (batch, time, 40)."""
        _, (h, _) = self.lstm(mels)
        return self.head(h[-1])


def own(state: dict[str, Tensor]) -> Any:
    """Return the package's own object with its own `forward`, around layers that hold the weights of its file."""
    source = read(RESEMBLYZER, "resemblyzer/voice_encoder.py")
    package = own_class(source, "VoiceEncoder", ("forward",), {"torch": torch})()
    package.lstm, package.linear, package.relu = (
        nn.LSTM(40, 256, 3, batch_first=True),
        nn.Linear(256, 256),
        torch.relu,
    )
    for name in ("lstm", "linear"):
        start = f"{name}."
        held = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
        getattr(package, name).load_state_dict(held)
    return package


def frames(batch: int, time: int) -> Tensor:
    """Return frames like those of a mel spectrogram, (batch, time, 40): positive, skewed and slow to change."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((batch, time + 8, 40))
    smooth = np.lib.stride_tricks.sliding_window_view(noise, 9, axis=1).mean(axis=3)
    envelope = np.linspace(0, -3, 40)
    return torch.from_numpy(0.05 * np.exp(2 * smooth[:, :time] + envelope)).float()
