"""A recording beside its controls: what is compared, at which states, and the reading that comes of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..errors import ProbeError, several
from ..methods.probing.groups import NEARLY_EQUAL, near_copies
from ..methods.probing.prefixes import prefix_groups
from ..recording.recording import LayerRecording, Recording
from ..recurrent.random_weights import same_states
from ..recurrent.signals import Signal
from .points import CHANCE, STEP, GivenConcept, Points, inputs_of, module_of, parts_of, sequences_of
from .random_recordings import is_again, refuse_drawn
from .reading import OWN, SHUFFLED, Reading, SignalRead, count_of

#: What no control may be called.
RESERVED = (OWN, STEP, CHANCE, SHUFFLED, "")
COLUMNS = (
    *("layer", "signal", "how", "unit", "step", "network"),
    *("score", "low", "high", "states", "sequences", "r"),
)


@dataclass(frozen=True, eq=False)
class Compared:
    """A recording and its controls, with the concept that is read off them.

    Attributes:
        concept: the concept.
        recording: the recording.
        parts: the layers that are read, and the signals of each.
        points: where the concept has a value, of each layer.
        states: by network, `OWN` the first, a table for each layer: signal -> its states, (state, number).
        near: how many sequences are nearly equal to one of another fold.
    """

    concept: GivenConcept
    recording: Recording
    parts: Sequence[tuple[LayerRecording, Sequence[Signal]]]
    points: Sequence[Points]
    states: dict[str, Sequence[Mapping[Signal, np.ndarray]]]
    near: int

    @classmethod
    def alone(cls, concept: GivenConcept, recording: Recording, layers: Any = None, signals: Any = None) -> Compared:
        """Return what is read of a recording without a control.

        Raises:
            ProbeError: the recording or the concept does not fit.
        """
        parts = parts_of(recording, layers, signals)
        refuse_drawn(recording)
        points = [concept.points(recording, part) for part, _ in parts]
        own = [here.signals(part, wanted) for (part, wanted), here in zip(parts, points, strict=True)]
        near = _near_copies(recording, [part for part, _ in parts], points)
        return cls(concept, recording, parts, points, {OWN: own}, near)

    @property
    def score(self) -> str:
        """What scores are, in words."""
        points = self.points[0]
        return points.score_name + (f" (chance {1 / len(points.labels):.2f})" if points.named else "")

    def warn(self) -> None:
        """Warn where sequences are nearly equal to one of another fold."""
        if self.near:
            warnings.warn(f"{self.near} {NEARLY_EQUAL}", stacklevel=4)

    def read(self, place: int, signal: Signal) -> dict[str, np.ndarray]:
        """Return a signal of each network at the states, this network's first; `place` is that of the layer."""
        return {name: by_part[place][signal] for name, by_part in self.states.items()}

    def reading(self, what: str, read: Sequence[SignalRead]) -> Reading:
        """Return the reading.

        Args:
            what: the title's beginning, up to how many states were read.
            read: what was read off each signal.
        """
        import pandas as pd

        networks = [name for name in self.states if name != OWN]
        rows, summaries = [], []
        for one in read:
            samples = one.samples(self.concept.seed)
            rows += one.rows(samples)
            summaries.append(one.summary(samples, networks))
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table = table.astype({"step": "Int64", "states": "Int64", "sequences": "Int64", "low": float, "high": float})
        summary = pd.DataFrame(summaries)
        title = f"{what}; {count_of(table)}"
        groups = max(points.count if points.grouped else 0 for points in self.points)
        title += f" in {several(groups, 'group')}, each in one fold" if groups else ""
        title += f", beside {several(len(networks), 'other network')}" if networks else ""
        left_out = sorted({label for points in self.points for label in points.left_out})
        if left_out:
            title += f"; left out, in too few sequences{' or groups' if groups else ''}: {', '.join(left_out)}"
        last = "" if networks else "No network was compared: controls=probe.random_weights(model, x)."
        if self.near:
            last += f" {several(self.near, 'sequence')} nearly equal one of another fold: see groups=."
        if self.points[0].two:
            last += f" The concept is {' or '.join(self.points[0].labels)}: two values are categories."
        batch, time = next(iter(self.parts[0][0].signals.values())).shape[:2]
        if batch == time and np.ndim(self.concept.given) > 1:
            last += f" The concept is {batch} x {time}: its rows were taken for sequences, its columns for steps."
        if any(points.inputs is None for points in self.points):
            last += " The recording does not say what was read: every state counts."
        return Reading(title, table.fillna({"unit": ""}), summary, tuple(read), last.strip())


def compare(alone: Sequence[Compared], controls: Mapping[str, Recording] | None) -> list[Compared]:
    """Return what is read of recordings, beside controls.

    Args:
        alone: what is read of each without a control, such as several concepts of one recording.
        controls: recordings by name. One is looked at at a time, so that what holds them may record when it is asked.

    Raises:
        ProbeError: a control does not fit, or is the recording or another control.
    """
    found = [replace(one, states=dict(one.states)) for one in alone]
    for name in controls or ():
        _put_beside(found, name, controls or {})
    return found


def _put_beside(found: Sequence[Compared], name: str, controls: Mapping[str, Recording]) -> None:
    other = controls[name]
    for one in found:
        one.states[name] = _states_of(name, other, one.recording, one.parts, one.points)
        own = _tensors(one.states[name])
        for met, states in one.states.items():
            # The signals that are read may be the same in two networks: whether all are is asked where these are.
            if met != name and same_states(own, _tensors(states)):
                _check_different(name, other, met, one.recording if met == OWN else controls[met], one.parts)


def _near_copies(recording: Recording, parts: Sequence[LayerRecording], points: Sequence[Points]) -> int:
    """Return how many sequences are nearly equal to one of another fold, of the layers' modules the most."""
    most, met = 0, set[str]()
    for part, here in zip(parts, points, strict=True):
        if module_of(part) not in met:
            met.add(module_of(part))
            rows, first = np.unique(here.sequence, return_index=True)
            blocks = [block[rows] for block in sequences_of(recording, part)]
            most = max(most, int(near_copies(blocks, here.fold[first]).sum()))
    return most


def _states_of(
    name: str,
    other: Any,
    recording: Recording,
    parts: Sequence[tuple[LayerRecording, Sequence[Signal]]],
    points: Sequence[Points],
) -> list[dict[Signal, np.ndarray]]:
    """Return the signals of each layer at the states, of a control that is called so.

    Raises:
        ProbeError: it has no name of its own, is no recording, lacks a signal, or was recorded with other sequences.
    """
    if name in RESERVED or re.fullmatch(r"((last|next) )?\d+ inputs?( around)?", name):
        raise ProbeError(f"A control is called {name!r}; give it a name of its own.")
    if not isinstance(other, Recording):
        raise ProbeError(
            f"The control {name!r} is a {type(other).__name__}; give what probe.record(model, x) returned."
        )
    if other.steps != recording.steps:
        raise ProbeError(
            f"The control {name!r} has steps={other.steps} and the recording steps={recording.steps}. Record "
            "both with the same; probe.random_weights(model, x, steps=...) passes it on."
        )
    refuse_drawn(other, f"the control {name!r}")
    return [
        {signal: here.states(_same(name, other, recording, part, signal), signal) for signal in wanted}
        for (part, wanted), here in zip(parts, points, strict=True)
    ]


def _same(name: str, other: Recording, recording: Recording, part: LayerRecording, signal: Signal) -> LayerRecording:
    """Return the layer of a control that stands where a layer of the recording does."""
    for its in other.parts:
        if (its.layer, its.call) == (part.layer, part.call) and signal in its.signals:
            shapes = [tuple(each.signals[signal].shape[:2]) for each in (part, its)]
            if shapes[0] != shapes[1] or part.lengths != its.lengths:
                raise ProbeError(
                    f"The control {name!r} was recorded with sequences of another shape, {shapes[1]} for "
                    f"{shapes[0]} (batch, time), or of other lengths. Record it with the same inputs."
                )
            read = (inputs_of(run, each, shapes[0][1]) for run, each in ((recording, part), (other, its)))
            if not _read_alike(*read, bare=part.layer.startswith("[")):
                raise ProbeError(
                    f"The control {name!r} read other sequences, or in another order. Record it with the same inputs."
                )
            return its
    raise ProbeError(
        f"The control {name!r} holds no {signal} of layer {part.layer!r}, call {part.call}. Record it with the "
        "same inputs, layers and signals."
    )


def _check_different(
    name: str, other: Recording, met: str, its: Recording, parts: Sequence[tuple[LayerRecording, Sequence[Signal]]]
) -> None:
    """Raise where a control is the network itself, or an earlier control, with its units in some order."""
    read = [(part.layer, part.call) for part, _ in parts]
    if is_again(other, [part for part in its.parts if (part.layer, part.call) in read]):
        what = "recording itself" if met == OWN else f"control {met!r}"
        raise ProbeError(
            f"The control {name!r} is the {what}: both have the same states, with their units in some order. "
            "Give the recording of another network; probe.random_weights(model, x, seed=...) draws others."
        )


def _tensors(states: Sequence[Mapping[Signal, np.ndarray]]) -> list[torch.Tensor]:
    return [torch.from_numpy(each) for by_signal in states for each in by_signal.values()]


def _read_alike(one: np.ndarray | None, other: np.ndarray | None, *, bare: bool) -> bool:
    """Return whether both may have read the same sequences.

    Of bare layers the numbers are the same. Networks that embed their inputs read other numbers, none of the same in
    other places, and the same sequences begin alike in both.
    """
    if one is None or other is None or one.shape[:2] != other.shape[:2]:
        return True
    if one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=1e-6, equal_nan=True):
        return True
    if bare or np.array_equal(np.unique(one), np.unique(other)):
        return False
    lengths = np.full(len(one), one.shape[1])
    first, second = (prefix_groups(each, lengths) + np.arange(one.shape[1]) * len(one) for each in (one, other))
    pairs = np.unique(np.column_stack([first.ravel(), second.ravel()]), axis=0)
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))
