"""Builds recurrent layers from Keras's arrays alone: .weights.h5, weights in .h5, TensorFlow 2 checkpoints.

The arrays are found by their names and shapes. What they do not say, the caller must: the gates' function, the
function of a plain RNN, and where a GRU without biases resets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, pair_of
from ..readers import listed
from .keras_gates import WRITTEN, Arrays, kind_of

_NUMBERED = re.compile(r"(?P<group>.*/cell|cell)/vars/(?P<number>\d+)")
_NAMED = re.compile(
    r"(?:(?P<group>.*)/)?(?P<role>kernel|recurrent_kernel|bias)(?::0)?(?:/\.ATTRIBUTES/VARIABLE_VALUE)?"
)
_WAY = re.compile(r"(?P<start>.*?)/?(?P<way>forward|backward)_[^/]*(?:/.*)?")
_CELL = re.compile(r"(?P<start>.*?)/?(?:[a-z_]*_)?(?:cell|cudnn_lstm|cudnn_gru)(?:_\d+)?")
_ROLES = ("kernel", "recurrent_kernel", "bias")
#: A layer that is called so would be loaded as one that reads from the beginning.
_TURNED = re.compile(r"backward|reverse", re.IGNORECASE)
#: What lies below a cell and takes no part in what it computes: what trains it, and random numbers of its dropout.
_NO_PART = re.compile(r".*(\.OPTIMIZER_SLOT|seed_generator|/(Adam|Adam_1|Momentum|RMSProp|m|v)(:0)?$)")
#: Where Keras 2 keeps, in the file of a whole model, what trains it: arrays with the shapes and names of the weights.
_OPTIMIZER = "optimizer_weights/"
GATES_WHY = "the arrays are those of a gated layer of Keras, and weights alone do not say the function of its gates"
GATES_USUAL = (
    "'sigmoid' (Keras 2.3 and later, unless told otherwise), 'hard_sigmoid_keras2' (the default before 2.3) and "
    "'hard_sigmoid_keras3'"
)


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as Keras names them.

    Args:
        tensors: the arrays by name.
        choices: `gate_activation`, `activation` and `reset`.

    Raises:
        ProbeError: the arrays do not fit, or a choice was not made.
    """
    groups = groups_of(tensors)
    layers: dict[str, dict[str, Arrays]] = {}
    for group, roles in groups.items():
        match = _WAY.fullmatch(group)
        name, way = (match["start"], match["way"]) if match else (_without_cell(group), "")
        name = "/".join(part for part in name.split("/") if part not in ("layers", "_layer_checkpoint_dependencies"))
        layers.setdefault(name, {})[way] = _arrays(group, roles, tensors)
    found = []
    for name, ways in layers.items():
        if sorted(ways) not in ([""], ["backward", "forward"]):
            raise ProbeError(f"{name!r} has arrays of {listed(ways)} only; both directions were expected.")
        arrays = [ways[way] for way in ("", "forward", "backward") if way in ways]
        if len(arrays) == 1 and _TURNED.search(name):
            raise ProbeError(
                f"{name!r} is a layer whose name says that it reads its input from the end, and weights alone do not "
                "say whether it does. Load the whole model, whose configuration says it; or rename its arrays with "
                f"names={{{arrays[0].names[0]!r}: ...}} to a name without the word, and reverse its inputs yourself."
            )
        specs = [spec_of(own, name, choices) for own in arrays]
        module = module_of(specs[0]) if len(specs) == 1 else pair_of(*specs)
        if len(specs) == 2:
            choices.assume(f"{name}: the two directions are concatenated (merge_mode='concat')")
        used = tuple(array for own in arrays for array in own.names)
        kind = specs[0].kind
        found.append(Found(name, module, used, f"Keras {'SimpleRNN' if kind == 'RNN' else kind}", WRITTEN[kind]))
    return found


def groups_of(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return, of each group of arrays that can be a recurrent layer, the names by what they are."""
    groups: dict[str, dict[str, str]] = {}
    for name in tensors:
        if name.startswith(_OPTIMIZER):
            continue
        if match := _NUMBERED.fullmatch(name):
            number = int(match["number"])
            groups.setdefault(match["group"], {})[_ROLES[number] if number < len(_ROLES) else match["number"]] = name
        elif match := _NAMED.fullmatch(name):
            groups.setdefault(match["group"] or "", {})[match["role"]] = name
    return {group: roles for group, roles in groups.items() if {"kernel", "recurrent_kernel"} <= set(roles)}


def _without_cell(group: str) -> str:
    match = _CELL.fullmatch(group)
    return match["start"] if match and match["start"] else group


def _arrays(group: str, roles: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Arrays:
    found = {role: tensors[name] for role, name in roles.items()}
    kind = kind_of(found["recurrent_kernel"])
    start = f"{group}/" if group else ""
    below = [name for name in tensors if start and name.startswith(start) and not _NO_PART.match(name)]
    others = [name for name in below if name not in roles.values()]
    if others:
        raise ProbeError(
            f"{group!r} holds {listed(others)} besides a kernel, a recurrent kernel and a bias, as no LSTM, GRU or "
            f"SimpleRNN of Keras does (peepholes, norms). Leave it out with names={{{group + '/*'!r}: None}}."
        )
    if kind is None or set(roles) - set(_ROLES):
        shapes = ", ".join(f"{name!r} {tuple(tensors[name].shape)}" for name in roles.values())
        raise ProbeError(
            f"{group!r} holds {shapes}, as a recurrent layer of Keras does, but of none that can be loaded: LSTM "
            f"(units, 4 units), GRU (units, 3 units), SimpleRNN (units, units). Leave it out with "
            f"names={{{group + '/*'!r}: None}}."
        )
    return Arrays(group, kind, found["kernel"], found["recurrent_kernel"], found.get("bias"), tuple(roles.values()))


def spec_of(arrays: Arrays, name: str, choices: Choices) -> LayerSpec:
    """Return the spec of a layer's arrays, with the functions that the caller chose or that never differed."""
    choices.assume(f"{name}: no step is hidden by a mask, and the layer does not go backwards")
    if arrays.of_cudnn:
        return arrays.spec()
    if arrays.kind == "RNN":
        why = "the arrays are those of a SimpleRNN, and a file of weights alone does not say its function"
        return arrays.spec(activation=choices.need("activation", name, why, "'tanh' (Keras's default) and 'relu'"))
    functions: dict[str, Any] = {"gate": choices.need("gate_activation", name, GATES_WHY, GATES_USUAL)}
    activation = choices.get("activation", name)
    if activation is None:
        activation = "tanh"
        choices.assume(f"{name}: activation='tanh', Keras's default since its beginning")
    functions["activation"] = activation
    if arrays.kind == "LSTM":
        return arrays.spec(output=activation, **functions)
    reset = arrays.reset
    if reset is None:
        why = "the arrays are those of a GRU without biases, and nothing else says where its reset gate acts"
        reset = choices.need("reset", name, why, "'after' (Keras 3, reset_after=True) and 'before' (older ones)")
    return arrays.spec(reset=reset, **functions)
