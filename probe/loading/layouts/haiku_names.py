"""Finds recurrent layers by Haiku's names: `lstm/linear`, `gru`, `vanilla_rnn/linear`.

An LSTM has one matrix (input + units, 4 x units) with gates i g f o, and always adds 1 to its forget gate; a GRU has
`w_i`, `w_h` and `b` with gates z r a, resets before the product, and gives h = (1 - z) h + z a; a plain core is relu.
Reference: haiku/_src/recurrent.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, rows
from ..readers import listed
from .flax_names import TRAINING

_NAME = re.compile(
    r"(?:params[/.])*(?P<core>(?:.*/)?(?:\w*lstm|\w*vanilla_rnn)(?:_\d+)?)/(?:~/)?(?P<part>linear(?:_1)?[/.][wb])"
    r"|(?:params[/.])*(?P<gru>.*?)[/.](?P<own>w_i|w_h|b)"
)
_LSTM, _PLAIN = ("linear/w", "linear/b"), ("linear/w", "linear/b", "linear_1/w", "linear_1/b")
FORGET_BIAS = 1.0


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose arrays are named as Haiku's cores name them.

    Args:
        tensors: the arrays by name.
        choices: with which is compared what Haiku always does.

    Raises:
        ProbeError: the arrays are of another core, or do not fit.
    """
    cores: dict[str, dict[str, str]] = {}
    for name in tensors:
        if not TRAINING.match(name) and (match := _NAME.fullmatch(name)):
            part = (match["part"] or match["own"]).replace(".", "/")
            cores.setdefault(match["core"] or match["gru"], {})[part] = name
    found = []
    for name, parts in cores.items():
        arrays = {part: tensors[array] for part, array in parts.items()}
        kind, order = "GRU", "z r a"
        if "w_i" in parts or "w_h" in parts:
            spec = _gru(name, arrays, choices)
        elif re.search(r"lstm(?:_\d+)?$", name):
            kind, order = "LSTM", "i g f o"
            spec = _lstm(name, arrays, choices)
        elif re.search(r"vanilla_rnn(?:_\d+)?$", name):
            kind, order = "VanillaRNN", ""
            spec = _plain(name, arrays, choices)
        else:
            continue  # a bias of anything
        choices.assume(f"{name}: arrays of these names are those of Haiku's {kind}")
        choices.assume(f"{name}: its core reads from the beginning, and begins with zeros")
        found.append(Found(name, module_of(spec), tuple(parts.values()), f"Haiku {kind}", order))
    return found


def _check(name: str, arrays: Mapping[str, Tensor], wanted: tuple[str, ...], shapes: str) -> None:
    if set(arrays) != set(wanted) or any(
        array.dim() != (1 if part[-1] == "b" else 2) for part, array in arrays.items()
    ):
        found = listed(f"{part} {tuple(array.shape)}" for part, array in arrays.items())
        raise ProbeError(
            f"{name!r} is named as a core of Haiku, and has {found}; expected {', '.join(wanted)}: {shapes}. Leave "
            f"it out with names={{{name + '*'!r}: None}}."
        )


def _lstm(name: str, arrays: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    _check(name, arrays, _LSTM, "(input + units, 4 x units) and (4 x units)")
    w, b = arrays["linear/w"], arrays["linear/b"]
    units = w.shape[1] // 4
    choices.confirm("forget_bias", name, FORGET_BIAS)
    W, U, bias = (rows(part, (0, 2, 1, 3), 4) for part in (w[:-units].T, w[-units:].T, b))
    bias = bias.clone()
    bias[units : 2 * units] += FORGET_BIAS
    return LayerSpec(name, "LSTM", W.contiguous(), U.contiguous(), bias)


def _gru(name: str, arrays: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    _check(name, arrays, ("w_i", "w_h", "b"), "(input, 3 x units), (units, 3 x units) and (3 x units)")
    w_i, w_h, b = arrays["w_i"], arrays["w_h"], arrays["b"]
    units = w_h.shape[0]
    choices.confirm("reset", name, "before")
    W, U, bias = (rows(part, (1, 0, 2), 3) for part in (w_i.T, w_h.T, b))
    # (1 - z) h + z a is torch's z h + (1 - z) a with z = sigmoid(-a_z).
    W, U, bias = (part.clone() for part in (W, U, bias))
    for part in (W, U, bias):
        part[units : 2 * units] *= -1
    return LayerSpec(name, "GRU", W, U, bias, reset="before")


def _plain(name: str, arrays: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    wanted = _PLAIN if "linear_1/b" in arrays else _PLAIN[:3]
    _check(name, arrays, wanted, "(input, units) and (units, units), with a bias or two")
    choices.confirm("activation", name, "relu")
    W, U = arrays["linear/w"].T.contiguous(), arrays["linear_1/w"].T.contiguous()
    return LayerSpec(name, "RNN", W, U, arrays["linear/b"], arrays.get("linear_1/b"), activation="relu")
