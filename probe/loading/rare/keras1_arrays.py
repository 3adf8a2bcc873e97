"""Reads Keras 1: one array for each gate, such as `lstm_1_W_i`, and older names of the same options.

Its layers have no `use_bias` and no `reset_after`: a GRU resets before the product. With `consume_less="gpu"` the
gates stand in one array, in the order of Keras 2. Reference: Keras 1.2.2, keras/layers/recurrent.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, module_of, pair_of
from ..layouts.keras_arrays import WRITTEN, Arrays, kind_of
from ..layouts.keras_weights import spec_of
from ..readers import listed

_NAME = re.compile(r"(?P<group>.+)_(?P<role>[WUb])(?:_(?P<gate>[ifcozrh]))?(?::0)?")
_WAY = re.compile(r"(?P<layer>.*?)/?(?P<way>forward|backward)_[^/]*")
_ROLES = {"W": 1, "U": 1, "b": 0}
_GATES = {"LSTM": "ifco", "GRU": "zrh", "RNN": ""}
VERSION = "1"


def is_old(config: Mapping[str, Any]) -> bool:
    """Return whether a layer's options are in the words of Keras 1."""
    return "output_dim" in config and "units" not in config


def translated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recurrent layer's options in the words of Keras 2."""
    words = {"units": config["output_dim"], "use_bias": True, "reset_after": False}
    if "inner_activation" in config:
        words["recurrent_activation"] = config["inner_activation"]
    return {**config, **words}


def groups_of(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return, of each group of arrays that can be a recurrent layer, the names by role, such as `W_i` or `U`."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            part = f"{match['role']}_{match['gate']}" if match["gate"] else match["role"]
            groups.setdefault(match["group"], {})[part] = name
    return {group: parts for group, parts in groups.items() if any(part[0] == "U" for part in parts)}


def arrays_of(where: str, parts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Arrays:
    """Return the arrays of a group as Keras 2 has them.

    Raises:
        ProbeError: they are those of no recurrent layer of Keras 1.
    """
    gates = {part[2:] for part in parts if part[1:2]}
    kind = next((kind for kind, letters in _GATES.items() if gates and gates == set(letters)), None)
    if not gates:
        kind = kind_of(tensors[parts["U"]])
    letters = _GATES[kind] if kind and gates else ("",)
    wanted = [f"{role}_{letter}" if letter else role for role in _ROLES for letter in letters]
    if kind is None or set(wanted) != set(parts):
        raise ProbeError(
            f"{where!r} has the arrays {listed(parts.values())}, and those of no recurrent layer of Keras 1: an LSTM "
            "has W, U and b of i, f, c and o, a GRU of z, r and h, a SimpleRNN one of each. Leave it out with "
            f"names={{{where + '*'!r}: None}}."
        )
    stacked = {}
    for role, axis in _ROLES.items():
        own = [tensors[parts[f"{role}_{letter}" if letter else role]] for letter in letters]
        if any(one.shape != own[0].shape or one.dim() != axis + 1 for one in own):
            shapes = listed(str(tuple(one.shape)) for one in own)
            raise ProbeError(f"{where!r} has arrays {role} of the shapes {shapes}. The file is damaged.")
        stacked[role] = torch.cat(own, axis)
    return Arrays(where, kind, stacked["W"], stacked["U"], stacked["b"], tuple(parts.values()))


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules of arrays named as Keras 1 named them, where no configuration says more.

    Args:
        tensors: the arrays by name.
        choices: `gate_activation` and `activation`.

    Raises:
        ProbeError: the arrays do not fit, or a choice was not made.
    """
    layers: dict[str, dict[str, Arrays]] = {}
    for group, parts in groups_of(tensors).items():
        if not {"W", "b"} <= {part[0] for part in parts}:
            continue  # U alone is the name of anything
        match = _WAY.fullmatch(group)
        # The layer's name stands before its arrays' names, which begin with it.
        layer, _, own = group.rpartition("/")
        name, way = (match["layer"], match["way"]) if match else (layer if layer == own else group, "")
        layers.setdefault(name, {})[way] = arrays_of(group, parts, tensors)
    found = []
    for name, ways in layers.items():
        if sorted(ways) not in ([""], ["backward", "forward"]):
            raise ProbeError(f"{name!r} has arrays of {listed(ways)} only; both directions were expected.")
        own = [ways[way] for way in ("", "forward", "backward") if way in ways]
        specs = [spec_of(one, name, choices) for one in own]
        if len(specs) == 2:
            choices.assume(f"{name}: the two directions are concatenated (merge_mode='concat')")
        module = module_of(specs[0]) if len(specs) == 1 else pair_of(*specs)
        used = tuple(array for one in own for array in one.names)
        kind = own[0].kind
        found.append(Found(name, module, used, f"Keras 1 {'SimpleRNN' if kind == 'RNN' else kind}", WRITTEN[kind]))
    return found
