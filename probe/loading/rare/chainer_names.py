"""Finds recurrent layers by the names of Chainer's links: `upward` and `lateral`, `W_r` and `U_r`, `0/w0`.

`LSTM`: (4 units, input) and (4 units, units), the gates a i f o of each unit beside each other. `GRU`: a linear layer
for each gate and side; it resets before the product and gives h = (1 - z) h + z n. `NStepLSTM`, `NStepGRU`,
`NStepRNN`: a link for each layer and direction, with w0, w1 ... of the input, then of the state, gates i f a o and
r z n. Reference: Chainer 7, links/rnn and functions/rnn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import GATES, Found, LayerSpec, module_of, pair_of
from ..readers import listed

_LSTM = re.compile(r"(?:(?P<link>.*)[/.])?(?P<part>(?:upward|lateral|peep_[ifo])[/.][Wb])")
_GRU = re.compile(r"(?:(?P<link>.*)[/.])?(?P<part>[WU](?:_[rz])?[/.][Wb])")
_STEPS = re.compile(r"(?:(?P<link>.*)[/.])?(?P<number>\d+)[/.](?P<part>[wb]\d+)")
_LINEAR = ("W_r", "W_z", "W", "U_r", "U_z", "U")
#: By how many matrices a layer of an NStep link has.
_KINDS = {2 * gates: kind for kind, gates in GATES.items()}
_ORDERS = {"LSTM": "i f a o", "GRU": "r z n", "RNN": ""}


@dataclass(frozen=True, eq=False)
class _Link:
    """One link's arrays by what they are, such as `upward/W`."""

    name: str
    parts: Mapping[str, str]
    tensors: Mapping[str, Tensor]

    def get(self, part: str) -> Tensor:
        return self.tensors[self.parts[part]]

    def has(self, *parts: str) -> bool:
        return set(parts) <= set(self.parts)

    def wrong(self, expected: str) -> ProbeError:
        found = listed(f"{part} {tuple(self.get(part).shape)}" for part in self.parts)
        return ProbeError(
            f"{self.name!r} is named as a link of Chainer, and has {found}; expected {expected}. Leave it out with "
            f"names={{{self.name + '*'!r}: None}}."
        )


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as Chainer's links name them.

    Args:
        tensors: the arrays by name, with slashes or dots.
        choices: with which is compared what the links always do, and `activation` of a plain one.

    Raises:
        ProbeError: the arrays do not fit, or are of a link that no cell here computes.
    """
    found: list[Found] = []
    for link in _links(tensors, _LSTM):
        if link.has("upward/W", "lateral/W"):
            found.append(_found(link, _lstm(link, choices), "LSTM", "a i f o, by unit"))
    for link in _links(tensors, _GRU):
        if link.has(*(f"{part}/W" for part in _LINEAR)):
            found.append(_found(link, _gru(link, choices), "GRU", "by name"))
    return [*found, *_steps(tensors, choices)]


def _links(tensors: Mapping[str, Tensor], pattern: re.Pattern[str]) -> list[_Link]:
    links: dict[str, dict[str, str]] = {}
    for name in tensors:
        if match := pattern.fullmatch(name):
            links.setdefault(match["link"] or "", {})[match["part"].replace(".", "/")] = name
    return [_Link(name, parts, tensors) for name, parts in links.items()]


def _found(link: _Link, spec: LayerSpec, kind: str, order: str) -> Found:
    return Found(link.name, module_of(spec), tuple(link.parts.values()), f"Chainer {kind}", order)


def _lstm(link: _Link, choices: Choices) -> LayerSpec:
    if set(link.parts) != {"upward/W", "upward/b", "lateral/W"}:
        raise link.wrong("upward/W, upward/b and lateral/W (a StatefulPeepholeLSTM's peepholes are whole matrices)")
    W, U, b = link.get("upward/W"), link.get("lateral/W"), link.get("upward/b")
    if W.dim() != 2 or U.dim() != 2 or b.dim() != 1 or not len(W) == len(U) == len(b) == 4 * U.shape[1]:
        raise link.wrong("(4 x units, input), (4 x units) and (4 x units, units)")
    where = link.name or "the link"
    choices.confirm("forget_bias", where, 0.0)  # it is in the bias itself
    choices.assume(f"{where}: a link LSTM, without zoneout")
    # Gates a i f o of each unit beside each other; torch's are i f g o, one block after another.
    units = U.shape[1]
    W, U, b = (
        part.reshape(units, 4, *part.shape[1:])[:, (1, 2, 0, 3)].transpose(0, 1).reshape(part.shape)
        for part in (W, U, b)
    )
    return LayerSpec(where, "LSTM", W, U, b)


def _gru(link: _Link, choices: Choices) -> LayerSpec:
    wanted = {f"{part}/W" for part in _LINEAR}
    if not set(link.parts) - wanted <= {f"{part}/b" for part in _LINEAR}:
        raise link.wrong(f"W and b of {', '.join(_LINEAR)}")
    kernels = {part: link.get(f"{part}/W") for part in _LINEAR}
    units = len(kernels["W"]) if kernels["W"].dim() else 0
    biases = {
        part: link.get(f"{part}/b") if link.has(f"{part}/b") else kernels[part].new_zeros(units) for part in _LINEAR
    }
    fits = all(
        one.dim() == 2 and len(one) == units and one.shape[1:] == kernels[part[0]].shape[1:]
        for part, one in kernels.items()
    )
    if not fits or any(tuple(bias.shape) != (units,) for bias in biases.values()):
        raise link.wrong("(units, input) of W, (units, units) of U and (units) of each b")
    where = link.name or "the link"
    if any(biases[part].any() for part in ("U_r", "U_z", "U")):
        raise ProbeError(
            f"{where!r} is a GRU of Chainer with biases of its state's matrices that are not zero: at the first step "
            "a StatefulGRU leaves these out, and a StatelessGRU does not. No cell here does the first, and no file "
            f"says which it is. Leave it out with names={{{link.name + '*'!r}: None}}, and build it by hand."
        )
    choices.confirm("reset", where, "before")
    W, U, b = (
        torch.cat([_signed(gate) * arrays[f"{side}{gate}"] for gate in ("_r", "_z", "")], 0)
        for side, arrays in (("W", kernels), ("U", kernels), ("W", biases))
    )
    return LayerSpec(where, "GRU", W, U, b, reset="before")


def _signed(gate: str) -> int:
    """Return the sign of a gate: (1 - z) h + z n is torch's z h + (1 - z) n with z = sigmoid(-a_z)."""
    return -1 if gate == "_z" else 1


def _steps(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the layers of NStep links, each a module of one or two directions."""
    stacks: dict[str, dict[int, dict[str, str]]] = {}
    for name in tensors:
        if match := _STEPS.fullmatch(name):
            layers = stacks.setdefault(match["link"] or "", {})
            layers.setdefault(int(match["number"]), {})[match["part"]] = name
    found: list[Found] = []
    for stack, layers in stacks.items():
        links = {number: _Link(f"{stack}/{number}".lstrip("/"), parts, tensors) for number, parts in layers.items()}
        specs = {number: _step(link, choices) for number, link in sorted(links.items())}
        ways = _ways(stack, list(specs.values()))
        numbers = list(specs)
        for first in range(0, len(numbers), ways):
            own = numbers[first : first + ways]
            module = module_of(specs[own[0]]) if ways == 1 else pair_of(*(specs[number] for number in own))
            arrays = tuple(array for number in own for array in links[number].parts.values())
            kind = specs[own[0]].kind
            found.append(Found(links[own[0]].name, module, arrays, f"Chainer NStep{kind}", _ORDERS[kind]))
    return found


def _step(link: _Link, choices: Choices) -> LayerSpec:
    count = sum(part.startswith("w") for part in link.parts)
    kind = _KINDS.get(count)
    wanted = {f"{part}{number}" for part in "wb" for number in range(count)}
    if kind is None or set(link.parts) != wanted:
        raise link.wrong("as many w as b: 8 of an LSTM, 6 of a GRU, 2 of a plain RNN, from 0 on")
    half = count // 2
    units = len(link.get("w0")) if link.get("w0").dim() else 0
    shapes = [(units, link.get("w0").shape[-1])] * half + [(units, units)] * half if units else []
    if [tuple(link.get(f"w{number}").shape) for number in range(count)] != shapes or any(
        tuple(link.get(f"b{number}").shape) != (units,) for number in range(count)
    ):
        raise link.wrong("(units, input), then (units, units), and (units) of each b")
    W, U, b_ih, b_hh = (
        torch.cat([link.get(f"{part}{number}") for number in numbers], 0)
        for part in "wb"
        for numbers in (range(half), range(half, count))
    )
    if kind == "RNN":
        why = "the arrays are those of an NStepRNN, and which of its functions it has is in no file"
        activation = choices.need("activation", link.name, why, "'tanh' (NStepRNNTanh) and 'relu' (NStepRNNReLU)")
        return LayerSpec(link.name, kind, W, U, b_ih, b_hh, activation=activation)
    return LayerSpec(link.name, kind, W, U, b_ih, b_hh)


def _ways(stack: str, specs: Sequence[LayerSpec]) -> int:
    """Return how many directions a stack has, which the sizes of its layers' inputs say.

    Raises:
        ProbeError: they do not.
    """
    sizes = [spec.W.shape[1] for spec in specs]
    units = specs[0].U.shape[1]
    one = [sizes[0]] + [units] * (len(specs) - 1)
    two = [sizes[0]] * 2 + [2 * units] * (len(specs) - 2)
    if len({(spec.kind, spec.U.shape) for spec in specs}) > 1 or (sizes != one and (sizes != two or len(specs) % 2)):
        raise ProbeError(
            f"The layers of {stack!r} read inputs of the sizes {sizes} with {units} units, as no stack of Chainer "
            f"does. Leave it out with names={{{stack + '*'!r}: None}}."
        )
    if len(specs) == 2 and one == two:
        raise ProbeError(
            f"{stack!r} has two layers of {units} units that read inputs of that size: two levels, or two "
            f"directions, which no file of Chainer says. Load one by one: names={{{stack + '/1/*'!r}: None}}, then "
            f"names={{{stack + '/0/*'!r}: None}}."
        )
    return 2 if sizes == two else 1
