"""What one run tells of the layers of a network that torch does not have."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ...errors import ProbeError, unknown
from ...hooks.record import record
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer, OpenLayer, Seen
from ...recurrent.signals import OUTPUT, UNKNOWN
from ...recurrent.stepwise import stepwise


def seen_layers(
    model: nn.Module, x: Tensor, names: Sequence[str] | None = None, *, tolerance: float | None = None
) -> tuple[Layer, ...]:
    """Return the recurrent layers of a model (those named, or all), with the sizes that a run on a few inputs tells.

    Modules that might be cells, and are none in this run, are left out.
    """
    layers = find_layers(model, names)
    if not any(isinstance(layer, OpenLayer) for layer in layers):
        return layers
    recording = record(model, x, layer=[layer.name for layer in layers], tolerance=tolerance)
    found = list[Layer]()
    for layer in layers:
        part = next((part for part in recording.parts if part.layer == layer.name), None)
        if not isinstance(layer, OpenLayer) or part is None:
            found += [layer] * (part is not None)
            continue
        states = tuple(part.initial)
        for signal in states:
            if not part.signals[signal].is_floating_point():
                raise ProbeError(
                    f"The state {str(signal)!r} of layer {layer.name!r} is {part.signals[signal].dtype}; a study "
                    "reads real numbers. record, intervene and sweep open it."
                )
        alone = _alone(model, layer, x, tolerance)
        sizes = {signal: value.shape[2:].numel() for signal, value in part.signals.items()}
        # A step that may lie beside what its module returns can be said to return its state all the same.
        returned = (signal for signal in states if torch.equal(part.signals[signal], part.signals[OUTPUT]))
        output = alone.output if alone is not None and alone.output in states else next(returned, OUTPUT)
        seen = Seen(states, output, sizes, UNKNOWN if alone is None else alone.inputs)
        found.append(replace(layer, seen=seen))
    if not found:
        raise ProbeError(unknown("layer", ", ".join(names or ()), recording.layers))
    return tuple(found)


def as_seen(model: nn.Module, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the same layers of another model of the same form."""
    own = find_layers(model, [layer.name for layer in layers])
    by_name = {layer.name: layer for layer in own}
    return tuple(
        replace(by_name[one.name], seen=one.seen) if isinstance(one, OpenLayer) else by_name[one.name]  # pyright: ignore[reportCallIssue]
        for one in layers
    )


def _alone(model: nn.Module, layer: OpenLayer, x: Tensor, tolerance: float | None) -> Seen | None:
    """Return what a run tells of a layer whose steps can be taken alone; None where they cannot."""
    copied = copy.deepcopy(model)
    (own,) = find_layers(copied, [layer.name])
    with suppress(ProbeError):
        return stepwise(copied, cast("OpenLayer", own), x, tolerance=tolerance).layer.seen
    return None
