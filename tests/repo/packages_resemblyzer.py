"""Resemblyzer: a voice's embedding; three LSTM layers over mel frames, and a head on the last hidden state."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.repo.packages_files import RESEMBLYZER, own_class, read
from tests.repo.packages_reference import LSTM_GATES, Array, Case, Plan, Signals, doubles, run_layer, torch_gates


class VoiceEncoder(nn.Module):
    """The network under the names of its checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """Return embeddings of length 1, (batch, 256), of frames (batch, time, 40)."""
        _, (h, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(h[-1])), dim=1)


@functools.cache
def tensors() -> dict[str, Tensor]:
    """Return the checkpoint's tensors, those of the loss left out."""
    file = io.BytesIO(read(RESEMBLYZER, "resemblyzer/pretrained.pt"))
    state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
    return {name: value for name, value in state.items() if not name.startswith("similarity_")}


def rebuild() -> VoiceEncoder:
    """Return the network."""
    model = VoiceEncoder()
    model.load_state_dict(tensors())
    return model.eval()


def own(model: VoiceEncoder) -> Any:
    """Return the package's own object with its own `forward`, around the layers of a model."""
    source = read(RESEMBLYZER, "resemblyzer/voice_encoder.py")
    package = own_class(source, "VoiceEncoder", ("forward",), {"torch": torch})()
    package.lstm, package.linear, package.relu = model.lstm, model.linear, torch.relu
    return package


def frames(batch: int, time: int) -> Tensor:
    """Return frames like those of a mel spectrogram, (batch, time, 40): positive, skewed and slow to change."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((batch, time + 8, 40))
    smooth = np.lib.stride_tricks.sliding_window_view(noise, 9, axis=1).mean(axis=3)
    envelope = np.linspace(0, -3, 40)
    return torch.from_numpy(0.05 * np.exp(2 * smooth[:, :time] + envelope)).float()


def by_hand(mels: Tensor, plan: Plan) -> tuple[Array, Signals]:
    """Return the embeddings and every signal of the three layers."""
    arrays = doubles(tensors())
    x, signals = doubles({"mels": mels})["mels"], {}
    for number in range(3):
        gates = torch_gates(arrays, f"lstm.{{}}_l{number}", LSTM_GATES)
        x, seen = run_layer(f"lstm[{number}]", gates, x, plan)
        signals |= seen
    raw = np.maximum(x[:, -1] @ arrays["linear.weight"].T + arrays["linear.bias"], 0)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True), signals


def case(batch: int = 2, time: int = 40) -> Case:
    """Return the network with frames to read."""
    mels = frames(batch, time)
    return Case(rebuild(), (mels,), lambda plan: by_hand(mels, plan))
