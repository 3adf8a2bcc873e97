"""The recordings of a subject: on which sequences, within the budget, and its distinct states at each step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ..errors import ProbeError
from ..hooks.record import record
from ..methods.probing.prefixes import StepStates, first_of_prefix
from ..methods.probing.targets import LEAST_SEQUENCES
from ..recording.recording import LayerRecording, Recording
from ..recurrent.finding import find_layers
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer, OpenLayer
from ..recurrent.named_network import unwrapped
from ..recurrent.signals import Signal
from .networks.called import CALL, calls_of
from .subject import Subject, per_subject

#: How many whole sequences are kept, to be drawn over time.
EXAMPLES = 4
#: So many sequences tell whether a layer has seen later inputs; states that differ by less are the same.
AHEAD, ROUNDING = 8, 1e-5

Place = tuple[str, Signal]


def drawn_rows(subject: Subject, rows: np.ndarray, most: int, stream: int) -> np.ndarray:
    """Return rows, ascending: all, or so many that are drawn by the subject's seed and the number of a stream."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([subject.seed, stream]).choice(rows, most, replace=False))


@per_subject
def recorded_rows(subject: Subject) -> np.ndarray:
    """Return which sequences are recorded, ascending: all, or a random part within the budget."""
    batch, time = subject.x.shape[:2]
    width = sum(max(layer.units, 1) * len(layer.whole_state) for layer in subject.layers)
    steps = min(subject.budget.steps, subject.budget.recorded // max(width, 1))
    most = np.clip(steps // time, LEAST_SEQUENCES, subject.budget.sequences)
    return drawn_rows(subject, np.arange(batch), int(most), 0)


def rows_within_budget(subject: Subject, width: int) -> np.ndarray:
    """Return which sequences can be held with `width` numbers of each step, ascending: all, or a random part."""
    most = max(LEAST_SEQUENCES, subject.budget.numbers // (subject.x.shape[1] * max(width, 1)))
    return drawn_rows(subject, recorded_rows(subject), int(most), 9)


@per_subject
def reads_ahead(subject: Subject) -> frozenset[str]:
    """Return the names of the studied layers whose states follow from later inputs too: others there change them."""
    rows = np.argsort(-subject.lengths, kind="stable")[:AHEAD]
    dtype = next((one.dtype for one in subject.model.parameters()), subject.x.dtype)
    x, lengths = subject.x[rows].to(torch.promote_types(subject.x.dtype, dtype)), subject.lengths[rows]
    middle, end = int(lengths.min()) // 2, int(lengths.min())
    changed = x.clone()
    changed[:, middle:end] = x[:, middle:end].roll(1, 0)
    if not middle or torch.equal(x, changed):
        return frozenset()
    recordings = [_recorded(subject, inputs, lengths) for inputs in (x, changed)]
    return frozenset(
        part.layer
        for part, other in zip(*(one.parts for one in recordings), strict=True)
        if not all(_alike(value[:, :middle], other.signals[name][:, :middle]) for name, value in part.signals.items())
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


def recording_of(subject: Subject) -> Recording:
    """Return the recording of a network: the whole states of the layers under study, of `recorded_rows`."""
    rows = recorded_rows(subject)
    return _recorded(subject, subject.x[rows], subject.lengths[rows])


def _recorded(subject: Subject, x: Tensor, lengths: np.ndarray) -> Recording:
    names = [layer.name for layer in subject.layers]
    signals = dict.fromkeys(signal for layer in subject.layers for signal in layer.whole_state)
    return run(subject.model, x, lengths, names, signals, tolerance=subject.tolerance)


#: The recording of the network that is studied, which is kept.
recorded = per_subject(recording_of)


class Recordings(Mapping[str, Recording]):
    """The recordings of networks by name, each made when it is asked for: all at once could take gigabytes."""

    def __init__(self, subjects: Mapping[str, Subject]) -> None:
        self._subjects = subjects

    def __getitem__(self, name: str) -> Recording:
        return recording_of(self._subjects[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._subjects)

    def __len__(self) -> int:
        return len(self._subjects)


def examples_of(subject: Subject) -> list[int]:
    """Return the sequences that are drawn over time, as places among those that are recorded.

    They are different ones of about median length, those first in which the concept changes most often.
    """
    rows = recorded_rows(subject)
    x, lengths, values = subject.x[rows], subject.lengths[rows], subject.concept.values[rows]
    changes = (np.diff(values, axis=1, prepend=values[:, :1]) != 0) & np.isfinite(values)
    away = np.abs(lengths - np.median(lengths))
    different = dict[bytes, int]()
    for place in np.lexsort([-changes.sum(1), away]).tolist():
        _ = different.setdefault(x[place, : lengths[place]].numpy().tobytes(), place)
    return list(different.values())[:EXAMPLES]


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    if isinstance(layer, OpenLayer):
        return 2.0 * sum(parameter.numel() for parameter in layer.module.parameters())
    return 2.0 * (layer.cell.weights.W.numel() + layer.cell.weights.U.numel())


def run(
    model: nn.Module,
    x: Tensor,
    lengths: np.ndarray,
    layers: Sequence[str],
    signals: Iterable[Signal],
    *,
    tolerance: float | None = None,
) -> Recording:
    """Record signals of layers on sequences (batch, time, feature) of some lengths, (batch,), packed if need be.

    Raises:
        ProbeError: a layer did not read each step of the inputs exactly once, or it reads padded sequences from
            their end.
    """
    signals = list(signals)
    with warnings.catch_warnings():
        # A reader of the page cannot change which of torch's kernels runs a projected LSTM.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        given = arguments(model, x, lengths)
        recording = record(model, *given, layer=list(layers), signals=signals, tolerance=tolerance)
    check_calls(recording, layers)
    for part in recording.parts:
        shape = shape_of(part)
        if shape[0] != x.shape[0] or not int(lengths.max()) <= shape[1] <= x.shape[1]:
            raise ProbeError(
                f"Layer {part.layer!r} read (batch, time) = {shape} and the inputs are {tuple(x.shape[:2])}; give a "
                "model that takes batch-first inputs (batch_first=True) and reads every step once."
            )
    _check_ends(model, recording, x, lengths)
    if x.shape[0] == x.shape[1] > 1:
        # As many sequences as steps: which axis is which shows with one fewer.
        _ = run(model, x[:-1], lengths[:-1], layers, signals, tolerance=tolerance)
    return recording


def check_calls(recording: Recording, layers: Sequence[str]) -> None:
    """Raise where a layer was not called exactly once."""
    for layer in layers:
        calls = recording.calls.get(layer, 0)
        if not calls:
            raise ProbeError(
                f"The model did not call layer {layer!r} on the inputs. If call= says how it is called, the function "
                "must call the model that it is given, as its copies with random weights are called too."
            )
        if calls > 1:
            raise ProbeError(f"The model called layer {layer!r} {calls} times on the inputs; a study needs one call.")


def shape_of(part: LayerRecording) -> tuple[int, int]:
    """Return (batch, time) of a layer's recording."""
    batch, time = next(iter(part.signals.values())).shape[:2]
    return batch, time


def _check_ends(model: nn.Module, recording: Recording, x: Tensor, lengths: np.ndarray) -> None:
    """Raise where a layer that reads from the end began at the end of the padding."""
    if not (lengths < x.shape[1]).any():
        return
    back = {layer.name for layer in find_layers(model, recording.layers) if layer.reads_back}
    for part in recording.parts:
        if part.layer in back and list(part.lengths or ()) != lengths.tolist():
            raise ProbeError(
                f"Layer {part.layer!r} reads its input from the end, and sequences differ in length, so that it "
                "reads padding first. Let the model pack them, and say how it gets their lengths, such as "
                f"{CALL.format('model(x, lengths)')}; or give sequences of one length."
            )


def arguments(model: nn.Module, x: Tensor, lengths: np.ndarray) -> tuple[Any, ...]:
    """Return what a model is called with: inputs and lengths, or inputs alone.

    They are packed if lengths differ and the model is torch's own module.
    """
    if calls_of(model):
        return x, torch.as_tensor(lengths)
    if not isinstance(unwrapped(model), nn.RNNBase) or not (lengths < x.shape[1]).any():
        return (x,)
    return (pack_padded_sequence(x, torch.as_tensor(lengths), batch_first=True, enforce_sorted=False),)


def step_states(
    subject: Subject,
    signals: Iterable[Signal],
    *,
    layer: str | None = None,
    values: Tensor | None = None,
    rows: np.ndarray | None = None,
) -> list[StepStates]:
    """Record signals of a layer in float64 and return its distinct states at every step that has some.

    States without a value, of the concept or of `values`, (batch, time), are left out.
    """
    wanted, name = tuple(signals), studied_layer(subject).name if layer is None else layer
    rows = np.arange(len(subject.x)) if rows is None else rows
    x, lengths = subject.x[rows], subject.lengths[rows]
    wide = x.double() if x.is_floating_point() else x
    recording = run(in_float64(subject.model), wide, lengths, [name], wanted, tolerance=subject.tolerance)
    states = {signal: recording[name, signal].flatten(2).cpu().numpy() for signal in wanted}
    target = (subject.concept.values if values is None else values.detach().cpu().double().numpy())[rows]
    # A layer that has seen later inputs has another state in each sequence.
    ahead = name in reads_ahead(subject)
    distinct = subject.data[rows] if ahead else first_of_prefix(x.detach().cpu().numpy(), lengths)
    distinct = distinct & np.isfinite(target)
    return [
        StepStates(
            step,
            rows[at],
            target[at, step],
            {signal: value[at, step] for signal, value in states.items()},
            subject.groups_of(rows[at]),
        )
        for step in range(x.shape[1])
        if len(at := np.flatnonzero(distinct[:, step]))
    ]


def studied_layer(subject: Subject) -> Layer:
    """Return the layer whose states are looked at: the one that the readout reads, or the only one."""
    every = subject.layers or find_layers(subject.model)  # which raises if there is none
    read = [layer for layer in every if subject.read is not None and layer.name == subject.read.name]
    if len(every) > 1 and not read:
        names = ", ".join(repr(layer.name) for layer in every)
        raise ProbeError(f"The model has several layers: {names}. Choose one with layer=.")
    return (read or list(every))[0]
