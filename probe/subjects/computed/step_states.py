"""The distinct states of a subject at each step: sequences that begin alike share the state after that beginning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from ...errors import ProbeError
from ...methods.probing.prefixes import StepStates, first_of_prefix
from ...recurrent.double import in_float64
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer
from ...recurrent.signals import Signal
from ..subject import Subject
from .network_states import run
from .sample import reads_ahead


def step_states(
    subject: Subject,
    signals: Iterable[Signal],
    *,
    layer: str | None = None,
    values: Tensor | None = None,
    rows: np.ndarray | None = None,
) -> list[StepStates]:
    """Record the network in float64 and return its distinct states at every step.

    Args:
        subject: the network under study; a float64 copy of it runs.
        signals: which signals to keep.
        layer: which layer; None for the one that `studied_layer` gives.
        values: what stands beside each state, (batch, time), NaN where undefined; None for the subject's concept.
        rows: which sequences, ascending, (sequence,); None for all.

    Returns:
        An entry a step. States where the value is undefined are left out, and so are steps without any. A layer that
        has seen later inputs has another state in each sequence, so that all of its states are there.

    Raises:
        ProbeError: the layer does not exist, has no such signal, or did not read each step of the inputs once; or
            several are studied and none is named.
    """
    wanted, name = tuple(signals), studied_layer(subject).name if layer is None else layer
    chosen = np.arange(len(subject.x)) if rows is None else rows
    x, lengths = subject.x[chosen], subject.lengths[chosen]
    asked = x.double() if x.is_floating_point() else x
    recording = run(in_float64(subject.model), asked, lengths, name, wanted, tolerance=subject.tolerance)
    states = {signal: recording[name, signal].flatten(2).cpu().numpy() for signal in wanted}
    target = (subject.concept_values() if values is None else values)[chosen].detach().cpu().numpy().astype(float)
    ahead = name in reads_ahead(subject)
    counted = subject.data[chosen] if ahead else first_of_prefix(x.detach().cpu().numpy(), lengths)
    counted = counted & np.isfinite(target)
    found = []
    for step in range(x.shape[1]):
        here = np.flatnonzero(counted[:, step])
        if len(here):
            own = {signal: value[here, step] for signal, value in states.items()}
            found.append(StepStates(step, chosen[here], target[here, step], own))
    return found


def studied_layer(subject: Subject) -> Layer:
    """Return the layer whose states are looked at: the one that the readout reads, or the only one.

    Raises:
        ProbeError: several layers are studied, and the readout reads none of them.
    """
    every = subject.layers or find_layers(subject.model)  # which raises if there is none
    read = [layer for layer in every if subject.read is not None and layer.name == subject.read.name]
    if len(every) > 1 and not read:
        names = ", ".join(repr(layer.name) for layer in every)
        raise ProbeError(f"The model has several layers: {names}. Choose one with layer=, of a study with layers=.")
    return (read or list(every))[0]
