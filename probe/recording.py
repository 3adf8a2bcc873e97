"""Records what every recurrent layer of a model computed during one call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsIndex

import torch
from torch import Tensor, nn

from . import engine
from .edits import Edit, applied_to, intervene
from .errors import ProbeError, unknown
from .files import write_atomically
from .layers import Layer, find_layers
from .nested import flatten, unflatten
from .signals import Signal, as_indices, as_signal, within

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray as xr


_FORMAT = "rnn-probe recording 1"


@dataclass(frozen=True, eq=False)
class LayerRecording:
    """What one call of one layer computed.

    Attributes:
        layer: the layer's name.
        call: which call of the layer in the forward pass, from 0.
        signals: the values kept, (batch, time, unit) each.
        initial: the states before the first step, (batch, unit) each.
    """

    layer: str
    call: int
    signals: Mapping[Signal, Tensor]
    initial: Mapping[Signal, Tensor]


@dataclass(frozen=True, eq=False)
class Recording:
    """The values at sites for one call of a model: a value, never a handle on the model.

    Attributes:
        output: what the model returned.
        parts: what each call of each layer computed, in the order of the calls.
        steps: the steps kept, or None for all of them.
        not_called: layers that the model did not call.
        max_error: the largest difference between the recomputed states and the module's own, relative to
            max(1, |value|), over all layers, calls and steps.
    """

    output: Any = field(repr=False)
    parts: tuple[LayerRecording, ...] = field(repr=False)
    steps: tuple[int, ...] | None
    not_called: tuple[str, ...]
    max_error: float

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers recorded, in the order in which they were first called."""
        return tuple(dict.fromkeys(part.layer for part in self.parts))

    @property
    def calls(self) -> dict[str, int]:
        """How often each layer was called."""
        return {name: sum(part.layer == name for part in self.parts) for name in self.layers}

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
        return Recording(self.output, parts, self.steps, self.not_called, self.max_error)

    def __getitem__(self, key: str | tuple[str, str]) -> Tensor:
        """Return a signal, (batch, time, unit): `recording[signal]`, or `recording[layer, signal]`."""
        words = key if isinstance(key, tuple) else (key,)
        if len(words) not in (1, 2) or not all(isinstance(word, str) for word in words):
            raise ProbeError(f"A recording has no {key!r}; ask for recording[signal] or recording[layer, signal].")
        part = self._part(None if len(words) == 1 else words[0])
        signal = words[-1]
        if signal not in part.signals and signal in tuple(Signal):
            raise ProbeError(
                f"The signal {str(signal)!r} was not kept; record it with signals=[{str(signal)!r}]. "
                f"The recording holds {', '.join(map(repr, map(str, part.signals)))}."
            )
        return part.signals[as_signal(signal, part.signals)]

    @property
    def initial(self) -> Mapping[Signal, Tensor]:
        """The states before the first step, (batch, unit) each, of the only layer."""
        return _Initial(self._part(None).initial)

    def _part(self, layer: str | None) -> LayerRecording:
        self._require_parts()
        if layer is None:
            if len(self.layers) != 1:
                raise ProbeError(
                    f"The recording holds {len(self.layers)} layers ({', '.join(map(repr, self.layers))}); "
                    "name one: recording[layer, signal]."
                )
            layer = self.layers[0]
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

    def to_xarray(self) -> xr.DataTree:
        """Return a DataTree with a node a layer (`layer/call`, where a layer was called several times).

        Each node holds its signals with dims (batch, time, unit); `time` carries the step's index.
        """
        import xarray as xr

        self._require_parts()
        nodes = {}
        for part in self.parts:
            arrays = {
                str(signal): (("batch", "time", "unit"), _as_array(value)) for signal, value in part.signals.items()
            }
            length = next(iter(part.signals.values())).shape[1]
            name = part.layer if self.calls[part.layer] == 1 else f"{part.layer}/{part.call}"
            nodes[name] = xr.Dataset(arrays, coords={"time": list(self.steps or range(length))})
        return xr.DataTree.from_dict(nodes)

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: layer, call, batch, step, unit and a column a signal."""
        import numpy as np
        import pandas as pd

        self._require_parts()
        tables = []
        for part in self.parts:
            values = {str(signal): _as_array(value) for signal, value in part.signals.items()}
            shape = next(iter(values.values())).shape
            batch, time, unit = (axis.ravel() for axis in np.indices(shape))
            steps = np.asarray(self.steps or range(shape[1]))
            tables.append(
                pd.DataFrame(
                    {
                        "layer": part.layer,
                        "call": part.call,
                        "batch": batch,
                        "step": steps[time],
                        "unit": unit,
                    }
                    | {name: value.ravel() for name, value in values.items()}
                )
            )
        return pd.concat(tables, ignore_index=True)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to one safetensors file; `probe.load_recording` reads it back.

        Raises:
            ProbeError: the output is no tensor, nor tuples, lists and dicts of tensors, or the file cannot
                be written.
        """
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        description = {
            "format": _FORMAT,
            "steps": self.steps,
            "not_called": self.not_called,
            "max_error": self.max_error,
            "parts": [
                {"layer": part.layer, "call": part.call, "signals": list(part.signals)}
                | {"initial": list(part.initial)}
                for part in self.parts
            ],
            "output": flatten(self.output, tensors),
        }
        for number, part in enumerate(self.parts):
            for kind, values in (("signals", part.signals), ("initial", part.initial)):
                for signal, value in values.items():
                    tensors[f"{number}.{kind}.{signal}"] = value
        contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_atomically(path, save(contiguous, {"recording": json.dumps(description)}))


class _Initial(dict[Signal, Tensor]):
    """Initial states by signal; an unknown name is told which there are."""

    def __missing__(self, name: object) -> Tensor:
        raise ProbeError(unknown("initial state", name, self))


def _as_array(value: Tensor) -> np.ndarray:
    """Return a tensor as numpy; bfloat16, which numpy lacks, becomes float32."""
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Return the recording that `Recording.save` wrote.

    Raises:
        ProbeError: the file is missing, damaged, or no recording.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), "pt") as file:
            description = json.loads((file.metadata() or {}).get("recording", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        _check_description(description)
        parts = tuple(
            LayerRecording(
                part["layer"],
                part["call"],
                {as_signal(name): tensors[f"{number}.signals.{name}"] for name in part["signals"]},
                {as_signal(name): tensors[f"{number}.initial.{name}"] for name in part["initial"]},
            )
            for number, part in enumerate(description["parts"])
        )
        steps = description["steps"]
        return Recording(
            unflatten(description["output"], tensors),
            parts,
            None if steps is None else tuple(steps),
            tuple(description["not_called"]),
            description["max_error"],
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ProbeError(
            f"{os.fspath(path)!r} cannot be read as a recording ({error}). Give a file that Recording.save wrote."
        ) from error


def _check_description(description: Any) -> None:
    """Raise ValueError where a file's description is not what `Recording.save` writes."""
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise ValueError(f"it is not of the format {_FORMAT!r}")
    wanted: dict[str, tuple[type, ...]] = {
        "parts": (list,),
        "steps": (list, type(None)),
        "not_called": (list,),
        "max_error": (int, float),
        "output": (dict,),
    }
    for name, kinds in wanted.items():
        if not isinstance(description.get(name), kinds) or isinstance(description[name], bool):
            raise ValueError(f"its {name} is a {type(description.get(name)).__name__}")
    for part in description["parts"]:
        kinds = {"layer": str, "call": int, "signals": list, "initial": list}
        if not isinstance(part, dict) or any(not isinstance(part.get(name), kind) for name, kind in kinds.items()):
            raise ValueError(f"a part of it is {part!r}")
    if any(not isinstance(step, int) for step in description["steps"] or ()):
        raise ValueError(f"its steps are {description['steps']!r}")


@torch.no_grad()
def record(
    model: nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    edits: Sequence[Edit] = (),
    signals: Iterable[str] | None = None,
    layers: Iterable[str] | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    tolerance: float | None = None,
) -> Recording:
    """Call a model once and record every gate and state of its recurrent layers at every step.

    The model is called as it is, under no_grad, and its output is the bare call's, bit for bit. Hidden states
    are the module's own; the rest is recomputed from them, and the result is checked against the module.

    Args:
        model: any module that contains recurrent layers; left as found.
        *inputs: what the model is called with.
        kwargs: the model's own keyword arguments.
        edits: changes to make inside the recurrence.
        signals: which signals to keep; None keeps gates and states, without the pre-activations.
        layers: which layers to record, by name; None records all of them.
        steps: which steps to keep, the first being 0; None keeps all.
        tolerance: largest relative difference between the recomputed run and the module's; None for 1e-5
            (float32), 1e-10 (float64) or 2e-2 (half precision).

    Returns:
        The recording; arrays are (batch, time, unit) whatever `batch_first` says.

    Raises:
        ProbeError: a layer or signal does not exist (before the model is called), a step lies beyond the
            input, or the recomputed run differs from the module's.
    """
    _check_options(layers, edits, tolerance)
    chosen = find_layers(model, layers)
    wanted = _wanted(chosen, signals)
    kept = _kept(steps)
    parts: list[LayerRecording] = []
    errors: list[float] = []

    def hook_for(layer: Layer) -> Any:
        def hook(module: nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
            applied = applied_to(module, output)
            opened = applied.changed if applied else engine.trace(layer, arguments, keywords, output)
            engine.check(layer, opened, tolerance)
            errors.append(opened.max_error)
            number = sum(part.layer == layer.name for part in parts)
            parts.append(_keep(layer, number, opened, wanted, kept))

        return hook

    with ExitStack() as stack:
        if edits:
            stack.enter_context(intervene(model, *edits))
        for layer in chosen:
            handle = layer.module.register_forward_hook(hook_for(layer), with_kwargs=True)
            stack.callback(handle.remove)
        output = model(*inputs, **(kwargs or {}))
    missing = tuple(layer.name for layer in chosen if all(part.layer != layer.name for part in parts))
    return Recording(output, tuple(parts), kept, missing, max(errors, default=0.0))


def _check_options(layers: Any, edits: Any, tolerance: Any) -> None:
    if isinstance(layers, str):
        raise ProbeError(f"layers={layers!r} must be several names: layers=[{layers!r}].")
    if isinstance(edits, Edit) or not isinstance(edits, Sequence):
        raise ProbeError(f"edits is a {type(edits).__name__} and must be several edits: edits=[probe.patch(...)].")
    if tolerance is not None and not isinstance(tolerance, Real):
        raise ProbeError(f"tolerance={tolerance!r} must be a number such as 1e-5, or None.")


def _kept(steps: SupportsIndex | Iterable[SupportsIndex] | None) -> tuple[int, ...] | None:
    kept = as_indices("steps", steps)
    if kept is not None and min(kept) < 0:
        raise ProbeError(f"steps={kept} must count from the first step, 0.")
    return kept


def _wanted(layers: Sequence[Layer], signals: Iterable[str] | None) -> tuple[Signal, ...]:
    available = tuple(dict.fromkeys(signal for layer in layers for signal in layer.signals))
    if signals is None:
        return tuple(signal for signal in available if not signal.endswith("_preactivation"))
    if isinstance(signals, str):
        raise ProbeError(f"signals={str(signals)!r} must be several names: signals=[{str(signals)!r}].")
    chosen = {as_signal(signal, available) for signal in signals}
    if not chosen:
        raise ProbeError(f"signals=[] names no signal; name at least one of {', '.join(available)}, or give None.")
    return tuple(signal for signal in available if signal in chosen)


def _keep(
    layer: Layer,
    number: int,
    opened: engine.Trace,
    wanted: Sequence[Signal],
    steps: tuple[int, ...] | None,
) -> LayerRecording:
    values: dict[Signal, Tensor] = {}
    for signal in wanted:
        value = opened.signals[signal]
        if steps is not None:
            value = value[within("steps", steps, len(value), f"the input of layer {layer.name!r}")]
        # Cloned where it is the module's own output, which the caller may change in place.
        value = value.clone() if signal == Signal.HIDDEN_STATE else value
        values[signal] = value.transpose(0, 1)
    initial = {signal: value.clone() for signal, value in opened.given.initial.items()}
    return LayerRecording(layer.name, number, values, initial)
