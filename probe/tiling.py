"""Repeats an opened run for blocks of rows, from some step on, with no more copies than are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .errors import ProbeError
from .signals import Signal
from .traces import Opened, Run, Trace


@dataclass(frozen=True, eq=False)
class _Tiled(Trace):
    """A trace repeated for blocks of rows, from some step on; its signals are repeated when they are asked for."""

    base: Trace | None = None
    times: int = 1
    cut: int = 0

    def at(self, step: int) -> Mapping[Signal, Tensor]:
        """Return every signal of one step."""
        return _Repeated(self._base.at(self.cut + step), self.times)

    def before(self, step: int) -> Mapping[Signal, Tensor]:
        """Return the states before a step."""
        return _repeated(self._base.before(self.cut + step), self.times)

    @property
    def _base(self) -> Trace:
        if self.base is None:
            raise ProbeError("A repeated trace needs the trace that it repeats.")
        return self.base


class _Repeated(dict[Signal, Tensor]):
    """Values of one step, repeated for blocks of rows when one of them is asked for."""

    def __init__(self, values: Mapping[Signal, Tensor], times: int) -> None:
        super().__init__(values)
        self._left, self._times = set(values), times

    def __getitem__(self, signal: Signal) -> Tensor:
        value = super().__getitem__(signal)
        if signal in self._left:
            value = self[signal] = value.repeat(self._times, 1)
            self._left.remove(signal)
        return value

    def items(self) -> Any:
        """Return every signal with its values."""
        return [(signal, self[signal]) for signal in self]


def _repeated(values: Mapping[Signal, Tensor], times: int) -> dict[Signal, Tensor]:
    return {signal: value.repeat(times, 1) for signal, value in values.items()}


def tiled(run: Run, times: int, cut: int) -> Run:
    """Return a run repeated for blocks of rows.

    Args:
        run: the run of one block.
        times: how many blocks.
        cut: how many steps of its beginning are left out.
    """
    return replace(run, traces=tuple(_tiled(trace, times, cut) for trace in run.traces))


def _tiled(trace: Trace, times: int, cut: int) -> Trace:
    def every() -> Opened:
        return Opened({signal: value[cut:].repeat(1, times, 1) for signal, value in trace.signals.items()}, 0.0, 0)

    return _Tiled(
        trace.layer,
        trace.cell,
        trace.x[cut:].repeat(1, times, 1),
        _repeated(trace.before(cut), times),
        (trace.h[cut:].repeat(1, times, 1),),
        _repeated(trace.final, times),
        None if trace.lengths is None else trace.lengths.repeat(times),
        every,
        trace,
        times,
        cut,
    )
