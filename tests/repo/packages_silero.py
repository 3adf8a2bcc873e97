"""Silero VAD: where somebody speaks; convolutions on a chunk's spectrum, and an LSTM cell from chunk to chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import probe

JIT = "silero_vad/data/silero_vad.jit"


@dataclass(frozen=True)
class Rate:
    """What follows from the sampling rate: where its tensors are, samples a second, a chunk, of context, a window."""

    start: str
    samples: int
    chunk: int
    context: int
    window: int


RATES = {"16k": Rate("_model.", 16_000, 512, 64, 256), "8k": Rate("_model_8k.", 8_000, 256, 32, 128)}
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


class Silero(nn.Module):
    """The network under the names of its archive, with its tensors and its cell out of a checkpoint."""

    def __init__(self, rate: Rate, checkpoint: probe.Checkpoint) -> None:
        super().__init__()
        self.rate = rate
        self.stft = Spectrum(rate.window)
        sizes = (rate.window // 2 + 1, 128, 64, 64, 128)
        self.encoder = nn.Sequential(*map(Block, sizes[:-1], sizes[1:], STRIDES))
        self.decoder = Decoder()
        own = {
            name.removeprefix(rate.start): value
            for name, value in checkpoint.tensors.items()
            if name.startswith(rate.start)
        }
        missing, extra = self.load_state_dict(own, strict=False)
        assert {name.rpartition(".")[0] for name in missing} == {"decoder.rnn"}
        assert extra == []
        cell = checkpoint.recurrent[f"{rate.start}decoder.rnn"]
        assert isinstance(cell, nn.LSTMCell)
        self.decoder.rnn = cell
        _ = self.eval()

    def read(self, audio: Tensor) -> Tensor:
        """Return what the cell reads of each chunk, (batch, chunk, 128)."""
        rate, padded = self.rate, nn.functional.pad(audio, (self.rate.context, 0))
        starts = range(0, audio.shape[1], rate.chunk)
        chunks = [padded[:, start : start + rate.context + rate.chunk] for start in starts]
        return torch.stack([self.encoder(self.stft(chunk)).squeeze(2) for chunk in chunks], dim=1)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the probability of speech in every chunk, (batch, chunk), of samples (batch, sample)."""
        found, state = [], None
        for x in self.read(audio).unbind(1):
            state = self.decoder.rnn(x, state)
            found.append(self.decoder.decoder(state[0][:, :, None])[:, :, 0])
        return torch.cat(found, dim=1)


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
