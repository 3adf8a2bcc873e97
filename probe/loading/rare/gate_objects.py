"""Builds layers from pickled objects that hold one object for each gate, as madmom's do.

A gate has `weights` (input, units), `recurrent_weights`, `bias`, maybe `peephole_weights`, and names its function.
What a layer makes of its gates is in its class, so that only classes that are known are read. Reference: madmom 0.16,
ml/nn/layers.py: a GRU resets after the product, its update gate u gives h = u n + (1 - u) h, and the reverse layer of
a `BidirectionalLayer` is put back into the input's order and concatenated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ...recurrent.cells.nonlinearities import ACTIVATIONS
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, pair_of
from ..readers import listed

_CLASS = re.compile(r"madmom\.ml\.(?:r?nn)(?:\.layers)?\.(?P<kind>LSTM|GRU|Recurrent|Bidirectional)Layer")
#: What lies in a layer, and is none itself.
_GATE = re.compile(r"madmom\.ml\.(?:r?nn)(?:\.layers)?\.(?:Gate|Cell|GRUCell)")
_RECURRENT = ("recurrent_weights", "cell.recurrent_weights", "input_gate.recurrent_weights")
#: The functions of a pickle by what they are here.
_FUNCTIONS = {
    **{f"madmom.ml.{part}.{name}": name for part in ("nn.activations", "rnn") for name in ACTIVATIONS},
    "scipy.special._ufuncs.expit": "sigmoid",
    "scipy.special.expit": "sigmoid",
    **{f"numpy{part}.tanh": "tanh" for part in ("", ".core.umath", ".core._multiarray_umath", "._core.umath")},
}
#: Functions of which 1 - f(a) is f(-a), so that an inverted gate is one with its arrays negated.
_ODD_AROUND_HALF = ("sigmoid", "hard_sigmoid_keras2", "hard_sigmoid_keras3")
#: The gates by the names of the attributes, in torch's order.
_PARTS = {
    "LSTM": ("input_gate", "forget_gate", "cell", "output_gate"),
    "GRU": ("reset_gate", "update_gate", "cell"),
}
_INITIAL = ("init", "hid_init")
#: Every array that a layer may have; the last two are what was last computed.
_KNOWN = ("weights", "bias", "recurrent_weights", "peephole_weights", *_INITIAL, "cell_init", "_prev", "_state")
_WAYS = ("fwd_layer", "bwd_layer")
#: Each gate has a name and no place.
_ORDERS = {"LSTM": "by name", "GRU": "by name", "RNN": ""}


@dataclass(frozen=True, eq=False)
class Gate:
    """One gate's arrays, by torch's axes, and its function."""

    W: Tensor
    U: Tensor
    b: Tensor
    peephole: Tensor | None
    function: str


@dataclass(frozen=True, eq=False)
class _File:
    tensors: Mapping[str, Tensor]
    functions: Mapping[str, str]
    classes: Mapping[str, str]

    def below(self, layer: str) -> tuple[str, ...]:
        start = f"{layer}." if layer else ""
        return tuple(name for name in self.tensors if name.startswith(start))

    def function(self, name: str) -> str:
        path = self.functions.get(name)
        if path not in _FUNCTIONS:
            raise ProbeError(
                f"{name!r} is {path or 'missing'!r}, and the functions that cells here have are "
                f"{', '.join(ACTIVATIONS)}. A network with another function cannot be loaded as one of them; leave "
                f"the layer out with names={{{name.rpartition('.')[0] + '.*'!r}: None}}."
            )
        return _FUNCTIONS[path]

    def gate(self, name: str) -> Gate:
        parts = {}
        for part in ("weights", "recurrent_weights", "bias"):
            if f"{name}.{part}".lstrip(".") not in self.tensors:
                raise ProbeError(
                    f"{name!r} has no {part}; it has {listed(self.below(name))}. A layer of another version, or a "
                    "damaged file: save its arrays by hand, with numpy.savez."
                )
            parts[part] = self.tensors[f"{name}.{part}".lstrip(".")]
        W, U, b = parts["weights"], parts["recurrent_weights"], parts["bias"].reshape(-1)
        units = U.shape[-1] if U.dim() else 0
        if W.dim() != 2 or tuple(U.shape) != (units, units) or W.shape[1] != units or len(b) not in (1, units):
            shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
            raise ProbeError(
                f"{name!r} has arrays of the shapes {shapes}; expected (input, units), (units, units) and (units). "
                "The file is damaged, or of another kind."
            )
        peephole = self.tensors.get(f"{name}.peephole_weights".lstrip("."))
        return Gate(
            W.T,
            U.T,
            b.expand(units),
            None if peephole is None else peephole.reshape(-1),
            self.function(f"{name}.activation_fn".lstrip(".")),
        )


def find(tensors: Mapping[str, Tensor], described: Any, choices: Choices) -> list[Found]:
    """Return the recurrent layers of a pickle of objects.

    Args:
        tensors: its arrays by dotted name.
        described: its classes and functions, an `object_pickles.Objects`.
        choices: with which the file is compared.

    Raises:
        ProbeError: a layer lacks arrays, or has a class, a function or a connection that no cell here has.
    """
    file = _File(tensors, described.functions, described.classes)
    found: list[Found] = []
    done: set[str] = set()
    for name, class_ in file.classes.items():
        ways = () if name in done else _ways(name, file)
        if not ways:
            continue
        done |= set(ways)
        kinds = [_kind(way, file) for way in ways]
        specs = [_spec(way, kind, file, choices) for way, kind in zip(ways, kinds, strict=True)]
        module = module_of(specs[0]) if len(specs) == 1 else pair_of(*specs)
        arrays = tuple(array for way in ways for array in file.below(way))
        found.append(Found(name, module, arrays, f"{class_.rpartition('.')[2]} of objects", _ORDERS[kinds[0]]))
    return found


def _ways(name: str, file: _File) -> tuple[str, ...]:
    """Return the names of a layer's one or two directions; nothing of an object that is no recurrent layer."""
    match = _CLASS.fullmatch(file.classes[name])
    if match is None or match["kind"] != "Bidirectional":
        if not file.below(name) or not _kind(name, file):
            return ()
        other = next((array for array in file.below(name) if array.rpartition(".")[2] not in _KNOWN), None)
        if other is not None or name.rpartition(".")[2] in _WAYS:
            raise ProbeError(
                f"{name!r} has {other or 'a name'!r} as no layer of madmom has outside of a BidirectionalLayer: the "
                f"file is damaged, or of a version that is not known. Leave it out: names={{{name + '.*'!r}: None}}."
            )
        return (name,)
    both = tuple(_joined(name, way) for way in _WAYS)
    return both if all(way in file.classes and file.below(way) and _kind(way, file) for way in both) else ()


def _kind(name: str, file: _File) -> str:
    """Return whether an object is a layer of an LSTM, of a GRU or plain, or "" if it is none of them."""
    class_ = file.classes[name]
    match = _CLASS.fullmatch(class_)
    if match:
        return "" if match["kind"] == "Bidirectional" else {"Recurrent": "RNN"}.get(match["kind"], match["kind"])
    if any(_joined(name, part) in file.tensors for part in _RECURRENT) and not _GATE.fullmatch(class_):
        raise ProbeError(
            f"{name or 'the object'!r} is of the class {class_!r}, which is none that is known, and what it makes of "
            f"its arrays is in its code. Known are madmom's layers. Leave it out with names={{{name + '.*'!r}: "
            "None}}, or save its arrays by hand, by torch's names."
        )
    return ""


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _spec(name: str, kind: str, file: _File, choices: Choices) -> LayerSpec:
    if kind == "RNN":
        gate = file.gate(name)
        _no_peephole(name, gate)
        choices.confirm("activation", name, gate.function)
        return LayerSpec(
            name, kind, gate.W, gate.U, gate.b, initial=_initial(name, file, 1), activation=gate.function
        )
    gates = {part: file.gate(_joined(name, part)) for part in _PARTS[kind]}
    candidate = gates["cell"]
    functions = {gate.function for gate in gates.values() if gate is not candidate}
    if len(functions) > 1:
        raise ProbeError(
            f"The gates of {name!r} have different functions ({', '.join(sorted(functions))}), and the cells here "
            "have one for all. It cannot be loaded."
        )
    _no_peephole(_joined(name, "cell"), candidate)
    function = functions.pop()
    choices.confirm("gate_activation", name, function)
    choices.confirm("activation", name, candidate.function)
    initial = _initial(name, file, 2 if kind == "LSTM" else 1)
    options: dict[str, Any] = {"gate": function, "activation": candidate.function, "initial": initial}
    if kind == "LSTM":
        options |= {"output": file.function(_joined(name, "activation_fn")), "peepholes": _peepholes(gates)}
        return LayerSpec(name, kind, *_stacked([gates[part] for part in _PARTS[kind]]), **options)
    for part in _PARTS[kind]:
        _no_peephole(_joined(name, part), gates[part])
    if function not in _ODD_AROUND_HALF:
        raise ProbeError(
            f"{name!r} is a GRU whose update gate, the function {function!r}, is inverted: no cell here computes 1 - "
            f"{function}(a). Only {', '.join(_ODD_AROUND_HALF)} can be loaded."
        )
    choices.confirm("reset", name, "after")
    update = gates["update_gate"]
    # u n + (1 - u) h is (1 - z) n + z h with z = 1 - u.
    inverted = replace(update, W=-update.W, U=-update.U, b=-update.b)
    return LayerSpec(name, kind, *_stacked([gates["reset_gate"], inverted, candidate]), **options)


def _stacked(gates: Sequence[Gate]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices and the bias of all gates, in the order given."""
    first = gates[0]
    if any(gate.W.shape != first.W.shape or gate.W.dtype != first.W.dtype for gate in gates):
        found = listed(f"{tuple(gate.W.shape)} of {gate.W.dtype}" for gate in gates)
        raise ProbeError(f"The gates of one layer have weights of {found}. The file is damaged, or of another kind.")
    return (
        torch.cat([gate.W for gate in gates], 0),
        torch.cat([gate.U for gate in gates], 0),
        torch.cat([gate.b for gate in gates], 0),
    )


def _peepholes(gates: Mapping[str, Gate]) -> tuple[Tensor, ...]:
    """Return p_i, p_f and p_o, zeros for those that are missing; or nothing."""
    found = [gates[part].peephole for part in ("input_gate", "forget_gate", "output_gate")]
    if all(one is None for one in found):
        return ()
    zeros = torch.zeros_like(gates["cell"].b)
    return tuple(zeros if one is None else one for one in found)


def _no_peephole(name: str, gate: Gate) -> None:
    if gate.peephole is not None:
        raise ProbeError(
            f"{name!r} has peephole weights, and no cell here has any at that place. It cannot be loaded."
        )


def _initial(name: str, file: _File, states: int) -> tuple[Tensor, ...]:
    """Return the states that a layer begins with, of which zeros are none."""
    hidden = next((file.tensors[own] for part in _INITIAL if (own := _joined(name, part)) in file.tensors), None)
    cell = file.tensors.get(_joined(name, "cell_init"))
    given = [hidden, cell][:states]
    if all(one is None or not one.any() for one in given):
        return ()
    like = next(one for one in given if one is not None)
    return tuple(torch.zeros_like(like).reshape(-1) if one is None else one.reshape(-1) for one in given)
