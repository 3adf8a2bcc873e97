"""Recordings of five kinds of networks, each with the layer and the state that is drawn, and of states by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe import Recording, Step
from probe.recording.recording import LayerRecording
from probe.recurrent.signals import Signal

ROWS, TIME, CHANNELS, ORDER = 6, 7, 3, 2
LENGTHS = (7, 3, 5, 7, 1, 4)
#: A concept that changes along each sequence, and one that does not.
MOVING = np.add.outer(np.arange(ROWS), np.arange(TIME)) % 3
FIXED = np.array(["low", "high", "low", "high", "low", "low"])


class Diagonal(nn.Module):
    """A state-space layer whose state is a matrix, (channel, order): h' = a h + b x, y = the sum over c h."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.rand(CHANNELS, ORDER)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, time, channel), each from all inputs before it."""
        age = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
        powers = (age >= 0)[..., None, None] * self.a ** age.clamp(min=0)[..., None, None]
        states = torch.einsum("tscn,bsc->btcn", powers * self.b, x)
        return (self.c * states).sum(-1)


class DiagonalStep(Step):
    """Its step."""

    names = {"state": "ssm_state"}  # noqa: RUF012

    def inputs(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Return the input."""
        return arguments[0]

    def initial(self, batch: int) -> Any:
        """Return zeros."""
        return torch.zeros(batch, CHANNELS, ORDER)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        state = self.module.a * state + self.module.b * x[:, :, None]
        return (self.module.c * state).sum(-1), state


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording, and what a plot draws of it where only the layer is named.

    Attributes:
        recording: the recording.
        layer: what `layer=` must say, or None where there is one.
        signal: the signal that is drawn by default.
        values: its values, (batch, time, unit), NaN at padding.
        lengths: how many steps each row has.
    """

    recording: Recording
    layer: str | None
    signal: str
    values: np.ndarray
    lengths: tuple[int, ...] = (TIME,) * ROWS

    @property
    def real(self) -> np.ndarray:
        """Return which places are no padding, (batch, time)."""
        return np.arange(TIME) < np.array(self.lengths)[:, None]

    @property
    def second(self) -> Any:
        """Return what a plot calls the second unit."""
        return (0, 1) if self.signal == "ssm_state" else 1


def _of(model: Any, x: Any, layer: str | None, signal: str, lengths: tuple[int, ...] = (TIME,) * ROWS) -> Recorded:
    recording = probe.record(model, x)
    values = recording[(layer, signal) if layer else signal].flatten(2).double().numpy()
    return Recorded(recording, layer, signal, values, lengths)


def recorded(kind: str) -> Recorded:
    """Return the recording of a network of a kind in `KINDS`."""
    torch.manual_seed(0)
    x = torch.randn(ROWS, TIME, CHANNELS)
    if kind == "lstm":
        return _of(nn.LSTM(CHANNELS, 4, batch_first=True), x, None, "cell_state")
    if kind == "gru":
        return _of(nn.GRU(CHANNELS, 4, batch_first=True), x, None, "hidden_state")
    if kind == "packed":
        packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
        return _of(nn.LSTM(CHANNELS, 4, batch_first=True), packed, None, "cell_state", LENGTHS)
    if kind == "bidirectional":
        model = nn.LSTM(CHANNELS, 4, num_layers=2, bidirectional=True, batch_first=True)
        return _of(model, x, "[1].reverse", "cell_state")
    probe.register(Diagonal, DiagonalStep)
    return _of(Diagonal(), x, None, "ssm_state")


def recording_of(
    states: np.ndarray, inputs: np.ndarray | None = None, lengths: Sequence[int] | None = None, layer: str = "rnn"
) -> Recording:
    """Return a recording of one signal, the hidden state, so that what a probe must find in it is known.

    Args:
        states: its values, (batch, time, unit).
        inputs: what the layer read, (batch, time, feature); None for a number that no two sequences share.
        lengths: of the rows, or None.
        layer: what the layer is called.
    """
    if inputs is None:
        inputs = np.random.default_rng(1).normal(size=(*states.shape[:2], 1))
    signals = {Signal("hidden_state"): torch.tensor(states)}
    read = None if lengths is None else tuple(lengths)
    part = LayerRecording(layer, 0, signals, {}, read, inputs=torch.tensor(inputs))
    return Recording(None, (part,), None, (), 0.0)


KINDS = ("lstm", "gru", "packed", "bidirectional", "state space")
