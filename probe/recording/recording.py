"""`Recording`: the value of every kept signal, in one run of a model; and how it is written to disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..arguments import NAMES, checked_arguments, whole
from ..errors import ProbeError, require, unknown
from ..recurrent.signals import Signal, Units, as_signal, as_units, shaped
from ..showing import show
from ..storage import digests, tensor_files
from ..storage.files import write_atomically
from ..storage.nested import flatten
from .arrays import as_array
from .frames import tidy, times

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..plots.accessor import RecordingPlots

#: What files say that they are, and what a folder of .npy files holds beside them; `reading` reads both.
FORMAT = "rnn-probe recording 3"
DESCRIPTION = "recording.json"


@dataclass(frozen=True, eq=False)
class LayerRecording:
    """What one call of one layer computed.

    Attributes:
        layer: the layer's name.
        call: which call of the layer in the forward pass, from 0; of a cell, which sequence.
        signals: the values kept, (batch, time, unit) each, in the input's order; NaN where a row has ended.
        initial: the states before the first step, (batch, unit) each.
        lengths: how many steps each row has, or None where all have the same.
        gradients: what `gradient_of=` gave, (batch, time, unit) each.
        shapes: of the states that are matrices, the shape that their units have, row by row, on the unit axis.
        inputs: what the layer's module read at all steps, also those that were not kept, (batch, time, feature), 0
            where a row has ended; of the module's first recorded layer, None of the others.
    """

    layer: str
    call: int
    signals: Mapping[Signal, Tensor]
    initial: Mapping[Signal, Tensor]
    lengths: tuple[int, ...] | None = None
    gradients: Mapping[Signal, Tensor] = field(default_factory=dict)
    shapes: Mapping[Signal, tuple[int, ...]] = field(default_factory=dict)
    inputs: Tensor | None = None

    def shaped(self, signal: Signal, value: Tensor) -> Tensor:
        """Return values of a signal, (..., unit), with the axes of a matrix state."""
        return value.unflatten(-1, self.shapes[signal]) if signal in self.shapes else value

    def extent(self, signal: Signal) -> str:
        """Return the shape of a signal in words: `4 x 12 x 5`, or `4 x 12 x (4 x 2)` of a matrix state."""
        batch, time, units = self.signals[signal].shape
        return shaped((batch, time, f"({shaped(self.shapes[signal])})" if signal in self.shapes else units))


@dataclass(frozen=True, eq=False)
class Recording:
    """The values at sites in one run of a model: a value, never a handle on the model.

    Attributes:
        output: what the model returned.
        parts: what each call of each layer computed, in the order of the calls.
        steps: the steps kept, or None for all of them.
        not_called: layers that the model did not call.
        max_error: the largest difference between the recomputed states and the module's own, relative to
            max(1, |value|), over all layers, calls and steps; None where nothing was compared (`check=False`).
        drawn: whether the model drew random numbers in train mode, as dropout does: another run has other values.
    """

    output: Any = field(repr=False)
    parts: tuple[LayerRecording, ...] = field(repr=False)
    steps: tuple[int, ...] | None
    not_called: tuple[str, ...]
    max_error: float | None
    drawn: bool = False

    def __repr__(self) -> str:
        lines = [
            f"Recording of {len(self.parts)} call{'' if len(self.parts) == 1 else 's'}, {_in_words(self.max_error)}"
        ]
        for part in self.parts:
            shapes: dict[str, list[str]] = {}
            for signal in part.signals:
                shapes.setdefault(part.extent(signal), []).append(str(signal))
            call = f", call {part.call}" if self.calls[part.layer] > 1 else ""
            ragged = f"; rows of {min(part.lengths)} to {max(part.lengths)} steps" if part.lengths else ""
            lines += [
                f"  {part.layer}{call}: {shape} (batch, time, unit): {', '.join(names)}{ragged}"
                for shape, names in shapes.items()
            ]
        lines += [f"  steps kept: {', '.join(map(str, self.steps))}"] if self.steps is not None else []
        lines += [f"  not called: {', '.join(self.not_called)}"] if self.not_called else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the recording in a notebook, in its own colours: what was kept, in numbers."""
        return show(self, "_repr_html_")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers recorded, in the order in which they were first called."""
        return tuple(dict.fromkeys(part.layer for part in self.parts))

    @property
    def calls(self) -> dict[str, int]:
        """How often each layer was called."""
        return {name: sum(part.layer == name for part in self.parts) for name in self.layers}

    @property
    def inputs(self) -> Tensor | None:
        """What the first module recorded read, (batch, time, feature); None in files of earlier versions."""
        return next((part.inputs for part in self.parts if part.inputs is not None), None)

    @checked_arguments(number=whole(0))
    def call(self, number: int) -> Recording:
        """Return the recording of one call of each layer.

        Args:
            number: which call, from 0.

        Raises:
            ProbeError: no layer was called that often.
        """
        parts = tuple(part for part in self.parts if part.call == number)
        if not parts:
            raise ProbeError(f"There is no call {number}; the layers were called {self.calls} times.")
        return replace(self, parts=parts)

    @property
    def gradient(self) -> Recording:
        """What `gradient_of=` gave, as a recording: `recording.gradient[layer, signal]`, (batch, time, unit).

        It is the total derivative of the scalar: through everything that the value led to, later steps included.

        Raises:
            ProbeError: the recording was made without `gradient_of=`.
        """
        if not any(part.gradients for part in self.parts):
            raise ProbeError(
                "The recording holds no gradients; record it with gradient_of=, from the output to a scalar."
            )
        return replace(self, parts=tuple(replace(part, signals=part.gradients, gradients={}) for part in self.parts))

    def __getitem__(self, key: str | tuple[str, str]) -> Tensor:
        """Return a signal, (batch, time, unit): `recording[signal]`, or `recording[layer, signal]`.

        A state that is a matrix has its own axes in place of the unit's: (batch, time, channel, N) in a Mamba.
        """
        words = key if isinstance(key, tuple) else (key,)
        if len(words) not in (1, 2) or not all(isinstance(word, str) for word in words):
            raise ProbeError(f"A recording has no {key!r}; ask for recording[signal] or recording[layer, signal].")
        signal = words[-1]
        part = self._part(words[0]) if len(words) == 2 else self._part(None, signal)
        if signal not in part.signals and signal in tuple(Signal):
            raise ProbeError(
                f"The recording holds no {str(signal)!r} of layer {part.layer!r}; it holds "
                f"{', '.join(map(repr, map(str, part.signals)))}. If the layer computes it, as "
                f"probe.inspect(model) says, record it with signals=[{str(signal)!r}]."
            )
        found = as_signal(signal, part.signals)
        return part.shaped(found, part.signals[found])

    def _ipython_key_completions_(self) -> list[str | tuple[str, str]]:
        """Return what `recording[...]` takes, for completion: signals that one layer has, and layers with signals."""
        return keys((part.layer, signal) for part in self.parts for signal in part.signals)

    @property
    def initial(self) -> _Initial:
        """The states before the first step, (batch, unit): `[signal]` of the only layer, or `[layer, signal]`."""
        return _Initial(self)

    @checked_arguments()
    def lengths(self, layer: str | None = None) -> tuple[int, ...] | None:
        """Return how many steps each row of a layer has, or None where all have the same."""
        return self._part(layer).lengths

    def _part(self, layer: str | None, signal: str | None = None) -> LayerRecording:
        self._require_parts()
        if layer is None:
            # Of several layers, one may be the only one that has the signal.
            having = dict.fromkeys(part.layer for part in self.parts if signal in part.signals)
            chosen = list(having) if len(having) == 1 else self.layers
            if len(chosen) != 1:
                raise ProbeError(
                    f"The recording holds {len(self.layers)} layers ({', '.join(map(repr, self.layers))}); "
                    "name one: [layer, signal]."
                )
            layer = chosen[0]
        parts = [part for part in self.parts if part.layer == layer]
        if not parts:
            raise ProbeError(unknown("recorded layer", layer, self.layers))
        if len(parts) > 1:
            raise ProbeError(
                f"Layer {layer!r} was called {len(parts)} times; choose a call with recording.call(number)."
            )
        return parts[0]

    def _require_parts(self) -> None:
        if not self.parts:
            raise ProbeError(
                f"The recording holds no layer: the model called none of {', '.join(map(repr, self.not_called))}. "
                "Record a call that runs one of them."
            )

    @property
    def plot(self) -> RecordingPlots:
        """Plots of the recording, those of `probe.plots` that take one: `recording.plot.heatmap(row=3)`."""
        return show(self, "plot")

    def to_xarray(self) -> xr.DataTree:
        """Return a DataTree with a node a layer (`layer/call`, where a layer was called several times).

        Each node holds its signals with dims (batch, time, unit); `time` carries the step's index. A signal of
        another width than the first one (a projected hidden state) has a unit axis of its own, and a state that is a
        matrix all of its axes: `ssm_state_0`, `ssm_state_1`.

        Raises:
            ProbeError: xarray is not installed, or the recording holds no layer.
        """
        require("Recording.to_xarray", "xarray", "xarray")
        import xarray as xr

        self._require_parts()
        nodes = {}
        for part in self.parts:
            flat = [value for signal, value in part.signals.items() if signal not in part.shapes]
            widths = list(dict.fromkeys(value.shape[2] for value in flat))
            axes = {width: "unit" if place == 0 else f"unit_{width}" for place, width in enumerate(widths)}
            arrays = {}
            for signal, value in part.signals.items():
                shape = part.shapes.get(signal)
                own = (
                    [axes[value.shape[2]]] if shape is None else [f"{signal}_{place}" for place in range(len(shape))]
                )
                arrays[str(signal)] = (("batch", "time", *own), as_array(part.shaped(signal, value)))
            coordinates: dict[str, Any] = {"time": times(part, self.steps)}
            if part.lengths is not None:
                coordinates["length"] = ("batch", list(part.lengths))
            name = part.layer if self.calls[part.layer] == 1 else f"{part.layer}/{part.call}"
            nodes[name] = xr.Dataset(arrays, coords=coordinates)
        return xr.DataTree.from_dict(nodes)

    @checked_arguments(layer=NAMES)
    def to_frame(
        self,
        *,
        concept: Any = None,
        layer: str | Iterable[str] | None = None,
        signals: Iterable[str] | None = None,
        units: Units = None,
    ) -> pd.DataFrame:
        """Return a tidy table, a row for each number: layer, call, signal, sequence, step, unit, value; no padding.

        `seaborn` and others draw it as it is. The units of a state that is a matrix are counted row by row:
        `numpy.unravel_index(unit, shape)`. A step that was asked for from the end, such as -1, keeps its number.

        Args:
            concept: what `probe.linear_probe` takes, for a column `concept`, or several as `{"ones so far": ones}`, a
                column of its name each. Where it is not defined, the rows stay, with NaN.
            layer: which layer, by name, or which, several names in brackets; None for all.
            signals: which signals, by name; None for all that were recorded.
            units: which units, of every signal; None for all. Of a matrix state index tuples, such as [(3, 5)].

        Raises:
            ProbeError: the recording holds no layer, or none of these layers, signals or units, or a concept is not
                aligned to it.
        """
        self._require_parts()
        return tidy(self.parts, self.steps, given=concept, layers=layer, signals=signals, units=as_units(units))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to one safetensors file; `probe.load_recording` reads it back.

        Raises:
            ProbeError: the output is no tensor, nor tuples, lists and dicts of tensors, or the file cannot
                be written.
        """
        tensors = tensor_names(self)
        described = describe(self) | {"output": flatten(self.output, tensors)}
        write_atomically(path, tensor_files.as_bytes(tensors, {"recording": described}))


class _Initial(Mapping[Any, Tensor]):
    """Initial states by signal, or by layer and signal; an unknown name is told which there are."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __getitem__(self, key: Any) -> Tensor:
        layer, signal = (key[0], str(key[1])) if isinstance(key, tuple) and len(key) == 2 else (None, str(key))
        part = self._recording._part(layer)
        if signal not in part.initial:
            raise ProbeError(unknown("initial state", signal, part.initial))
        return part.shaped(Signal(signal), part.initial[Signal(signal)])

    def _ipython_key_completions_(self) -> list[str | tuple[str, str]]:
        parts = self._recording.parts
        found = keys((part.layer, signal) for part in parts for signal in part.initial)
        # A signal alone stands for the only layer.
        return found if len(parts) == 1 else [key for key in found if isinstance(key, tuple)]

    def __iter__(self) -> Iterator[Signal]:
        return iter(self._recording._part(None).initial)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in list(self)


def keys(pairs: Iterable[tuple[str, str]]) -> list[str | tuple[str, str]]:
    """Return the keys that name one value each: a signal that stands in one pair, and a layer with its signal.

    Args:
        pairs: layers with signals; of a layer that was called several times there are equal ones, which name none.
    """
    counts = Counter((str(layer), str(signal)) for layer, signal in pairs)
    signals = Counter(signal for _, signal in counts.elements())
    once = [pair for pair, count in counts.items() if count == 1]
    return [signal for _, signal in once if signals[signal] == 1] + once


def tensor_names(recording: Recording) -> dict[str, Tensor]:
    """Return the tensors of a recording but its output, by the names that they have on disk."""
    return {
        f"{number}.{kind}.{signal}": value
        for number, part in enumerate(recording.parts)
        for kind, values in _kinds(part).items()
        for signal, value in values.items()
    } | {f"{number}.inputs": part.inputs for number, part in enumerate(recording.parts) if part.inputs is not None}


def _kinds(part: LayerRecording) -> dict[str, Any]:
    return {"signals": part.signals, "initial": part.initial, "gradients": part.gradients}


def describe(recording: Recording) -> dict[str, Any]:
    """Return all of a recording but its tensors, as JSON."""
    return {
        "format": FORMAT,
        "steps": recording.steps,
        "not_called": recording.not_called,
        "max_error": recording.max_error,
        "drawn": recording.drawn,
        "parts": [
            {"layer": part.layer, "call": part.call, "lengths": part.lengths}
            | {kind: list(values) for kind, values in _kinds(part).items()}
            | ({"shapes": {signal: list(shape) for signal, shape in part.shapes.items()}} if part.shapes else {})
            for part in recording.parts
        ],
    }


def write_description(folder: Path, described: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write what the arrays of a folder are.

    Args:
        folder: where they lie.
        described: the recording.
        files: their digests by their names without the ending.
    """
    text = json.dumps(digests.sealed({**described, "files": dict(files)}))
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def errors_together(errors: Sequence[float | None]) -> float | None:
    """Return the largest error, or None where nothing was compared."""
    return max((error for error in errors if error is not None), default=None)


def _in_words(max_error: float | None) -> str:
    return "not compared with the module" if max_error is None else f"largest error {max_error:.3g}"
