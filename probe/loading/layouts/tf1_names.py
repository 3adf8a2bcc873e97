"""Finds recurrent layers by TensorFlow 1's variable names, such as `rnn/basic_lstm_cell/kernel`.

A cell has one matrix for input and state, (input + units, gates x units), and what the class adds at run time, such
as an LSTM's forget bias, is in no variable. Reference: TensorFlow 1.15, python/ops/rnn_cell_impl.py and
contrib/rnn/python/ops/lstm_ops.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import ProbeError
from ..choices import Choices
from ..layer_spec import Found, LayerSpec, module_of, pair_of, rows
from ..readers import listed
from . import flax_names

_KERNEL, _BIAS = r"(?:kernel|weights|Matrix|Linear/Matrix)", r"(?:bias|biases|Bias|Linear/Bias)"
_CELL = re.compile(
    r"(?P<cell>(?P<scope>(?:.*[/.])?)(?P<kind>(?:[a-z_]*_)?(?:lstm|gru|rnn)(?:_[a-z]+)*_cell(?:_v2)?|BasicLSTMCell|LSTMCell|"
    r"GRUCell|BasicRNNCell|cudnn_compatible_lstm_cell|cudnn_compatible_gru_cell)(?:_\d+)?)[/.](?P<part>.+)"
)
#: The cells that each function below knows.
_KINDS = {
    "_lstm": r"(basic_)?lstm_cell|lstm_fused_cell|lstm_block_cell|BasicLSTMCell|LSTMCell",
    "_gru": r"(basic_)?gru_cell|gru_block_cell(_v2)?|GRUCell",
    "_rnn": r"(basic_|vanilla_)?rnn_cell|BasicRNNCell",
}
#: What a cell's variables are, by their names below it.
_PARTS = {
    re.compile(_KERNEL): "kernel",
    re.compile(_BIAS): "bias",
    re.compile(rf"(?:gates|Gates)[/.]{_KERNEL}"): "gates kernel",
    re.compile(rf"(?:gates|Gates)[/.]{_BIAS}"): "gates bias",
    re.compile(rf"(?:candidate|Candidate)[/.]{_KERNEL}"): "candidate kernel",
    re.compile(rf"(?:candidate|Candidate)[/.]{_BIAS}"): "candidate bias",
    re.compile(rf"projection[/.]{_KERNEL}"): "projection",
    re.compile(r"w_i_diag"): "p_i",
    re.compile(r"w_f_diag"): "p_f",
    re.compile(r"w_o_diag"): "p_o",
}
#: What is no variable of the network, but of what trained it.
_SLOT = re.compile(
    r".*[/.](?:Adam|Adam_1|Adagrad|Momentum|RMSProp|RMSProp_1|Ftrl|Ftrl_1|Adadelta|Adadelta_1|"
    r"ExponentialMovingAverage|AdaMax|AdaMax_1|gradient_squared)"
)
LSTM_ORDER, GRU_ORDER = "i j f o", "r u"
FORGET_WHY = (
    "the arrays are those of a TensorFlow 1 LSTM cell, which adds its forget_bias to the forget gate at run time: it "
    "is in no file, and with the wrong one nothing fails, only the answers come out wrong"
)
FORGET_USUAL = "1.0 (the default of BasicLSTMCell and LSTMCell) and 0.0"


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell's variables.

    Attributes:
        name: its scope.
        kind: the scope's own word, such as `basic_lstm_cell`.
        parts: the names of the variables by what they are.
    """

    name: str
    kind: str
    parts: Mapping[str, str]


def find(tensors: Mapping[str, Tensor], choices: Choices) -> list[Found]:
    """Return the recurrent modules whose variables are named as TensorFlow 1's cells name them.

    Args:
        tensors: the variables by name, with slashes or dots.
        choices: `forget_bias` and `activation`.

    Raises:
        ProbeError: the variables do not fit, or a choice was not made.
    """
    cells = _cells(tensors)
    specs = {cell.name: _spec(cell, tensors, choices) for cell in cells}
    found: list[Found] = []
    seconds = {_other_way(name, specs) for name in specs}
    for cell in cells:
        if cell.name in seconds:
            continue
        other = _other_way(cell.name, specs)
        together = [cell] if other is None else [cell, next(one for one in cells if one.name == other)]
        own = [specs[one.name] for one in together]
        name = cell.name if other is None else re.sub(r"(^|[/.])fw[/.].*", "", cell.name) or cell.name
        module = module_of(own[0]) if other is None else pair_of(*own)
        if other is not None:
            choices.assume(f"{name}: fw and bw are the two directions of one layer, concatenated")
        kind = own[0].kind
        order = LSTM_ORDER if kind == "LSTM" else GRU_ORDER if kind == "GRU" else ""
        names = tuple(at for one in together for at in one.parts.values())
        found.append(Found(name, module, names, f"TensorFlow 1 {cell.kind}", order))
    return found


def _cells(tensors: Mapping[str, Tensor]) -> list[Cell]:
    parts: dict[str, dict[str, str]] = {}
    kinds: dict[str, str] = {}
    for name in tensors:
        match = _CELL.fullmatch(name)
        # Flax's cells are called LSTMCell_0 and GRUCell_0 too, and have arrays for each gate.
        if not match or _SLOT.fullmatch(name) or flax_names.FLAX.fullmatch(name):
            continue
        part = next((what for pattern, what in _PARTS.items() if pattern.fullmatch(match["part"])), None)
        # Keras's cells have the same scopes, and a recurrent kernel beside the kernel.
        parts.setdefault(match["cell"], {})[part or match["part"]] = name
        kinds[match["cell"]] = match["kind"]
    return [
        Cell(name, kinds[name], own)
        for name, own in parts.items()
        if not any("recurrent_kernel" in part for part in own)
    ]


def _other_way(name: str, cells: Mapping[str, Any]) -> str | None:
    """Return the cell that reads backwards beside one that reads forwards."""
    other = re.sub(r"(^|[/.])fw([/.])", r"\1bw\2", name)
    return other if other != name and other in cells else None


def _spec(cell: Cell, tensors: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    found = {part: tensors[name] for part, name in cell.parts.items()}
    makers = {
        frozenset({"gates kernel", "gates bias", "candidate kernel", "candidate bias"}): _gru,
        frozenset({"kernel", "bias", "projection"}): _lstm,
        frozenset({"kernel", "bias", "p_i", "p_f", "p_o"}): _lstm,
        frozenset({"kernel", "bias", "p_i", "p_f", "p_o", "projection"}): _lstm,
        frozenset({"kernel", "bias"}): _rnn if re.fullmatch(_KINDS["_rnn"], cell.kind) else _lstm,
    }
    make = makers.get(frozenset(found))
    allowed = next((kinds for maker, kinds in _KINDS.items() if make is not None and make.__name__ == maker), "")
    # By the cell's own word: a coupled or grouped LSTM has a kernel and a bias too, and its columns are others.
    if make is None or not re.fullmatch(allowed, cell.kind):
        raise ProbeError(
            f"{cell.name!r} is named as a cell of TensorFlow 1, and its variables are {listed(cell.parts.values())}, "
            "which are those of none that can be loaded: an LSTM has kernel and bias (and w_i_diag, w_f_diag, "
            "w_o_diag, projection/kernel), a GRU gates/ and candidate/ with kernel and bias, a plain RNN kernel and "
            f"bias. Leave it out with names={{{cell.name + '*'!r}: None}}."
        )
    return make(cell, found, choices)


def _split(cell: Cell, kernel: Tensor, state: int) -> tuple[Tensor, Tensor]:
    """Return the input's and the state's matrices, (gates x units, input) and (gates x units, state)."""
    inputs = kernel.shape[0] - state
    if inputs < 1:
        raise ProbeError(
            f"{cell.name!r} has a kernel of shape {tuple(kernel.shape)}, which must have more than {state} rows: "
            "one for each input and each unit. The file is damaged, or of another kind."
        )
    return kernel[:inputs].T.contiguous(), kernel[inputs:].T.contiguous()


def _activation(cell: Cell, choices: Choices) -> str:
    chosen = choices.get("activation", cell.name)
    if chosen is None:
        choices.assume(f"{cell.name}: activation='tanh', the default of TensorFlow's cells")
    return chosen or "tanh"


def _lstm(cell: Cell, found: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    kernel, bias, projection = found["kernel"], found["bias"], found.get("projection")
    units = kernel.shape[1] // 4
    W, U = _split(cell, kernel, units if projection is None else projection.shape[1])
    added = choices.need("forget_bias", cell.name, FORGET_WHY, FORGET_USUAL)
    # TensorFlow's j is torch's g: i j f o.
    W, U, bias = (rows(part, (0, 2, 1, 3), 4) for part in (W, U, bias))
    bias = bias.clone()
    bias[units : 2 * units] += added
    if not cell.kind.startswith(("basic", "Basic")):
        choices.assume(f"{cell.name}: nothing is clipped (cell_clip=None, proj_clip=None), the default")
    peepholes = tuple(found[name] for name in ("p_i", "p_f", "p_o") if name in found)
    activation = _activation(cell, choices)
    P = None if projection is None else projection.T.contiguous()
    return LayerSpec(
        cell.name, "LSTM", W, U, bias, P=P, peepholes=peepholes, activation=activation, output=activation
    )


def _gru(cell: Cell, found: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    units = found["candidate kernel"].shape[1]
    pairs = []
    for part in ("gates", "candidate"):
        pairs.append((*_split(cell, found[f"{part} kernel"], units), found[f"{part} bias"]))
    W, U, bias = (torch.cat(parts, 0) for parts in zip(*pairs, strict=True))
    return LayerSpec(cell.name, "GRU", W, U, bias, activation=_activation(cell, choices), reset="before")


def _rnn(cell: Cell, found: Mapping[str, Tensor], choices: Choices) -> LayerSpec:
    why = "the arrays are those of a BasicRNNCell, whose function is in no file"
    activation = choices.need("activation", cell.name, why, "'tanh' (the default) and 'relu'")
    W, U = _split(cell, found["kernel"], found["kernel"].shape[1])
    return LayerSpec(cell.name, "RNN", W, U, found["bias"], activation=activation)
