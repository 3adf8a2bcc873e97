"""rnn-probe on the module as it is.

Rewrite: none; `probe.record(lstm, x)` and `probe.sweep(model, x, edits=[...])`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe

from ..by_hand import SIGNALS, Counter
from .harness import Tool, main, pairs

#: What the other kinds of layers are measured on: (batch, time, features, units).
SHAPE = (256, 100, 32, 128)


def recorded(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record with the check."""
    return lambda x: signals_of(probe.record(lstm, x))


def unchecked(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record without the check."""
    return lambda x: signals_of(probe.record(lstm, x, check=False))


def signals_of(recording: probe.Recording) -> list[Tensor]:
    """Return i f g o c h of a recording."""
    return [recording[signal] for signal in SIGNALS]


def swept(model: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Patch every step and unit with the source's recording, in one call."""

    def call(x: Tensor, source: Tensor) -> Tensor:
        run = probe.record(model, source, signals=["cell_state"])
        edits = [
            probe.patch("cell_state", run, units=unit, steps=step)
            for step in range(length)
            for unit in range(model.lstm.hidden_size)
        ]
        return probe.sweep(model, x, edits=edits)  # pyright: ignore[reportCallIssue]

    return call


def layers(count: int) -> dict[str, Any]:
    """Time recordings of the other kinds of layers, each beside its own bare module."""
    batch, length, features, units = SHAPE
    torch.manual_seed(0)
    x = torch.randn(batch, length, features)
    lengths = torch.randint(length // 2, length + 1, (batch,))
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    lstm = nn.LSTM(features, units, batch_first=True)
    every = [str(signal) for signal in probe.inspect(lstm).layers[0].signals]
    modules: dict[str, tuple[nn.Module, Any, dict[str, Any]]] = {
        "one LSTM layer": (lstm, x, {}),
        "with pre-activations": (lstm, x, {"signals": every}),
        "two layers": (nn.LSTM(features, units, num_layers=2, batch_first=True), x, {}),
        "both directions": (nn.LSTM(features, units, bidirectional=True, batch_first=True), x, {}),
        "packed sequence": (lstm, packed, {}),
        "GRU": (nn.GRU(features, units, batch_first=True), x, {}),
        "RNN": (nn.RNN(features, units, batch_first=True), x, {}),
    }
    return {
        name: pairs(lambda m=m, x=x, k=k: probe.record(m, x, **k), lambda m=m, x=x: m(x), count)
        for name, (m, x, k) in modules.items()
    }


def whole(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record, and keep the output too, which is part of what is returned."""

    def call(x: Tensor) -> list[Tensor]:
        recording = probe.record(lstm, x)
        return [*signals_of(recording), recording.output[0]]

    return call


TOOL = Tool(
    {"record": recorded, "record, check=False": unchecked}, {"sweep": swept}, {"layers": layers}, {"record": whole}
)

if __name__ == "__main__":
    main(TOOL)
