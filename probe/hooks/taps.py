"""Zeros that are added to every value kept, so that a derivative with respect to them is that of the values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..recurrent.again.engine import Changes
from ..recurrent.layers import Layer
from ..recurrent.runs import Trace
from ..recurrent.signals import Signal, is_continuous
from .sessions import Visit


def tapped(
    visit: Visit, wanted: Sequence[Layer], kept: Callable[[Layer, Trace], Sequence[Signal]]
) -> tuple[dict[int, Changes], dict[Layer, dict[Signal, Tensor]]]:
    """Return changes that add a zero to every value of a call, and these zeros: their derivatives are the values'.

    Args:
        visit: the call.
        wanted: the layers whose values are kept.
        kept: gives the signals kept of a layer's run.
    """
    taps: dict[Layer, dict[Signal, Tensor]] = {}
    changes = dict(visit.changes)
    time, batch = visit.call.x.shape[:2]
    for layer in wanted:
        trace = visit.clean.traces[layer.place]
        taps[layer] = {
            signal: trace.signals[signal].new_zeros(time, batch, trace.cell.size(signal)).requires_grad_()
            for signal in kept(layer, trace)
            if is_continuous(trace.signals[signal])  # a whole number or a truth value has no derivative
        }
        changes[layer.place] = _with_taps(changes.get(layer.place), taps[layer], time)
    return changes, taps


def _with_taps(changes: Changes | None, taps: Mapping[Signal, Tensor], time: int) -> Changes:
    edited = {} if changes is None else changes.signals

    def change(signal: Signal, step: int, value: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.zeros_like(value, dtype=torch.bool)
        if changes is not None and signal in edited.get(step, ()):
            value, own = changes.change(signal, step, value)
        if signal in taps:
            value, own = value + taps[signal][step], torch.ones_like(own)
        return value, own

    return Changes({step: frozenset(taps) | edited.get(step, frozenset()) for step in range(time)}, change)
