"""Silero VAD: where somebody speaks; four convolutions on a chunk's spectrum, then an LSTM cell from chunk to chunk.

The weights of the .jit archive are read as tensors, and those of .safetensors as they are; no code of the archive
runs, but in the one test that compares the rebuilt network with the archive's own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from tests.repo.packages_files import SILERO, read, script_tensors
from tests.repo.packages_reference import (
    LSTM_GATES,
    Array,
    Case,
    Loop,
    Plan,
    Signals,
    doubles,
    torch_gates,
    zero_state,
)

JIT = "silero_vad/data/silero_vad.jit"
SAFETENSORS = "silero_vad/data/silero_vad_16k.safetensors"


@dataclass(frozen=True)
class Rate:
    """What follows from the sampling rate: samples a second, a chunk, of context, and of a window."""

    samples: int
    chunk: int
    context: int
    window: int


RATES = {"16k": Rate(16_000, 512, 64, 256), "8k": Rate(8_000, 256, 32, 128)}
STRIDES = (1, 2, 2, 1)


class Spectrum(nn.Module):
    """The magnitudes of a short Fourier transform, written as a convolution."""

    forward_basis_buffer: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        self.register_buffer("forward_basis_buffer", torch.zeros(window + 2, 1, window))

    def forward(self, x: Tensor) -> Tensor:
        """Return magnitudes, (batch, frequency, frame), of samples (batch, sample)."""
        x = nn.functional.pad(x, (0, self.window // 4), "reflect")[:, None]
        x = nn.functional.conv1d(x, self.forward_basis_buffer, stride=self.window // 2)
        real, imaginary = x.chunk(2, dim=1)
        return (real**2 + imaginary**2).sqrt()


class Block(nn.Module):
    """One convolution and what is positive of it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.reparam_conv = nn.Conv1d(inputs, outputs, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is positive of the convolution."""
        return torch.relu(self.reparam_conv(x))


class Decoder(nn.Module):
    """The cell, and the probability that is read from its hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(128, 128)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(128, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability (batch, 1, 1) and both states in one tensor; an empty one starts anew."""
        h, c = self.rnn(x.squeeze(2), (state[0], state[1]) if len(state) else None)
        return self.decoder(h[:, :, None]), torch.stack([h, c])


class Silero(nn.Module):
    """The network under the names of its archive."""

    def __init__(self, rate: Rate) -> None:
        super().__init__()
        self.rate = rate
        self.stft = Spectrum(rate.window)
        sizes = (rate.window // 2 + 1, 128, 64, 64, 128)
        self.encoder = nn.Sequential(*map(Block, sizes[:-1], sizes[1:], STRIDES))
        self.decoder = Decoder()

    def forward(self, audio: Tensor) -> Tensor:
        """Return the probability of speech in every chunk, (batch, chunk), of samples (batch, sample)."""
        rate, state = self.rate, torch.zeros(0)
        padded = nn.functional.pad(audio, (rate.context, 0))
        found = []
        for start in range(0, audio.shape[1], rate.chunk):
            chunk = padded[:, start : start + rate.context + rate.chunk]
            probability, state = self.decoder(self.encoder(self.stft(chunk)), state)
            found.append(probability[:, :, 0])
        return torch.cat(found, dim=1)


@functools.cache
def script() -> dict[str, Tensor]:
    """Return the tensors of the archive."""
    return script_tensors(read(SILERO, JIT))


@functools.cache
def tensors(snapshot: str) -> dict[str, Tensor]:
    """Return a snapshot's tensors under the archive's names: `jit 16k`, `jit 8k`, or the other `safetensors 16k`."""
    if snapshot.startswith("jit"):
        prefix = {"jit 16k": "_model.", "jit 8k": "_model_8k."}[snapshot]
        return {name.removeprefix(prefix): value for name, value in script().items() if name.startswith(prefix)}
    renamed = {"stft_conv.weight": "stft.forward_basis_buffer"}
    for kind in ("weight", "bias"):
        renamed |= {f"conv{number + 1}.{kind}": f"encoder.{number}.reparam_conv.{kind}" for number in range(4)}
        renamed |= {f"lstm_cell.{kind}_{end}": f"decoder.rnn.{kind}_{end}" for end in ("ih", "hh")}
        renamed[f"final_conv.{kind}"] = f"decoder.decoder.2.{kind}"
    return {renamed[name]: value for name, value in load(read(SILERO, SAFETENSORS)).items()}


def rate_of(snapshot: str) -> Rate:
    """Return the rate that a snapshot is for."""
    return RATES[snapshot.split()[1]]


def rebuild(snapshot: str) -> Silero:
    """Return the network of a snapshot."""
    model = Silero(rate_of(snapshot))
    model.load_state_dict(tensors(snapshot))
    return model.eval()


def audio(rate: Rate, batch: int, chunks: int) -> Tensor:
    """Return something like a voice that comes and goes in noise, (batch, sample)."""
    random = np.random.default_rng(0)
    seconds = np.arange(chunks * rate.chunk) / rate.samples
    rows = []
    for row in range(batch):
        pitch = 110 * (row + 1) + 15 * np.sin(2 * np.pi * 2 * seconds)
        phase = 2 * np.pi * np.cumsum(pitch) / rate.samples
        voice = sum(np.sin(number * phase) / number for number in range(1, 12))
        syllables = np.clip(np.sin(2 * np.pi * 3 * seconds + row), 0, None)
        rows.append(0.15 * voice * syllables + 0.01 * random.standard_normal(len(seconds)))
    return torch.from_numpy(np.stack(rows)).float()


def by_hand(snapshot: str, samples: Tensor, plan: Plan) -> tuple[Array, Signals]:
    """Return the probabilities and every signal of the cell."""
    rate, file = rate_of(snapshot), {name: value.double() for name, value in tensors(snapshot).items()}
    arrays = doubles(file)
    gates = torch_gates(arrays, "decoder.rnn.{}", LSTM_GATES)
    loop = Loop("decoder.rnn", gates, plan, zero_state(gates, len(samples)))
    padded = nn.functional.pad(samples.double(), (rate.context, 0))
    found = []
    for t, start in enumerate(range(0, samples.shape[1], rate.chunk)):
        chunk = padded[:, start : start + rate.context + rate.chunk]
        chunk = torch.cat([chunk, chunk[:, -rate.window // 4 - 1 : -1].flip(1)], dim=1)
        waves = chunk.unfold(1, rate.window, rate.window // 2) @ file["stft.forward_basis_buffer"][:, 0].T
        x = torch.hypot(*waves.chunk(2, dim=2)).transpose(1, 2)
        for number, stride in enumerate(STRIDES):
            weight, bias = (file[f"encoder.{number}.reparam_conv.{kind}"] for kind in ("weight", "bias"))
            x = nn.functional.conv1d(x, weight, bias, stride, padding=1).clamp(min=0)
        h = np.maximum(loop.step(t, x[:, :, 0].numpy()), 0)
        weight, bias = arrays["decoder.decoder.2.weight"], arrays["decoder.decoder.2.bias"]
        found.append(1 / (1 + np.exp(-(h @ weight[:, :, 0].T + bias))))
    return np.concatenate(found, axis=1), loop.signals


def case(snapshot: str, batch: int = 2, chunks: int = 20) -> Case:
    """Return the network with audio to listen to."""
    samples = audio(rate_of(snapshot), batch, chunks)
    return Case(rebuild(snapshot), (samples,), lambda plan: by_hand(snapshot, samples, plan))
