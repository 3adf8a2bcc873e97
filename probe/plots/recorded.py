"""What a plot draws of a recording: one layer, one signal, some of its units, without padding."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ProbeError, several, unknown
from ..recording.arrays import as_array
from ..recording.frames import times
from ..recording.recording import Recording
from ..recurrent.signals import Units, as_indices, as_units, flat_units, within

#: What a layer is drawn by where nothing is chosen: the first of these that it has.
STATES = ("cell_state", "hidden_state")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of what was recorded.

    Attributes:
        name: the layer's name, or an empty text where there is only one and it has none.
        signals: by name, (batch, time, unit); a matrix state is flat, row by row.
        shapes: of matrix states, the shape of their units.
        steps: the step of each place in time, from 0, (time,).
        lengths: how many steps each row has, (batch,), or None where that is not said.
        states: which signals are parts of the state.
        complete: whether `lengths=None` says that no row is padded.
    """

    name: str
    signals: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    steps: np.ndarray
    lengths: np.ndarray | None
    states: tuple[str, ...]
    complete: bool

    @property
    def after(self) -> np.ndarray:
        """How many steps were read when each place in time was recorded, (time,); a negative step is refused."""
        if (self.steps < 0).any():
            raise ProbeError(
                f"The recording keeps the steps {', '.join(map(str, self.steps))}. A negative step is another one in "
                "each row, so it has no place on an axis of steps. Record with steps counted from 0."
            )
        return self.steps + 1

    def step_label(self, noun: str) -> str:
        """Return the title of an axis of steps, such as `bits read`."""
        if self.backwards:
            return f"{noun} (read from the last to the first)"
        return noun if noun == "step" else f"{noun}s read"

    def when(self, step: int | np.integer, noun: str) -> str:
        """Return when a state was recorded, in words: `after 3 bits`."""
        return f"at {noun} {step}" if self.backwards else f"after {several(int(step), noun)}"

    @property
    def backwards(self) -> bool:
        """Whether the layer reads the sequence from its end."""
        return re.search(r"\.reverse(/\d+)?$", self.name) is not None


@dataclass(frozen=True, eq=False)
class Chosen:
    """One signal of one layer, ready to be drawn.

    Attributes:
        layer: where it was recorded.
        signal: its name.
        values: (batch, time, unit), float64; NaN at padding.
        units: the units' names in words, such as `cell state 3` or `memory (0, 2)`.
        indices: the same without the signal's name: `3`, `(0, 2)`.
        real: which places are no padding, (batch, time).
    """

    layer: Layer
    signal: str
    values: np.ndarray
    units: tuple[str, ...]
    indices: tuple[str, ...]
    real: np.ndarray

    def row(self, row: Any) -> int:
        """Return the number of a row, counted from 0, which must exist."""
        given = as_indices("row", row)
        if given is None or len(given) != 1:
            raise ProbeError(f"row={row!r} was asked for; one sequence is drawn: name its number.")
        return within("row", given, len(self.values), "the batch")[0]


def words(name: str) -> str:
    """Return a signal's name in words: `cell state`."""
    return name.replace("_", " ")


def layer_of(recording: Any, layer: str | None, signal: str | None = None) -> Layer:
    """Return the layer that is drawn, of a Recording or of what its `to_xarray()` returns.

    Raises:
        ProbeError: it is none of these, there is no such layer, or there are several and none is named.
    """
    found = {one.name: one for one in _layers(recording)}
    if layer is not None:
        if layer not in found:
            raise ProbeError(unknown("recorded layer", layer, found))
        return found[layer]
    having = [one for one in found.values() if signal in one.signals] or list(found.values())
    if len(having) != 1:
        raise ProbeError(
            f"The recording holds {several(len(found), 'layer')} and one is drawn: name it with layer=, one of "
            f"{', '.join(map(repr, found))}."
        )
    return having[0]


def chosen(recording: Any, *, layer: str | None = None, signal: str | None = None, units: Units = None) -> Chosen:
    """Return the values that a plot draws, of the only layer, and of the cell state, else the hidden state, else the
    only state, where none is named.

    Raises:
        ProbeError: one of them does not exist, must be named, or holds what cannot be drawn.
    """
    found = layer_of(recording, layer, signal)
    name = _default(found) if signal is None else str(signal)
    if name not in found.signals:
        raise ProbeError(unknown("recorded signal", name, found.signals))
    values = np.asarray(found.signals[name])
    if np.iscomplexobj(values):
        raise ProbeError(
            f"The signal {name!r} holds complex numbers, which have no single height or colour. Draw a part of it: "
            f"take it from recording.to_xarray(), and give abs(array) or array.real in place of the recording."
        )
    shape = found.shapes.get(name, values.shape[2:])
    places = flat_units(as_units(units), shape, f"the signal {name!r}")
    real = _real(found, values)
    drawn = np.where(real[..., None], values[..., places].astype(float), np.nan)
    if not np.isfinite(drawn[real]).all():
        raise ProbeError(
            f"The signal {name!r} holds NaN or infinite values at steps that are no padding. Draw the steps or rows "
            "before them."
        )
    if not real.any():
        raise ProbeError("The recording holds no step of any row: there is nothing to draw.")
    indices = tuple(_index(place, shape) for place in places)
    return Chosen(found, name, drawn, tuple(f"{words(name)} {one}" for one in indices), indices, real)


def _index(place: int, shape: tuple[int, ...]) -> str:
    if len(shape) < 2:
        return str(place)
    return f"({', '.join(str(int(one)) for one in np.unravel_index(place, shape))})"


def _default(layer: Layer) -> str:
    for name in STATES:
        if name in layer.signals:
            return name
    parts = [name for name in layer.states if name in layer.signals and name != "output"]
    kept = parts or [name for name in layer.signals if name != "output"] or list(layer.signals)
    if len(kept) != 1:
        raise ProbeError(
            f"The layer {layer.name!r} has neither a cell state nor a hidden state; name what is drawn with signal=, "
            f"one of {', '.join(map(repr, layer.signals))}."
        )
    return kept[0]


def _real(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Return which places are no padding, (batch, time)."""
    if layer.lengths is not None:
        lengths = layer.lengths[:, None]
        return (layer.steps < lengths) & (layer.steps >= -lengths)
    if layer.complete:
        return np.ones(values.shape[:2], bool)
    # Padding lies at the end of a row; a NaN between two values is none, and is refused later.
    missing = np.asarray(np.isnan(values).all(axis=2))
    return ~np.logical_and.accumulate(missing[:, ::-1], axis=1)[:, ::-1]


def _layers(recording: Any) -> list[Layer]:
    if isinstance(recording, Recording):
        return _of_recording(recording)
    # Who gives an object of xarray has imported it.
    xr = sys.modules.get("xarray")
    if xr is not None and isinstance(recording, xr.DataTree):
        nodes = [node for node in recording.subtree if node.data_vars]
        return [_of_dataset(node.to_dataset(), node.path.strip("/")) for node in nodes]
    if xr is not None and isinstance(recording, xr.Dataset):
        return [_of_dataset(recording, "")]
    if xr is not None and isinstance(recording, xr.DataArray):
        return [_of_dataset(recording.to_dataset(name=recording.name or "value"), "")]
    raise ProbeError(
        f"A {type(recording).__name__} was given to be drawn; give a Recording, or an xarray object with the dims "
        "(batch, time, unit)."
    )


def _of_recording(recording: Recording) -> list[Layer]:
    recording._require_parts()
    return [
        Layer(
            part.layer if recording.calls[part.layer] == 1 else f"{part.layer}/{part.call}",
            {str(signal): as_array(value) for signal, value in part.signals.items()},
            {str(signal): shape for signal, shape in part.shapes.items()},
            np.asarray(times(part, recording.steps)),
            None if part.lengths is None else np.asarray(part.lengths),
            tuple(map(str, part.initial)),
            complete=True,
        )
        for part in recording.parts
    ]


def _of_dataset(dataset: Any, name: str) -> Layer:
    signals, shapes = {}, {}
    for signal, array in dataset.data_vars.items():
        if array.dims[:2] != ("batch", "time") or array.ndim < 3:
            raise ProbeError(
                f"The array {str(signal)!r} has the dims ({', '.join(map(str, array.dims))}); what is drawn has the "
                "dims (batch, time, unit), or more axes after time where a state is a matrix."
            )
        values = np.asarray(array.values)
        signals[str(signal)] = values.reshape(*values.shape[:2], math.prod(values.shape[2:]))
        if values.ndim > 3:
            shapes[str(signal)] = values.shape[2:]
    steps = np.asarray(dataset["time"].values)
    if steps.dtype.kind not in "iu":
        raise ProbeError(f"The coordinate time holds {steps.dtype}; it must hold the numbers of steps, from 0.")
    lengths = np.asarray(dataset["length"].values) if "length" in dataset.coords else None
    return Layer(name, signals, shapes, steps, lengths, (), complete=False)
