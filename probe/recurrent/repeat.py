"""Repeats a reconstructed run for many blocks of rows, from a given step on, with few copies.

And tells whether a call was given such blocks: whoever repeats a model's inputs does not see what the model makes of
them before a layer reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..errors import ProbeError
from .batches import close
from .calls import Call
from .layers import Layer
from .runs import Opened, Run, Trace
from .signals import Signal

#: What to do where the rows of a layer are not those of the inputs.
_OTHER_AXIS = (
    "Name the axis of the first input that is the batch with batch_axis= (0 unless you say so), or use "
    "probe.record(edits=[...]) for each edit."
)


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
        _repeated(trace.last, times),
        None if trace.lengths is None else trace.lengths.repeat(times),
        every,
        trace,
        times,
        cut,
    )


def rows_of_block(layer: Layer, rows: int, clean: Run | None, blocks: int) -> int:
    """Return how many rows of a call belong to one block.

    Raises:
        ProbeError: the clean call had another number of rows.
    """
    if clean is not None and rows != blocks * clean.call.x.shape[1]:
        raise ProbeError(
            f"Layer {layer.name!r} read {clean.call.x.shape[1]} rows, and {rows} when the inputs were repeated for "
            f"{blocks} edits: their batch is another axis. {_OTHER_AXIS}"
        )
    return rows // blocks


def repeats(run: Run, call: Call, blocks: int) -> bool:
    """Return whether a call was given what the clean run was given, once for each block of rows."""
    x = run.call.x
    if call.x.shape != (x.shape[0], blocks * x.shape[1], x.shape[2]):
        return False
    return all(bool((many == one).all()) for one, many in _given(run.call, call, blocks))


def check_blocks(layer: Layer, run: Run | None, call: Call, places: Sequence[int], blocks: int) -> None:
    """Raise where some blocks, which no edit has reached yet, are given something else than the clean run was.

    Args:
        layer: any layer of the module called.
        run: the clean run of the call, or None where there was none.
        call: what the module was given now.
        places: which blocks.
        blocks: how many there are.

    Raises:
        ProbeError: they are: the rows are in another order, or depend on each other.
    """
    if run is None or not places:
        return
    for one, many in _given(run.call, call, blocks):
        if not close(one, many if len(places) == blocks else many[:, places]):
            raise ProbeError(
                f"Layer {layer.name!r} reads something else for a row when all rows are there {blocks} times, one "
                f"repetition after the other: its rows are in another order, or depend on each other. {_OTHER_AXIS}"
            )


def _given(clean: Call, call: Call, blocks: int) -> list[tuple[Tensor, Tensor]]:
    """Return what two calls were given, (time, 1, batch, number) and (time, block, batch, number)."""
    pairs = [(clean.x, call.x)]
    for one, many in zip(clean.initial, call.initial, strict=True):
        pairs += [(value.unsqueeze(0), many[signal].unsqueeze(0)) for signal, value in one.items()]
    return [(one.unsqueeze(1), many.unflatten(1, (blocks, -1))) for one, many in pairs]
