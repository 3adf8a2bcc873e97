"""The distinct states of a recording at which a concept has a value, and the fold of each one's sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several, unknown
from ..evidence.words import listed
from ..methods.probing.controls import MOST_BINS, clock_features, inputs_around
from ..methods.probing.prefixes import first_of_group, prefix_groups, turned
from ..methods.probing.targets import LEAST_SEQUENCES, Target, chosen, often
from ..recording.aligned import Aligned, aligned
from ..recording.recording import LayerRecording, Recording
from ..recurrent.signals import Signal

if TYPE_CHECKING:
    import pandas as pd

#: The control on the last inputs reads at most so many steps, and at most so many numbers.
LAST_STEPS, LAST_NUMBERS = 4, 256
#: States of sequences that begin alike are the same one up to this, relative to max(1, |state|).
ALIKE = 1e-3
#: Which inputs a state depends on: those up to its step, those from it on, or all.
BEGINNING, END, WHOLE = "beginning", "end", "whole"


@dataclass(frozen=True, eq=False, kw_only=True)
class Points(Target):
    """The states of a layer that probes of a concept are fitted and scored on.

    Attributes:
        place: of each state, on the recorded time axis, (state,); `sequence` is its row of the batch.
        labels: the categories, in the order of their places; none of a number.
        inputs: what the layer read around each state, (state, number), or None where the recording does not say.
        read: how many inputs that are, in words.
        left_out: the categories that stand in too few sequences.
    """

    place: np.ndarray
    labels: tuple[str, ...]
    inputs: np.ndarray | None
    read: str
    left_out: tuple[str, ...]

    def at(self, rows: np.ndarray) -> Points:
        """Return some of the states."""
        parts = ("values", "sequence", "fold", "bin", "step", "left", "place", "inputs")
        return replace(self, **{name: _rows(getattr(self, name), rows) for name in parts})

    def controls(self) -> Mapping[str, np.ndarray]:
        """Return what stands beside every network: the features of the step alone, and those of the inputs."""
        found = {"step alone": clock_features(self.step, self.bin, self.left)}
        return found if self.inputs is None else found | {self.read: self.inputs}

    def states(self, part: LayerRecording, signal: Signal) -> np.ndarray:
        """Return a signal at the states, (state, number): a complex one as its real and its imaginary parts.

        Raises:
            ProbeError: a state is no finite number.
        """
        found = numbers(part.signals[signal])[self.sequence, self.place]
        wrong = np.argwhere(~np.isfinite(found))
        if len(wrong):
            state, unit = wrong[0]
            raise ProbeError(
                f"{signal} of layer {part.layer!r} is {found[state, unit]} at row {self.sequence[state]}, step "
                f"{self.step[state]}, unit {unit}. Leave the sequence out, or make the concept NaN there."
            )
        return found

    @property
    def table(self) -> pd.DataFrame:
        """A row for each state: its row of the batch, its place on the time axis, its value, and its fold."""
        import pandas as pd

        values = np.array(self.labels)[self.values.astype(int)] if self.named else self.values
        return pd.DataFrame({"row": self.sequence, "place": self.place, "value": values, "fold": self.fold})


def _rows(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else values[rows]


def numbers(value: Tensor) -> np.ndarray:
    """Return a signal as numbers, (batch, time, number), float64."""
    value = value.detach().cpu()
    if value.is_complex():
        return np.concatenate([value.real.double().numpy(), value.imag.double().numpy()], axis=2)
    return value.double().numpy()


@dataclass(frozen=True, eq=False)
class GivenConcept:
    """A concept as it was given, with what draws its states.

    Attributes:
        given: its values.
        name: what it is called.
        folds: into how many parts the sequences are cut.
        seed: of parts and draws.
    """

    given: Any
    name: str
    folds: int
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or self.folds < 2:
            raise ProbeError(f"folds={self.folds!r} must be a whole number, 2 or more.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ProbeError(f"seed={self.seed!r} must be a whole number from 0.")

    @property
    def called(self) -> str:
        """The concept in a sentence."""
        return f"“{self.name}”" if self.name else "the concept"

    def points(self, recording: Recording, part: LayerRecording) -> Points:
        """Return the states of a layer at which the concept has a value.

        A state that several sequences share, since they began alike, counts once, in one of them that is drawn by
        the seed. Of a layer that reads from the end the same holds for sequences that end alike.

        Args:
            recording: what the layer is a part of.
            part: the layer.

        Raises:
            ProbeError: the concept does not fit the recording, does not vary, or is defined in too few sequences.
        """
        batch, time = next(iter(part.signals.values())).shape[:2]
        values = aligned(self.given, batch, time, self.called)
        x = _inputs(recording, part, time)
        steps, lengths = _steps(recording, part, time, None if x is None else x.shape[1])
        here = values.known & (steps >= 0) & (steps < lengths[:, None])
        groups, depends = _groups(part, x, steps, lengths)
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(batch)
        counted = np.zeros_like(here)
        counted[order] = first_of_group(np.where(here, groups, -1)[order])
        sequence, place = np.nonzero(counted)
        labels, codes = self._codes(values, sequence, place)
        left_out = ()
        if not values.numeric:
            kept = often(codes, sequence)
            left_out = tuple(labels[code] for code in np.unique(codes[~kept]))
            sequence, place, codes = sequence[kept], place[kept], codes[kept]
        self._check(codes, labels, sequence)
        picked = chosen(codes, rng, named=not values.numeric)
        sequence, place, codes = sequence[picked], place[picked], codes[picked]
        if not values.numeric:
            present, codes = np.unique(codes, return_inverse=True)
            labels = tuple(labels[code] for code in present)
        step, longest = steps[sequence, place], int(lengths.max())
        around, read = _around(x, sequence, step, depends)
        return Points(
            values=codes.astype(float),
            named=not values.numeric,
            sequence=sequence,
            fold=(rng.permutation(batch) % self.folds)[sequence],
            bin=step if longest <= MOST_BINS else step * MOST_BINS // longest,
            step=step,
            count=batch,
            left=lengths[sequence] - 1 - step if depends != BEGINNING else None,
            place=place,
            labels=() if values.numeric else labels,
            inputs=around,
            read=read,
            left_out=left_out,
        )

    def _codes(self, values: Aligned, sequence: np.ndarray, place: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the categories and the place of each state's, or no categories and its number."""
        own = values.values[sequence, place]
        if values.numeric:
            return (), own.astype(float)
        labels, codes = np.unique(own.astype(str), return_inverse=True)
        return tuple(labels.tolist()), codes

    def _check(self, codes: np.ndarray, labels: tuple[str, ...], sequence: np.ndarray) -> None:
        count, least = len(np.unique(sequence)), max(LEAST_SEQUENCES, 2 * self.folds)
        if count < least:
            raise ProbeError(
                f"{self.called} has a value in {several(count, 'sequence')}, where sequences that share a state "
                f"count once; a probe with {self.folds} folds needs {least}. Give more sequences, or a value at more "
                "steps."
            )
        if len(np.unique(codes)) < 2:
            only = labels[int(codes[0])] if labels else f"{codes[0]:g}"
            raise ProbeError(
                f"{self.called} is {only} at every state, and a value that does not vary cannot be read."
                + (f" Other categories stand in fewer than {LEAST_SEQUENCES} sequences each." if labels else "")
            )


def _inputs(recording: Recording, part: LayerRecording, time: int) -> np.ndarray | None:
    """Return what the lowest layer read at the same steps, (sequence, time, number), or None if nobody says."""
    batch = next(iter(part.signals.values())).shape[0]
    for other in recording.parts:
        x = other.inputs
        fits = x is not None and other.call == part.call and len(x) == batch
        if x is not None and fits and (x.shape[1] == time or recording.steps is not None):
            return numbers(x)
    return None


def _steps(
    recording: Recording, part: LayerRecording, time: int, longest: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the step of each place of the time axis, (sequence, place), and each sequence's length."""
    batch = next(iter(part.signals.values())).shape[0]
    kept = np.arange(time) if recording.steps is None else np.array(recording.steps)
    whole = (longest or max(time, int(kept.max()) + 1)) if len(kept) else time
    lengths = np.full(batch, whole) if part.lengths is None else np.array(part.lengths)
    return np.where(kept < 0, kept + lengths[:, None], kept), lengths


def _groups(
    part: LayerRecording, x: np.ndarray | None, steps: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, str]:
    """Return which sequences share a state at each place, and which inputs the states depend on.

    The states themselves decide: sequences that began alike share a state only if the layer reads from the
    beginning, and starts alike in all of them.
    """
    back = part.layer.endswith(".reverse")
    alone = np.broadcast_to(np.arange(len(steps))[:, None], steps.shape)
    if x is None:
        return alone, WHOLE if back else BEGINNING
    begun = prefix_groups(x, lengths)
    ended = turned(prefix_groups(turned(x, lengths), lengths), lengths)
    # A pair of numbers below the batch's size as one number.
    tried = {BEGINNING: begun, END: ended, WHOLE: begun * len(x) + ended}
    at = np.clip(steps, 0, x.shape[1] - 1)
    real = (steps >= 0) & (steps < lengths[:, None])
    for depends in (END, WHOLE) if back else (BEGINNING, WHOLE):
        groups = np.where(real, np.take_along_axis(tried[depends], at, axis=1), -1)
        if all(_shared(numbers(value), groups) for value in part.signals.values()):
            return groups, depends
    return alone, WHOLE


def _shared(values: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether the states of each group at a place are the same up to rounding."""
    for place, group in enumerate(groups.T):
        rows = np.flatnonzero(group >= 0)
        _, first, inverse = np.unique(group[rows], return_index=True, return_inverse=True)
        if len(first) == len(rows):
            continue
        own, shared = values[rows, place], values[rows[first], place][inverse.ravel()]
        if not (np.abs(own - shared) <= ALIKE * np.maximum(1, np.abs(own))).all():
            return False
    return True


def _around(
    x: np.ndarray | None, sequence: np.ndarray, step: np.ndarray, depends: str
) -> tuple[np.ndarray | None, str]:
    """Return the inputs that the control reads at each state, and what it is called."""
    if x is None:
        return None, ""
    count = int(np.clip(LAST_NUMBERS // max(x.shape[2], 1), 1, min(LAST_STEPS, x.shape[1])))
    away = range(1 - count, 1 if depends == BEGINNING else count)
    name = f"last {count} inputs" if depends == BEGINNING else f"{2 * count - 1} inputs around"
    return inputs_around(torch.as_tensor(x), sequence, step, away), name


def parts_of(
    recording: Recording, layers: Any, signals: Any, argument: str = "recording"
) -> list[tuple[LayerRecording, list[Signal]]]:
    """Return the layers that are read, and the signals of each.

    Args:
        recording: where they are.
        layers: names, or None for all.
        signals: names, or None for all that were recorded.
        argument: what the recording was given as, for messages.

    Raises:
        ProbeError: it is no recording, holds no such layer or signal, or a layer was called several times.
    """
    if not isinstance(recording, Recording):
        raise ProbeError(
            f"{argument} is a {type(recording).__name__}; give what probe.record(model, x) returned, or "
            "probe.load_recording."
        )
    for name, given in (("layers", layers), ("signals", signals)):
        if isinstance(given, str):
            raise ProbeError(f"{name}={given!r} must be several names: {name}=[{given!r}].")
    if not recording.parts:
        raise ProbeError(f"{argument} holds no layer: the model called none of {listed(recording.not_called)}.")
    for name in layers or ():
        if name not in recording.layers:
            raise ProbeError(unknown("recorded layer", name, recording.layers))
    chosen_parts = [part for part in recording.parts if layers is None or part.layer in layers]
    several_calls = [name for name, count in recording.calls.items() if count > 1 and (not layers or name in layers)]
    if several_calls:
        raise ProbeError(
            f"Layer {several_calls[0]!r} was called {recording.calls[several_calls[0]]} times. Read one call: "
            "recording.call(0)."
        )
    every = {signal for part in chosen_parts for signal in part.signals}
    for name in signals or ():
        if name not in every:
            raise ProbeError(unknown("recorded signal", name, sorted(every)))
    wanted = [(part, [s for s in part.signals if signals is None or s in signals]) for part in chosen_parts]
    return [(part, own) for part, own in wanted if own]
