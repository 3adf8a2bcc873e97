"""Finds AllenNLP's `AugmentedLstm` by its names: `input_linearity` and `state_linearity`.

Gates are torch's, i f g o; the bias stands at the state. With a highway there are two more blocks for the input and
one for the state, and with a projection a clip, which no cell here has; ELMo's weights are of the second kind.
Reference: AllenNLP 2.10, modules/augmented_lstm.py, stacked_alternating_lstm.py, lstm_cell_with_projection.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, reversed_module
from ..readers import listed

_NAME = re.compile(
    r"(?:(?P<layer>.*)\.)?(?P<part>(?:(?:input|state|highway)_linearity|state_projection)\.(?:weight|bias))"
)
_ALTERNATING = re.compile(r"(?:.*\.)?layer_(?P<number>\d+)(?:\.cell)?")
_BACKWARD = re.compile(r"(?:.*\.)?backward_layers?[._]\d+(?:\.cell)?")
_ELMO = re.compile(r"(?P<cell>.*RNN_\d+/RNN/MultiRNNCell/Cell\d+/.*LSTMCell)/(?:W_0|B|W_P_0)")
_W, _U = "input_linearity.weight", "state_linearity.weight"


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as AllenNLP's LSTMs name them.

    Args:
        tensors: the arrays by name.
        choices: for what is taken for granted.

    Raises:
        ProbeError: a layer has a highway, a projection or other shapes.
    """
    elmo = next((match for name in tensors if (match := _ELMO.fullmatch(name))), None)
    if elmo is not None:
        raise ProbeError(
            f"{elmo['cell']!r} is an LSTM of ELMo, whose cell state and projection are clipped at values that its "
            "options.json says: no cell here clips. Leave it out with names={'RNN_*': None}."
        )
    layers: dict[str, dict[str, str]] = {}
    for name in tensors:
        if match := _NAME.fullmatch(name):
            layers.setdefault(match["layer"] or "", {})[match["part"]] = name
    found = []
    for name, parts in layers.items():
        if not {_W, _U} <= set(parts):
            continue
        spec = _spec(name, {part: tensors[array] for part, array in parts.items()})
        match = _ALTERNATING.fullmatch(name)
        odd = match is not None and int(match["number"]) % 2 == 1
        backwards = odd or _BACKWARD.fullmatch(name) is not None
        choices.assume(
            f"{name or 'the layer'}: reads from the {'end' if backwards else 'beginning'}, as its name has it in a "
            "stack of AllenNLP"
        )
        module = reversed_module(spec, restored=True) if backwards else module_of(spec)
        found.append(Found(name, module, tuple(parts.values()), "AllenNLP AugmentedLstm", "i f g o"))
    return found


def _spec(name: str, arrays: Mapping[str, Tensor]) -> LayerSpec:
    W, U = arrays[_W], arrays[_U]
    leave_out = f"Leave it out with names={{{name + '.*'!r}: None}}."
    if "state_projection.weight" in arrays:
        raise ProbeError(
            f"{name!r} is an LSTM of AllenNLP with a projection, as ELMo's, whose cell state and projection may be "
            f"clipped at values that no file of weights says: no cell here clips. {leave_out}"
        )
    units = U.shape[1] if U.dim() == 2 else 0
    if units and len(U) == 5 * units and len(W) == 6 * units:
        raise ProbeError(
            f"{name!r} is an LSTM of AllenNLP with a highway (use_highway=True): its input reaches its output past "
            f"the cell, and no cell here has such a way. {leave_out}"
        )
    known = {_W, _U, "input_linearity.bias", "state_linearity.bias"}
    if not units or W.dim() != 2 or len(U) != 4 * units or len(W) != 4 * units or not set(arrays) <= known:
        shapes = listed(f"{part} {tuple(array.shape)}" for part, array in arrays.items())
        raise ProbeError(
            f"{name!r} is named as an LSTM of AllenNLP, and has {shapes}; expected (4 x units, input) and (4 x "
            f"units, units), with biases. {leave_out}"
        )
    return LayerSpec(
        name or "the layer", "LSTM", W, U, arrays.get("input_linearity.bias"), arrays.get("state_linearity.bias")
    )
