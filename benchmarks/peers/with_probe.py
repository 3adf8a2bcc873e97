"""rnn-probe on the module as it is.

Rewrite: none; `probe.record(lstm, x)` and `probe.sweep(model, x, edits=[...])`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

import probe

from ..by_hand import Counter
from ..tasks import GROUPS, on_counter, signals_of
from .harness import Tool, main, pairs


def recorded(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record with the check."""
    return lambda x: signals_of(probe.record(lstm, x))


def unchecked(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record without the check."""
    return lambda x: signals_of(probe.record(lstm, x, check=False))


def swept(model: Counter, length: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Patch every step and unit with the source's recording, in one call."""
    return lambda x, source: on_counter(model, x, source)()[0]


def beside(group: str, without: Iterable[str] = ()) -> Callable[[int], dict[str, Any]]:
    """Return what times a group of tasks, each beside the call of its own model, given how many pairs."""

    def measured(count: int) -> dict[str, Any]:
        tasks = {name: make for name, make in GROUPS[group].items() if name not in without}
        return {name: pairs(task.call, task.bare, count) for name, task in ((n, make()) for n, make in tasks.items())}

    return measured


def whole(lstm: nn.LSTM, length: int) -> Callable[[Tensor], Sequence[Tensor]]:
    """Record, and keep the output too, which is part of what is returned."""

    def call(x: Tensor) -> list[Tensor]:
        recording = probe.record(lstm, x)
        return [*signals_of(recording), recording.output[0]]

    return call


TOOL = Tool(
    {"record": recorded, "record, check=False": unchecked},
    {"sweep": swept},
    {"layers": beside("layers"), "other-sweeps": beside("sweeps", without=["c"])},
    {"record": whole},
)

if __name__ == "__main__":
    main(TOOL)
