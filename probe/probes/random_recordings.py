"""`random_weights`: recordings of random networks, to compare a recording with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..arguments import checked_arguments
from ..errors import ProbeError
from ..hooks.record import record
from ..number_of_controls import RANDOM_NETWORKS
from ..recording.recording import LayerRecording, Recording
from ..recurrent.global_state import DRAWS
from ..recurrent.random_weights import TRIES, same_states
from ..recurrent.random_weights import random_weights as copies


@checked_arguments()
def random_weights(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    count: int = RANDOM_NETWORKS,
    seed: int = 0,
    **options: Any,
) -> dict[str, Recording]:
    """Record copies of a model with random weights: the controls that a probe's score needs.

    Half of them have fresh weights, drawn as torch draws them before training; half have the model's own numbers in
    another order within each gate's block of each array, so that their scale stays. The weights of recurrent layers
    alone change. A copy that is the model or an earlier copy again, with its units in some order, is left out and
    another drawn: of a network written by hand most weights are 0, and the others may fall into place.

    Args:
        model: any module that contains recurrent layers; it is left as found, and so are torch's random numbers.
        *inputs: what the model is called with.
        kwargs: the model's own keyword arguments.
        count: how many copies, 1 or more.
        seed: of the weights, from 0.
        **options: of `probe.record`, as the recording that they are compared with had: `signals=`, `layer=`, ...

    Returns:
        The recordings by name: `fresh weights 1`, `shuffled weights 1`, ...

    Raises:
        ProbeError: the model cannot be recorded, or draws random numbers in train mode; count or seed is no such
            number.
    """
    found = dict[str, Recording]()
    with torch.random.fork_rng():
        # Only a run tells which cells a loop calls.
        own = record(model, *inputs, kwargs=kwargs, **options)
        refuse_drawn(own)
        for name, copy in copies(model, TRIES * count, seed=seed, cells=own.layers):
            for part, other in zip(model.modules(), copy.modules(), strict=True):
                other.training = part.training
            run = record(copy, *inputs, kwargs=kwargs, **options)
            if not any(is_again(run, met.parts) for met in (own, *found.values())):
                found[name] = run
            if len(found) == count:
                break
    return found


def is_again(run: Recording, parts: Sequence[LayerRecording]) -> bool:
    """Return whether a recording has the same states as layers of another one, with its units in any order.

    Args:
        run: the recording.
        parts: layers of the other one; a signal that the recording lacks is not compared.
    """
    by_place = {(part.layer, part.call): part.signals for part in run.parts}
    pairs = [
        (mine, by_place[part.layer, part.call][signal])
        for part in parts
        for signal, mine in part.signals.items()
        if signal in by_place.get((part.layer, part.call), {})
    ]
    return same_states([mine for mine, _ in pairs], [its for _, its in pairs])


def refuse_drawn(recording: Recording, name: str = "the recording") -> None:
    """Raise ProbeError where a recording holds what dropout left of a run."""
    if recording.drawn:
        raise ProbeError(
            f"{DRAWS}, and record it again: a probe would read the random numbers of {name} too, and another run has "
            "others."
        )
