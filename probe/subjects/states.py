"""Which states of a subject the questions look at, each distinct prefix once, and the recordings of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from ..errors import ProbeError, several
from ..evidence.words import listed
from ..hooks.record import record
from ..methods.probing.controls import MOST_BINS
from ..methods.probing.groups import folds_of
from ..methods.probing.prefixes import StepStates, first_of_prefix, turned
from ..methods.probing.targets import FOLDS, LEAST_SEQUENCES, chosen, often
from ..recording.recording import Recording
from ..recurrent.finding import find_layers
from ..recurrent.global_state import in_float64
from ..recurrent.layers import Layer, OpenLayer
from ..recurrent.named_network import unwrapped
from ..recurrent.signals import Signal
from .concepts import Known
from .subject import Subject, per_subject

#: How many whole sequences are kept, to be drawn over time.
EXAMPLES = 4

Place = tuple[str, Signal]


@dataclass(frozen=True, eq=False)
class Sample:
    """The states that the questions look at, each after another prefix.

    Attributes:
        rows: the sequences that are recorded, (sequence,), ascending.
        sequence: the sequence of each state, as a place in `rows`, (state,).
        step: the step of each state, (state,).
        of: concept -> the states of its probes.
        group: concept -> the group of each of these, which is its sequence where none were given.
        fold: concept -> the fold of each of these; all states of a group are in one.
    """

    rows: np.ndarray
    sequence: np.ndarray
    step: np.ndarray
    of: Mapping[str, np.ndarray]
    group: Mapping[str, np.ndarray]
    fold: Mapping[str, np.ndarray]

    def bins(self, steps: int) -> np.ndarray:
        """Return the bin of steps of each state, (state,): the step itself if there are few steps."""
        return self.step if steps <= MOST_BINS else self.step * MOST_BINS // steps


@dataclass(frozen=True, eq=False)
class NetworkStates:
    """What is recorded of a network.

    Attributes:
        states: the sampled states by layer and signal, (state, unit), float64.
        max_error: the largest difference between the recomputed states and the module's own.
        examples: the states of a few whole sequences by layer and signal, (example, time, unit).
    """

    states: dict[Place, np.ndarray]
    max_error: float
    examples: dict[Place, np.ndarray]


@per_subject
def sample_of(subject: Subject) -> Sample:
    """Return the states that the questions look at, drawn by the seed as `probe.linear_probe` draws them.

    Each distinct prefix is used once, in one sequence that has it: a copy in another fold would be scored on its own
    training example. If a layer reads from the end, each distinct rest is used once too.

    Raises:
        ProbeError: no concept has a value at any of these states.
    """
    rows = recorded_rows(subject)
    x, lengths = subject.x[rows].float().numpy(), subject.lengths[rows]
    order = np.random.default_rng(subject.seed).permutation(len(rows))
    first = first_of_prefix(x, lengths, order)
    if reads_back(subject):
        first &= turned(first_of_prefix(turned(x, lengths), lengths, order), lengths)
    every = np.argwhere(first)
    drawn = {name: _of_concept(subject, concept, rows, every) for name, concept in subject.concepts.items()}
    of, group, fold = ({name: each[part] for name, each in drawn.items()} for part in range(3))
    used = np.unique(np.concatenate(list(of.values())))
    if not len(used):
        names = listed([repr(name) for name in subject.concepts])
        raise ProbeError(
            f"No concept ({names}) has a value in the {several(len(rows), 'sequence')} that were drawn from "
            f"{len(subject.x):,}. Leave out the sequences without a value, or give values at more steps."
        )
    places = {name: np.searchsorted(used, states) for name, states in of.items()}
    return Sample(rows, every[used, 0], every[used, 1], places, group, fold)


def _of_concept(
    subject: Subject, concept: Known, rows: np.ndarray, every: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the states of a concept's probes, however its values are spelled, and the group and fold of each."""
    rng, groups = np.random.default_rng(subject.seed), subject.groups_of(rows)
    _ = rng.permutation(len(rows))  # the order of sequences
    values = concept.values[rows][every[:, 0], every[:, 1]]
    defined = np.flatnonzero(np.isfinite(values))
    if concept.is_named:
        sequence = every[defined, 0]
        common = defined[often(values[defined], sequence, sequence if groups is None else groups[sequence])]
        defined = common if len(common) else defined
    picked = defined[chosen(values[defined], rng, named=concept.is_named)]
    return picked, *folds_of(every[picked, 0], groups, FOLDS, rng)


def drawn_rows(subject: Subject, rows: np.ndarray, most: int, stream: int) -> np.ndarray:
    """Return rows, ascending: all, or so many that are drawn by the subject's seed and the number of a stream."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([subject.seed, stream]).choice(rows, most, replace=False))


def recorded_rows(subject: Subject) -> np.ndarray:
    """Return which sequences are recorded, ascending: all, or a random part within the budget."""
    batch, time = subject.x.shape[:2]
    most = np.clip(subject.budget.steps // time, LEAST_SEQUENCES, subject.budget.sequences)
    return drawn_rows(subject, np.arange(batch), int(most), 0)


def rows_within_budget(subject: Subject, width: int) -> np.ndarray:
    """Return which sequences can be held with `width` numbers of each step, ascending: all, or a random part."""
    most = max(LEAST_SEQUENCES, subject.budget.numbers // (subject.x.shape[1] * max(width, 1)))
    return drawn_rows(subject, recorded_rows(subject), int(most), 9)


def reads_back(subject: Subject) -> bool:
    """Return whether a layer under study has seen later inputs."""
    return not reads_ahead(subject).isdisjoint(layer.name for layer in subject.layers)


def reads_ahead(subject: Subject) -> frozenset[str]:
    """Return the names of the layers that have seen later inputs: layers that read from the end, and those above."""
    layers = find_layers(subject.model)
    back = {(layer.module, layer.level) for layer in layers if layer.reads_back}
    ahead = {
        layer.name
        for layer in layers
        if layer.reads_back or any(module is layer.module and level < layer.level for module, level in back)
    }
    for wrapper in (module for module in subject.model.modules() if isinstance(module, nn.Sequential)):
        seen = False
        for part in wrapper:
            inside = [layer.name for layer in layers if layer.module in set(part.modules())]
            ahead.update(inside if seen else ())
            seen = seen or not ahead.isdisjoint(inside)
    return frozenset(ahead)


@per_subject
def states_of(subject: Subject) -> NetworkStates:
    """Return the sampled states of the network, with a few whole sequences."""
    sample, examples, largest = sample_of(subject), examples_of(subject), 0.0
    x, lengths = subject.x[sample.rows], subject.lengths[sample.rows]
    states, whole = dict[Place, np.ndarray](), dict[Place, np.ndarray]()
    for layer in subject.layers:
        # One layer at a time: all signals of a wide stack at once would take gigabytes.
        recording = run(subject.model, x, lengths, layer.name, layer.whole_state, tolerance=subject.tolerance)
        largest = max(largest, recording.max_error or 0.0)
        for signal in layer.whole_state:
            value = recording[layer.name, signal].flatten(2)
            states[layer.name, signal] = value[sample.sequence, sample.step].double().numpy()
            whole[layer.name, signal] = value[examples].double().numpy()
    return NetworkStates(states, largest, whole)


def examples_of(subject: Subject) -> list[int]:
    """Return the sequences that are drawn over time, as places in the sample.

    They are different ones of about median length, those first in which the concept changes most often.
    """
    rows = sample_of(subject).rows
    x, lengths, values = subject.x[rows], subject.lengths[rows], subject.concept.values[rows]
    changes = (np.diff(values, axis=1, prepend=values[:, :1]) != 0) & np.isfinite(values)
    away = np.abs(lengths - np.median(lengths))
    different = dict[bytes, int]()
    for place in np.lexsort([-changes.sum(1), away]).tolist():
        _ = different.setdefault(x[place, : lengths[place]].numpy().tobytes(), place)
    return list(different.values())[:EXAMPLES]


def copies_of(subject: Subject) -> int:
    """Return how many networks with random weights are recorded beside a network; fewer where each takes long."""
    steps = len(sample_of(subject).rows) * subject.x.shape[1]
    cost = steps * sum(flops(layer) for layer in subject.layers)
    return next(copies for most, copies in subject.budget.random_networks if cost <= most)


def flops(layer: Layer) -> float:
    """Return about how many operations a layer takes for one step of one sequence."""
    if isinstance(layer, OpenLayer):
        return 2.0 * sum(parameter.numel() for parameter in layer.module.parameters())
    return 2.0 * (layer.cell.weights.W.numel() + layer.cell.weights.U.numel())


def run(
    model: nn.Module,
    x: Tensor,
    lengths: np.ndarray,
    layer: str,
    signals: Iterable[Signal],
    *,
    tolerance: float | None = None,
) -> Recording:
    """Record signals of one layer on sequences (batch, time, feature) of some lengths, (batch,), packed if need be.

    Raises:
        ProbeError: the layer did not read each step of the inputs exactly once, or it reads padded sequences from
            their end.
    """
    arguments = packed(model, x, lengths)
    if arguments is x and (lengths < x.shape[1]).any() and find_layers(model, [layer])[0].reads_back:
        raise ProbeError(
            f"Layer {layer!r} reads its input from the end, and sequences of several lengths can only be packed for "
            "a module of torch that is given alone. Give sequences of one length, or the recurrent module."
        )
    with warnings.catch_warnings():
        # A reader of the page cannot change which of torch's kernels runs a projected LSTM.
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        recording = record(model, arguments, layer=layer, signals=list(signals), tolerance=tolerance)
    calls = recording.calls.get(layer, 0)
    if calls != 1:
        raise ProbeError(f"The model called layer {layer!r} {calls} times on the inputs; a study needs one call.")
    shape = tuple(next(iter(recording.parts[0].signals.values())).shape[:2])
    if shape[0] != x.shape[0] or not int(lengths.max()) <= shape[1] <= x.shape[1]:
        raise ProbeError(
            f"Layer {layer!r} read (batch, time) = {shape} and the inputs are {tuple(x.shape[:2])}; give a model "
            "that takes batch-first inputs (batch_first=True) and reads every step once."
        )
    if x.shape[0] == x.shape[1] > 1:
        # As many sequences as steps: which axis is which shows with one fewer.
        _ = run(model, x[:-1], lengths[:-1], layer, signals, tolerance=tolerance)
    return recording


def packed(model: nn.Module, x: Tensor, lengths: np.ndarray) -> object:
    """Return the inputs packed if lengths differ and the model is torch's own module, otherwise as they are."""
    if not isinstance(unwrapped(model), nn.RNNBase) or not (lengths < x.shape[1]).any():
        return x
    return pack_padded_sequence(x, torch.as_tensor(lengths), batch_first=True, enforce_sorted=False)


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
    recording = run(in_float64(subject.model), wide, lengths, name, wanted, tolerance=subject.tolerance)
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
