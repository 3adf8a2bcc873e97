"""The distinct states of a recording at which a concept has a value, and the fold of each one's sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError, several, unknown
from ..evidence.words import listed
from ..methods.probing.controls import clock_features, inputs_read
from ..methods.probing.groups import by_sequence, check_folds, folds_of, group_codes
from ..methods.probing.linear import Fit, LeastSquares, LinearProbe, Ridge
from ..methods.probing.prefixes import prefix_groups, turned
from ..methods.probing.scores import Score, of_categories, of_numbers
from ..methods.probing.targets import LEAST_SEQUENCES, Target, chosen, often
from ..recording.aligned import aligned, check_finite
from ..recording.recording import LayerRecording, Recording
from ..recurrent.signals import Signal

if TYPE_CHECKING:
    import pandas as pd

#: States of sequences that begin alike are the same one up to this, relative to max(1, |state|).
ALIKE = 1e-3
#: Which inputs a state depends on: those up to its step, those from it on, or all.
BEGINNING, END, WHOLE = "beginning", "end", "whole"
#: Up to so many steps each is a bin of its own, for what the step alone tells.
BINS = 500
#: The ways to fit a probe that take two values for numbers.
OF_NUMBERS = (Ridge.name, LeastSquares.name)
#: The control that reads nothing but the step.
STEP = "step alone"
#: The control that reads nothing at all.
CHANCE = "one answer for all"


@dataclass(frozen=True, eq=False, kw_only=True)
class Points(Target):
    """The states of a layer that probes of a concept are fitted and scored on.

    Attributes:
        place: of each state, on the recorded time axis, (state,); `sequence` is its row of the batch.
        labels: the categories, in the order of their places; none of a number.
        two: whether they are two numbers, which were taken for categories.
        inputs: what the layer read around each state, (state, number), or None where the recording does not say.
        read: how many inputs that are, in words.
        left_out: the categories that stand in too few sequences, or in one group.
        grouped: whether groups were given.
    """

    place: np.ndarray
    labels: tuple[str, ...]
    two: bool
    inputs: np.ndarray | None
    read: str
    left_out: tuple[str, ...]
    grouped: bool

    def at(self, rows: np.ndarray) -> Points:
        """Return some of the states."""
        parts = ("values", "sequence", "group", "fold", "bin", "step", "left", "place", "inputs")
        return replace(self, **{name: _rows(getattr(self, name), rows) for name in parts})

    def controls(self) -> Mapping[str, np.ndarray]:
        """Return what stands beside every network: the features of the step alone, and those of the inputs."""
        found = {STEP: clock_features(self.step, self.bin, self.left)}
        return found if self.inputs is None else found | {self.read: self.inputs}

    def states(self, part: LayerRecording, signal: Signal) -> np.ndarray:
        """Return a signal at the states, (state, number): a complex one as its real and its imaginary parts.

        Raises:
            ProbeError: a state is no finite number.
        """
        value = part.signals[signal]
        where = [torch.as_tensor(each, device=value.device) for each in (self.sequence, self.place)]
        found = numbers(value[where[0], where[1]])
        wrong = np.argwhere(~np.isfinite(found))
        if len(wrong):
            state, unit = wrong[0]
            raise ProbeError(
                f"{signal} of layer {part.layer!r} is {found[state, unit]} at row {self.sequence[state]}, step "
                f"{self.step[state]}, unit {unit}. Leave the sequence out, or make the concept NaN there."
            )
        return found

    def signals(self, part: LayerRecording, wanted: Iterable[Signal]) -> dict[Signal, np.ndarray]:
        """Return some signals at the states; see `states`."""
        return {signal: self.states(part, signal) for signal in wanted}

    def beside(self, fit: Fit) -> dict[str, Score]:
        """Return what probes read without a network: off the step, off the inputs, and one answer for all states.

        That answer is the mean of a number, or any one category.
        """
        found = {name: self.score(features, fit) for name, features in self.controls().items()}
        answer = np.full(len(self.values), 0.0 if self.named else self.values.mean())
        of = of_categories if self.named else of_numbers
        return found | {CHANCE: of(self.values, answer, self.group, self.count)}

    def probe(self, fit: Fit, states: np.ndarray) -> LinearProbe:
        """Return the probe of all states, (state, number), in their own numbers."""
        return fit.fitted(states, self.values[:, None], by_sequence(self.fold))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each state: its row of the batch, its place on the time axis, its value, and its fold."""
        import pandas as pd

        values = np.array(self.labels)[self.values.astype(int)] if self.named else self.values
        return pd.DataFrame({"row": self.sequence, "place": self.place, "value": values, "fold": self.fold})


def _inputs_around(x: np.ndarray, sequence: np.ndarray, step: np.ndarray, depends: str) -> tuple[np.ndarray, str]:
    """Return the inputs around each state that it depends on, (state, number), and which they are, in words."""
    return inputs_read(torch.as_tensor(x), sequence, step, before=depends != END, after=depends != BEGINNING)


def _codes(values: np.ndarray, *, named: bool) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the categories, in order, and the place of each state's; of a number no categories, and the numbers."""
    if not named:
        return (), values.astype(float)
    levels, codes = np.unique(values if values.dtype.kind in "biuf" else values.astype(str), return_inverse=True)
    # A whole number is written as one; all its digits tell it from the other.
    return tuple(str(level).removesuffix(".0") for level in levels), codes


def _rows(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else values[rows]


def numbers(value: Tensor) -> np.ndarray:
    """Return values as numbers, (..., number), float64: of complex ones the real and the imaginary parts."""
    value = value.detach().cpu()
    if value.is_complex():
        return np.concatenate([value.real.double().numpy(), value.imag.double().numpy()], axis=-1)
    return value.double().numpy()


@dataclass(frozen=True, eq=False)
class GivenConcept:
    """A concept as it was given, with what draws its states.

    Attributes:
        given: its values.
        name: what it is called.
        folds: into how many parts the sequences are cut.
        seed: of parts and draws.
        groups: a value for each sequence: all sequences with the same value are in one part. None where each stands
            for itself.
        fit: how probes are fitted, by name, or None for the concept's own way. Two numbers are categories, as two
            texts are, but for a way to fit numbers.
    """

    given: Any
    name: str
    folds: int
    seed: int
    groups: Any = None
    fit: str | None = None

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
        values = aligned(self.given, batch, time, f"Beside layer {part.layer!r} {self.called}")
        check_finite(values, self.called)
        x = inputs_of(recording, part, time)
        steps, lengths = _steps(recording, part, time, None if x is None else x.shape[1])
        here = values.known & (steps >= 0) & (steps < lengths[:, None])
        two = values.numeric and self.fit not in OF_NUMBERS and len(np.unique(values.values[here])) == 2
        named = two or not values.numeric
        shared, depends = _shared_places(recording, part, x, steps, lengths)
        rng = np.random.default_rng(int(self.seed))
        sequence, place = _one_of_each(np.where(here, shared, -1), rng.permutation(batch))
        labels, codes = _codes(values.values[sequence, place], named=named)
        left_out, groups = (), group_codes(self.groups, batch)
        if named:
            kept = often(codes, sequence, sequence if groups is None else groups[sequence])
            left_out = tuple(labels[code] for code in np.unique(codes[~kept]))
            sequence, place, codes = sequence[kept], place[kept], codes[kept]
        self._check(codes, labels, sequence)
        picked = chosen(codes, rng, named=named)
        sequence, place, codes = sequence[picked], place[picked], codes[picked]
        if named:
            present, codes = np.unique(codes, return_inverse=True)
            labels = tuple(labels[code] for code in present)
        step, longest = steps[sequence, place], int(lengths.max())
        around, read = (None, "") if x is None else _inputs_around(x, sequence, step, depends)
        group, fold = folds_of(sequence, groups, self.folds, rng)
        if groups is not None:
            check_folds(int(group.max()) + 1, self.folds, what=f"{self.called} has a value")
        return Points(
            values=codes.astype(float),
            named=named,
            sequence=sequence,
            group=group,
            fold=fold,
            bin=step if longest <= BINS else step * BINS // longest,
            step=step,
            count=batch if groups is None else int(group.max()) + 1,
            left=lengths[sequence] - 1 - step if depends != BEGINNING else None,
            place=place,
            labels=labels,
            two=two,
            inputs=around,
            read=read,
            left_out=left_out,
            grouped=groups is not None,
        )

    def _check(self, codes: np.ndarray, labels: tuple[str, ...], sequence: np.ndarray) -> None:
        count, least = len(np.unique(sequence)), max(LEAST_SEQUENCES, 2 * self.folds)
        if count < least:
            raise ProbeError(
                f"{self.called} has a value in {several(count, 'sequence')}, where sequences that share a state "
                f"count once; a probe with {self.folds} folds needs {least}. Give more sequences, or a value at more "
                "steps."
                + (" A category that stands in one group is left out." if labels and self.groups is not None else "")
            )
        if len(np.unique(codes)) < 2:
            only = labels[int(codes[0])] if labels else f"{codes[0]:g}"
            raise ProbeError(
                f"{self.called} is {only} at every state, and a value that does not vary cannot be read."
                + (f" Other categories stand in fewer than {LEAST_SEQUENCES} sequences each." if labels else "")
            )


def sequences_of(recording: Recording, part: LayerRecording) -> list[np.ndarray]:
    """Return what makes each sequence that a layer read: inputs, length and initial state, (sequence, number) each.

    Where the recording does not say what was read, the layer's states stand for the inputs.
    """
    signals = [*part.signals.values()]
    batch, time = signals[0].shape[:2]
    x = inputs_of(recording, part, time)
    read = [np.nan_to_num(x)] if x is not None else [np.nan_to_num(numbers(value)) for value in signals]
    _, lengths = _steps(recording, part, time, None if x is None else x.shape[1])
    steps = (np.arange(lengths.max()) < lengths[:, None]).astype(float)
    return [each.reshape(batch, -1) for each in (*read, steps, *_initial_states(recording, batch))]


def _initial_states(recording: Recording, batch: int) -> list[np.ndarray]:
    """Return the initial states of all layers, (sequence, number) each."""
    every = [state for part in recording.parts for state in part.initial.values() if len(state) == batch]
    return [numbers(state).reshape(batch, -1) for state in every]


def inputs_of(recording: Recording, part: LayerRecording, time: int) -> np.ndarray | None:
    """Return what a layer's module read, (sequence, time, number), or None if the recording does not say.

    Of a module that reads the states of a recorded layer as they are, it is what that layer's module read.
    """
    own = [other for other in recording.parts if (other.call, module_of(other)) == (part.call, module_of(part))]
    x = next((other.inputs for other in own if other.inputs is not None), None)
    if x is None or not x.shape[2] or (recording.steps is None and x.shape[1] != time):
        return None
    for below in recording.parts[: recording.parts.index(own[0])]:
        states = [value for value in below.signals.values() if value.shape == x.shape]
        if any(torch.equal(value.nan_to_num(), x) for value in states):
            return inputs_of(recording, below, time)
    return numbers(x)


def module_of(part: LayerRecording) -> str:
    """Return the name of a layer's module: without the number of the layer and its direction."""
    name = part.layer.removesuffix(".reverse")
    return name[: name.rindex("[")] if name.endswith("]") else name


def _steps(
    recording: Recording, part: LayerRecording, time: int, longest: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the step of each place of the time axis, (sequence, place), and each sequence's length."""
    batch = next(iter(part.signals.values())).shape[0]
    kept = np.arange(time) if recording.steps is None else np.array(recording.steps)
    whole = longest or max(time, int(kept.max(initial=-1)) + 1)
    lengths = np.full(batch, whole) if part.lengths is None else np.array(part.lengths)
    return np.where(kept < 0, kept + lengths[:, None], kept), lengths


def _shared_places(
    recording: Recording, part: LayerRecording, x: np.ndarray | None, steps: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, str]:
    """Return which places hold one state, (sequence, place), a number each, and which inputs the states depend on.

    Sequences that begin alike, after the same initial state, share a state if the layer reads from the beginning,
    and sequences that end alike if it reads from the end. The states themselves decide whether they do.
    """
    back = part.layer.endswith(".reverse")
    own = [other for other in recording.parts if module_of(other) == module_of(part)]
    others = any(other.layer.endswith(".reverse") for other in own)
    tried = (END, WHOLE) if back else (BEGINNING, WHOLE) if part.inputs is not None or not others else (WHOLE,)
    alone = np.arange(steps.size).reshape(steps.shape)
    if x is None:
        return alone, tried[0]
    initial = np.column_stack([np.zeros(len(x)), *_initial_states(recording, len(x))])
    starts = np.unique(initial, axis=0, return_inverse=True)[1]
    # A number for each prefix of each length, and the same of the sequences from their ends.
    size = np.arange(x.shape[1]) * len(x)
    begun = prefix_groups(x, lengths, starts.ravel()) + size
    ended = turned(prefix_groups(turned(x, lengths), lengths, starts.ravel()) + size, lengths)
    numbered = {BEGINNING: begun, END: ended, WHOLE: begun * x.size + ended}
    at = np.clip(steps, 0, x.shape[1] - 1)
    real = (steps >= 0) & (steps < lengths[:, None])
    for depends in tried:
        groups = np.where(real, np.take_along_axis(numbered[depends], at, axis=1), -1)
        if all(_shared(value, groups) for value in part.signals.values()):
            return groups, depends
    return alone, tried[0]


def _one_of_each(groups: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one place of each group, as sequences and places: of the sequence that is first in an order."""
    number, first = np.unique(groups[order], return_index=True)
    row, place = np.divmod(first[number >= 0], groups.shape[1])
    sequence = order[row]
    sort = np.lexsort([place, sequence])
    return sequence[sort], place[sort]


def _shared(value: Tensor, groups: np.ndarray) -> bool:
    """Return whether the states of each group are the same up to rounding."""
    here = np.flatnonzero(groups.ravel() >= 0)
    _, first, inverse = np.unique(groups.ravel()[here], return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(here)))
    every = value.flatten(0, 1)
    for some in np.array_split(again, -(-len(again) // 10_000)) if len(again) else ():
        own, shared = (numbers(every[here[rows]]) for rows in (some, first[inverse[some]]))
        if not (np.abs(own - shared) <= ALIKE * np.maximum(1, np.abs(own))).all():
            return False
    return True


def parts_of(recording: Recording, layers: Any, signals: Any) -> list[tuple[LayerRecording, list[Signal]]]:
    """Return the layers that are read, and the signals of each.

    Args:
        recording: where they are.
        layers: names, or None for all.
        signals: names, or None for all that were recorded.

    Raises:
        ProbeError: it is no recording, holds no such layer or signal, or a layer was called several times.
    """
    if not isinstance(recording, Recording):
        raise ProbeError(
            f"recording is a {type(recording).__name__}; give what probe.record(model, x) returned, or "
            "probe.load_recording."
        )
    if not recording.parts:
        raise ProbeError(f"recording holds no layer: the model called none of {listed(recording.not_called)}.")
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
