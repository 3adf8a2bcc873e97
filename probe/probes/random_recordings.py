"""`random_weights`: recordings of random networks, to compare a recording with."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ..hooks.record import record
from ..recording.recording import Recording
from ..subjects.random_weights import random_weights as copies

#: At most so many copies are drawn for each that is asked for.
TRIES = 4


def random_weights(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    count: int = 8,
    seed: int = 0,
    **options: Any,
) -> dict[str, Recording]:
    """Record copies of a model with random weights: the controls that a probe's score needs.

    Half of them have fresh weights, drawn as torch draws them before training; half have the model's own numbers in
    another order within each gate's block of each array, so that their scale stays. The weights of recurrent layers
    alone change. A copy that is the model again, with its units in some order, is left out and another drawn: of a
    network written by hand most weights are 0, and the others may fall into place.

    Args:
        model: any module that contains recurrent layers; it is left as found, and so are torch's random numbers.
        *inputs: what the model is called with.
        kwargs: the model's own keyword arguments.
        count: how many copies, 1 or more.
        seed: of the weights, from 0.
        **options: of `probe.record`, as the recording that they are compared with had: `signals=`, `layers=`, ...

    Returns:
        The recordings by name: `fresh weights 1`, `shuffled weights 1`, ...

    Raises:
        ProbeError: the model cannot be recorded, or count or seed is no such number.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ProbeError(f"{name}={value!r} must be a whole number, {least} or more.")
    found = dict[str, Recording]()
    with torch.random.fork_rng():
        # Only a run tells which cells a loop calls.
        own = record(model, *inputs, kwargs=kwargs, **options)
        for name, copy in copies(model, TRIES * int(count), seed=int(seed), cells=own.layers):
            for part, other in zip(model.modules(), copy.modules(), strict=True):
                other.training = part.training
            run = record(copy, *inputs, kwargs=kwargs, **options)
            if not _is_again(own, run):
                found[name] = run
            if len(found) == count:
                break
    return found


def _is_again(own: Recording, other: Recording) -> bool:
    """Return whether two networks have the same states, with their units in any order."""
    pairs = [
        (mine, each.signals[signal])
        for part, each in zip(own.parts, other.parts, strict=True)
        for signal, mine in part.signals.items()
    ]
    return all(torch.allclose(_in_order(mine), _in_order(its), atol=1e-6, equal_nan=True) for mine, its in pairs)


def _in_order(value: Tensor) -> Tensor:
    """Return the units of each state by size, (..., unit)."""
    return (value.abs() if value.is_complex() else value).double().sort(dim=-1)[0]
