"""Builds the recurrent layers of a Keras model whose file holds its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from ...errors import ProbeError
from ..choices import MERGES, Choices
from ..formats.keras_files import KerasModel
from ..layer_spec import Found, LayerSpec, module_of, pair_of, reversed_module
from ..modules import Masked
from ..readers import Contents, listed
from . import keras_weights
from .keras_config import Described, class_of, described, is_recurrent
from .keras_gates import WRITTEN, Arrays, function_of, split

#: By the class of a layer, or of the cell of a layer `RNN`.
KINDS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "RNN"}
ROLES = ("kernel", "recurrent_kernel", "bias")


def find(contents: Contents, choices: Choices, skipped: frozenset[str]) -> list[Found]:
    """Return the recurrent modules that a configuration describes.

    Args:
        contents: of a file with a configuration.
        choices: `gate_activation` where Keras's version is unknown and a hard sigmoid is asked for.
        skipped: names of layers that the caller leaves out.

    Raises:
        ProbeError: a layer's class, function or arrays are none that the cells here express.
    """
    model: KerasModel = contents.description
    try:
        layers = described(model.config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProbeError(
            f"The configuration in this file of Keras cannot be read ({error}). Save the model anew."
        ) from error
    reader = _Reader(contents, model, choices)
    found = [reader.found(layer) for layer in layers if _is_meant(layer) and layer.name not in skipped]
    used = {name for one in found for name in one.arrays} | skipped
    places = [(layer.path, layer.top) for layer in layers if layer.name in skipped]
    groups = keras_weights.groups_of(contents.tensors)
    for group, names in groups.items():
        known = used & set(names.values()) or any(group.startswith((f"{path}/", f"{top}/")) for path, top in places)
        if not known:
            raise ProbeError(
                f"{group!r} holds the arrays of a recurrent layer, and the configuration describes none there: its "
                f"class is unknown here, or the file is damaged. Leave it out with names={{{group + '/*'!r}: None}}."
            )
    return found


def _is_meant(layer: Described) -> bool:
    inside = layer.wrapped[0] if layer.wrapped else layer
    return is_recurrent(inside.kind) or layer.kind == "Bidirectional"


class _Reader:
    """Turns the described layers of one file into modules."""

    def __init__(self, contents: Contents, model: KerasModel, choices: Choices) -> None:
        self._tensors, self._model, self._choices = contents.tensors, model, choices

    def found(self, layer: Described) -> Found:
        """Return the module of a described layer, which may be wrapped."""
        if layer.kind == "TimeDistributed":
            raise ProbeError(
                f"{layer.name!r} runs a recurrent layer at every step of another axis (TimeDistributed), which no "
                f"module here does. {_leave_out(layer.name)}"
            )
        ways = layer.wrapped or (layer,)
        arrays = [self._arrays(way, number, len(ways)) for number, way in enumerate(ways)]
        specs = [self._spec(way, own) for way, own in zip(ways, arrays, strict=True)]
        module = self._module(layer, ways, specs)
        if layer.hidden_by:
            # Keras's Bidirectional sets it, whatever its layers say, where they return sequences.
            forced = layer.kind == "Bidirectional" and _option(ways[0], "return_sequences", False)
            zeros = bool(forced or _option(ways[0], "zero_output_for_mask", False))
            module = Masked(module, by=layer.hidden_by, zeros=zeros).eval()
        names = tuple(name for own in arrays for name in own.names)
        return Found(layer.name, module, names, f"Keras {ways[0].kind}", WRITTEN[specs[0].kind])

    def _module(self, layer: Described, ways: tuple[Described, ...], specs: list[LayerSpec]) -> nn.Module:
        backwards = [_option(way, "go_backwards", False) for way in ways]
        if len(specs) == 1:
            return reversed_module(specs[0], restored=False) if backwards[0] else module_of(specs[0])
        merge = layer.config.get("merge_mode")
        if backwards[0] or "merge_mode" not in layer.config or merge not in (*MERGES, None):
            raise ProbeError(
                f"{layer.name!r} is bidirectional with merge_mode={merge!r} and go_backwards={backwards[0]}; "
                f"{', '.join(MERGES)} and False can be loaded. {_leave_out(layer.name)}"
            )
        if merge is None:
            self._choices.assume(f"{layer.name}: Keras returns the two directions apart; here they are concatenated")
        return pair_of(*specs, merge=merge or "concat")

    def _arrays(self, layer: Described, way: int, ways: int) -> Arrays:
        kind = _kind(layer)
        told = ["go_backwards"]
        if not layer.kind.startswith("CuDNN"):
            told += ["activation", "use_bias", *(["recurrent_activation"] if kind != "RNN" else [])]
        missing = [name for name in told if name not in _options(layer)]
        if missing:
            raise ProbeError(
                f"The configuration of {layer.name!r} does not say its {missing[0]!r}, which decides what it "
                "computes: it was written before Keras 2, or is damaged. Save the model anew with a later Keras."
            )
        names = {role: name for role, name in self._names(layer, way, ways).items() if name in self._tensors}
        if set(names) != set(ROLES if _option(layer, "use_bias", True) else ROLES[:2]):
            raise ProbeError(
                f"{layer.name!r} is a {layer.kind} in the configuration, and its arrays are {listed(names)}; "
                f"expected {', '.join(ROLES)}. There is {listed(self._tensors)}. The file is damaged."
            )
        kernel, recurrent = (self._tensors[names[role]] for role in ROLES[:2])
        bias = self._tensors[names["bias"]] if "bias" in names else None
        arrays = Arrays(layer.name, kind, kernel, recurrent, bias, tuple(names.values()))
        units = _option(layer, "units", arrays.units)
        if units != arrays.units:
            raise ProbeError(
                f"{layer.name!r} has {arrays.units} units by its arrays and {units} by its configuration. The file "
                "is damaged."
            )
        return arrays

    def _names(self, layer: Described, way: int, ways: int) -> dict[str, str]:
        """Return the names of a layer's arrays by what they are."""
        if layer.top in self._model.weight_names:
            return self._legacy(layer, way, ways)
        pattern = re.compile(
            rf"(?:{re.escape(layer.path)}|{re.escape(layer.path.replace('layers/', _OLD))})(?:/cell)?/vars/(\d+)"
        )
        numbered = {int(match[1]): name for name in self._tensors if (match := pattern.fullmatch(name))}
        return {
            ROLES[number] if number < len(ROLES) else str(number): numbered[number] for number in sorted(numbered)
        }

    def _legacy(self, layer: Described, way: int, ways: int) -> dict[str, str]:
        own = layer.name.split("/")[-1 if ways == 1 else -2]
        listed_ = [name for name in self._model.weight_names[layer.top] if own == layer.top or own in name.split("/")]
        known = [name for name in listed_ if role_of(name) in ROLES]
        return {role_of(name): f"{layer.top}/{name}" for name in split(known, ways)[way]}

    def _spec(self, layer: Described, arrays: Arrays) -> LayerSpec:
        cudnn = layer.kind.startswith("CuDNN")
        if cudnn != arrays.of_cudnn and arrays.bias is not None:
            raise ProbeError(
                f"{layer.name!r} is a {layer.kind} in the configuration, and its bias of shape "
                f"{tuple(arrays.bias.shape)} is not one of it. The file is damaged."
            )
        if cudnn:
            return arrays.spec()
        functions: dict[str, Any] = {"activation": self._function(layer, "activation")}
        if arrays.kind != "RNN":
            functions["gate"] = self._function(layer, "recurrent_activation")
        if arrays.kind == "LSTM":
            functions["output"] = functions["activation"]
        if arrays.kind == "GRU":
            functions["reset"] = self._reset(layer, arrays)
            if arrays.reset not in (None, functions["reset"]):
                raise ProbeError(
                    f"{layer.name!r} resets {functions['reset']} the product by its configuration, and its bias is "
                    f"of a GRU that resets {arrays.reset} it. The file is damaged."
                )
        for name, argument in (("gate", "gate_activation"), ("activation", "activation"), ("reset", "reset")):
            if name in functions:
                self._choices.confirm(argument, layer.name, functions[name])
        return arrays.spec(**functions)

    def _reset(self, layer: Described, arrays: Arrays) -> str:
        told = _option(layer, "reset_after", None)
        if told is None and arrays.bias is None:
            why = "it has no biases, and its configuration does not say reset_after"
            return self._choices.need("reset", layer.name, why, "'before' (before Keras 2.1.3) and 'after'")
        return "after" if told else "before"

    def _function(self, layer: Described, argument: str) -> str:
        value = _options(layer)[argument]
        name = function_of(value, layer.name, argument, self._model.version)
        if name is not None:
            return name
        mine = "gate_activation" if argument == "recurrent_activation" else "activation"
        return self._choices.need(
            mine,
            layer.name,
            "its hard_sigmoid is another function in Keras 2 than in Keras 3, and the file does not say its version",
            "'hard_sigmoid_keras2' (clip(0.2 x + 0.5)) and 'hard_sigmoid_keras3' (x / 6 + 0.5)",
        )


def role_of(name: str) -> str:
    """Return the last word of an array's name, without TensorFlow's number behind it."""
    return name.rpartition("/")[2].partition(":")[0]


_OLD = "_layer_checkpoint_dependencies/"


def _kind(layer: Described) -> str:
    cell = layer.config.get("cell")
    if layer.kind == "RNN" and isinstance(cell, Mapping) and "class_name" in cell and class_of(cell) in CELLS:
        return CELLS[class_of(cell)]
    if layer.kind in KINDS:
        return KINDS[layer.kind]
    own = class_of(cell) if isinstance(cell, Mapping) and "class_name" in cell else None
    what = f"{layer.kind} of {own}" if own else layer.kind
    known = ", ".join([*KINDS, *(f"RNN of {cell}" for cell in CELLS)])
    raise ProbeError(f"{layer.name!r} is a {what}; {known} can be loaded. {_leave_out(layer.name)}")


def _options(layer: Described) -> Mapping[str, Any]:
    cell = layer.config.get("cell")
    if layer.kind == "RNN" and isinstance(cell, Mapping):
        return {**layer.config, **cell.get("config", {})}
    return layer.config


def _option(layer: Described, name: str, usual: Any) -> Any:
    return _options(layer).get(name, usual)


def _leave_out(name: str) -> str:
    return f"Leave it out with names={{{name!r}: None}}."
