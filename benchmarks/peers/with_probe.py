"""rnn-probe on the module as it is.

Rewrite: none; `probe.record(lstm, x)` and `probe.sweep(model, x, edits=[...])`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from torch import Tensor, nn

import probe

from ..by_hand import SIGNALS, Counter
from .harness import Tool, main


def signals_of(recording: probe.Recording) -> list[Tensor]:
    """Return i f g o c h of the recording of one LSTM layer."""
    return [recording[signal] for signal in SIGNALS]


def recorded(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record with the check."""
    return lambda x: signals_of(probe.record(lstm, x))


def unchecked(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record without the check."""
    return lambda x: signals_of(probe.record(lstm, x, check=False))


def swept(model: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Patch every step and unit with the source's recording, in one call."""

    def call(x: Tensor, source: Tensor) -> Tensor:
        run = probe.record(model, source, signals=["cell_state"])
        places = product(range(length), range(model.lstm.hidden_size))
        edits = [probe.patch("cell_state", run, steps=step, units=unit) for step, unit in places]
        return probe.sweep(model, x, edits=edits)

    return call


def whole(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record, and keep the output too, which is part of what is returned."""

    def call(x: Tensor) -> list[Tensor]:
        recording = probe.record(lstm, x)
        return [*signals_of(recording), recording.output[0]]

    return call


TOOL = Tool({"record": recorded, "record, check=False": unchecked}, {"sweep": swept}, {"record": whole})

if __name__ == "__main__":
    main(TOOL)
