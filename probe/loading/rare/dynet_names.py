"""Finds recurrent layers by DyNet's names, such as `/birnn/vanilla-lstm-builder_1/_0`.

A layer has three parameters: (4 units, input), (4 units, units), (4 units); gates are i f o g, and the forget bias
is added at run time. Of a BiRNN, every second builder reads from the end. Reference: DyNet 2.1, dynet/lstm.cc,
`VanillaLSTMBuilder`, and python/_dynet.pyx, `BiRNNBuilder`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, pair_of, rows
from ..readers import listed

_NAME = re.compile(r"(?P<builder>(?P<scope>.*/)?(?P<kind>[a-z-]+-builder)(?:_(?P<number>\d+))?)/_(?P<part>\d+)")
_KINDS = ("vanilla-lstm-builder", "compact-vanilla-lstm-builder")
ORDER = "i f o g"
_WHY = (
    "the arrays are those of a DyNet VanillaLSTM, which adds its forget_bias to the forget gate at run time: it is "
    "in no file, and with the wrong one nothing fails, only the answers come out wrong"
)
_USUAL = "1.0 (DyNet's default) and 0.0"


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose parameters DyNet's builders named; each layer is one.

    Args:
        tensors: the parameters by name.
        choices: `forget_bias`.

    Raises:
        ProbeError: a builder is of another kind, its parameters do not fit, or the choice was not made.
    """
    layers: dict[str, dict[int, str]] = {}
    for name in tensors:
        if match := _NAME.fullmatch(name):
            if match["kind"] not in _KINDS:
                raise ProbeError(
                    f"{name!r} is of DyNet's {match['kind']}; {', '.join(_KINDS)} can be loaded. Leave it out with "
                    f"names={{{match['builder'] + '/*'!r}: None}}."
                )
            part = int(match["part"])
            layers.setdefault(f"{match['builder']}/{part // 3}", {})[part % 3] = name
    specs = {layer: _spec(layer, parts, tensors, choices) for layer, parts in layers.items()}
    return _modules(specs, layers, choices)


def _modules(
    specs: Mapping[str, LayerSpec], layers: Mapping[str, Mapping[int, str]], choices: Choices
) -> list[Found]:
    found: list[Found] = []
    done: set[str] = set()
    for layer, spec in specs.items():
        other = _backward(layer)
        if layer in done:
            continue
        together = [layer, other] if other in specs else [layer]
        done |= set(together)
        name = layer.removesuffix("/0")
        module = module_of(spec) if len(together) == 1 else pair_of(spec, specs[other])
        if len(together) == 2:
            choices.assume(f"{name}: the builder after it in its BiRNN reads from the end, and is concatenated")
        arrays = tuple(array for one in together for _, array in sorted(layers[one].items()))
        found.append(Found(name, module, arrays, "DyNet VanillaLSTM", ORDER))
    return found


def _backward(layer: str) -> str:
    """Return the layer that reads from the end beside one that reads from the beginning, or ""."""
    match = re.fullmatch(r"(?P<start>.*birnn(?:_\d+)?/[a-z-]+-builder)(?:_(?P<number>\d+))?(?P<end>/\d+)", layer)
    number = int(match["number"] or 0) if match else 1
    return f"{match['start']}_{number + 1}{match['end']}" if match and number % 2 == 0 else ""


def _spec(layer: str, parts: Mapping[int, str], tensors: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    found = [tensors[name] for _, name in sorted(parts.items())]
    shapes = [tuple(tensor.shape) for tensor in found]
    units = shapes[1][1] if len(shapes) == 3 and len(shapes[1]) == 2 else 0
    if not units or shapes[1:] != [(4 * units, units), (4 * units,)] or len(shapes[0]) != 2:
        raise ProbeError(
            f"{layer!r} has {listed(parts.values())} of the shapes {shapes}; a layer of DyNet's VanillaLSTM has (4 x "
            "units, input), (4 x units, units) and (4 x units). With layer norm, or damaged, it cannot be loaded."
        )
    added = choices.need("forget_bias", layer.removesuffix("/0"), _WHY, _USUAL)
    W, U, bias = (rows(part, (0, 1, 3, 2), 4) for part in found)
    bias[units : 2 * units] += added
    return LayerSpec(layer, "LSTM", W.contiguous(), U.contiguous(), bias)
