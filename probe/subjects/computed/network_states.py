"""Records a network on a study's inputs: the sampled states of each layer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ...errors import ProbeError
from ...hooks.record import record
from ...loading.named_network import unwrapped
from ...recording.recording import LayerRecording, Recording
from ...recurrent.finding import find_layers
from ...recurrent.layers import Layer
from ...recurrent.signals import Signal
from ..functions import calling
from ..readouts import copied
from .sample import Sample

Place = tuple[str, Signal]


@dataclass(frozen=True, eq=False)
class NetworkStates:
    """The parts of a network's recordings that the questions need.

    Attributes:
        states: the sampled states by layer and signal, (state, unit), float64.
        max_error: the largest difference between the recomputed states and the module's own.
        examples: the states of a few whole sequences by layer and signal, (example, time, unit).
    """

    states: dict[Place, np.ndarray] = field(default_factory=dict)
    max_error: float = 0.0
    examples: dict[Place, np.ndarray] = field(default_factory=dict)


def record_states(
    model: nn.Module,
    x: Tensor,
    lengths: np.ndarray,
    sample: Sample,
    layers: Iterable[Layer],
    *,
    examples: Iterable[int] | None = None,
    tolerance: float | None = None,
) -> NetworkStates:
    """Record a network one layer at a time, and keep what the questions need.

    Args:
        model: the network.
        x: the inputs, (batch, time, feature).
        lengths: how many steps each sequence has, (batch,).
        sample: which sequences and states are kept.
        layers: which layers are recorded.
        examples: the sequences of which every step is kept, as places in the sample; None keeps none.
        tolerance: as of `record`.

    Raises:
        ProbeError: the model does not read (batch, time, feature), or calls a layer more than once.
    """
    inputs, steps = x[sample.rows], lengths[sample.rows]
    kept, errors = NetworkStates(), [0.0]
    for layer in layers:
        signals = layer.whole_state
        # One layer at a time: all signals of a wide stack at once would take gigabytes.
        recording = run(model, inputs, steps, layer.name, signals, tolerance=tolerance)
        errors.append(recording.max_error or 0.0)
        for signal in signals:
            value = recording[layer.name, signal].flatten(2)
            kept.states[layer.name, signal] = value[sample.sequence, sample.step].double().numpy()
            if examples is not None:
                kept.examples[layer.name, signal] = value[list(examples)].double().numpy()
    return NetworkStates(kept.states, max(errors), kept.examples)


def run(
    model: nn.Module,
    x: Tensor,
    lengths: np.ndarray,
    layer: str,
    signals: Iterable[Signal],
    *,
    tolerance: float | None = None,
) -> Recording:
    """Record one layer, with sequences of several lengths packed if the module takes packed sequences.

    Args:
        model: the network.
        x: the inputs, (batch, time, feature).
        lengths: how many steps each sequence has, (batch,).
        layer: which layer.
        signals: which of its signals.
        tolerance: as of `record`.

    Raises:
        ProbeError: the layer did not read each step of the inputs exactly once, or it reads padded sequences from
            their end.
    """
    if find_layers(model, [layer])[0].turned:
        return _from_end(model, x, lengths, layer, signals, tolerance=tolerance)
    arguments = packed(model, x, lengths)
    if arguments is x and layer.endswith(".reverse") and (lengths < x.shape[1]).any():
        raise ProbeError(
            f"Layer {layer!r} reads its input from the end, and sequences of several lengths can only be packed for "
            "a module of torch that is given alone. Give sequences of one length, or the recurrent module."
        )
    recording = _recorded(model, arguments, layer, signals, tolerance)
    shape = tuple(recording.parts[0].signals[next(iter(recording.parts[0].signals))].shape[:2])
    if shape[0] != x.shape[0] or not int(lengths.max()) <= shape[1] <= x.shape[1]:
        raise ProbeError(
            f"Layer {layer!r} read (batch, time) = {shape} and the inputs are {tuple(x.shape[:2])}; give a model "
            "that takes batch-first inputs (batch_first=True) and reads every step once."
        )
    if x.shape[0] == x.shape[1] > 1:
        # As many sequences as steps: which axis is which shows with one fewer.
        _ = run(model, x[:-1], lengths[:-1], layer, signals, tolerance=tolerance)
    return recording


def _recorded(
    model: nn.Module, arguments: object, layer: str, signals: Iterable[Signal], tolerance: float | None
) -> Recording:
    with warnings.catch_warnings():
        # A reader of the page cannot change which of torch's kernels runs a projected LSTM.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        recording = record(model, arguments, layers=[layer], signals=list(signals), tolerance=tolerance)
    calls = recording.calls.get(layer, 0)
    if calls != 1:
        raise ProbeError(f"The model called layer {layer!r} {calls} times on the inputs; a study needs one call.")
    return recording


def _from_end(
    model: nn.Module,
    x: Tensor,
    lengths: np.ndarray,
    layer: str,
    signals: Iterable[Signal],
    *,
    tolerance: float | None,
) -> Recording:
    """Record a layer that reads its sequences from their end. States are in the input's order, NaN at padding.

    Such a layer would read the padding first, so the sequences of each length are run by themselves.
    """
    names, errors = list(signals), []
    values: dict[Signal, Tensor] = {}
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        recording = _recorded(model, x[rows, :length], layer, names, tolerance)
        errors.append(recording.max_error or 0.0)
        for signal, value in recording.parts[0].signals.items():
            whole = values.setdefault(signal, value.new_full((len(x), x.shape[1], value.shape[2]), torch.nan))
            whole[rows, :length] = value
    part = LayerRecording(layer, 0, values, {}, tuple(lengths.tolist()))
    return Recording(None, (part,), None, (), max(errors))


@torch.no_grad()
def outputs(
    model: nn.Module, x: Tensor, lengths: np.ndarray, layers: Iterable[Layer], *, tolerance: float | None = None
) -> tuple[Any, dict[str, Tensor]]:
    """Return a network's output, and what each layer returns by its name; in float64 where it can be run so.

    Machines differ in float32. Of a network that cannot be run nothing is returned: None, and no layer.

    Args:
        model: the network.
        x: the inputs, (batch, time, feature).
        lengths: how many steps each sequence has, (batch,).
        layers: which layers; one that cannot be recorded is left out.
        tolerance: as of `record`.
    """
    for wide in (True, False):
        with suppress(ProbeError), calling("The network", ""), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            run_, read = (copied(model), x.double()) if wide else (model, x)
            output, states = run_(packed(run_, read, lengths)), dict[str, Tensor]()
            for layer in layers:
                with suppress(ProbeError):
                    recording = run(run_, read, lengths, layer.name, [layer.output], tolerance=tolerance)
                    states[layer.name] = recording[layer.name, layer.output]
            return output, states
    return None, {}


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in a value, such as a model's output, in their order."""
    if isinstance(value, Tensor):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for one in inside for tensor in tensors_in(one)]


def packed(model: nn.Module, x: Tensor, lengths: np.ndarray) -> object:
    """Return the inputs packed if lengths differ and the model is torch's own module, otherwise as they are."""
    if not isinstance(unwrapped(model), nn.RNNBase) or not (lengths < x.shape[1]).any():
        return x
    return pack_padded_sequence(x, torch.as_tensor(lengths), batch_first=True, enforce_sorted=False)
