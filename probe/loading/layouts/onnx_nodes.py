"""Builds recurrent layers from the LSTM, GRU and RNN nodes of an ONNX graph, nested graphs included.

Reference: the ONNX operators LSTM, GRU and RNN. Matrices are (directions, gates x units, input), the gates of an LSTM
i o f c, of a GRU z r h; what a node is given besides (peepholes, functions, clip) decides what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ..choices import Choices
from ..formats.onnx_file import OnnxModel, inner_graphs, name_of
from ..layer_spec import GATES, Found, LayerSpec, module_of, pair_of, reversed_module, rows
from ..readers import DEEPEST, SHOWN, reading
from .onnx_constants import Scope, attributes, constant
from .onnx_functions import functions_of, text

ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
WRITTEN = {"LSTM": "i o f c", "GRU": "z r h", "RNN": ""}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
ATTRIBUTES = frozenset(
    (
        *("activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size"),
        *("input_forget", "layout", "linear_before_reset", "output_sequence"),
    )
)
_ROUNDED = "rounds what it reads and its state to 8 bits at each step"
#: Nodes that compute what an LSTM or GRU does in integers, or with attention: what else they do.
_OTHERS = {"DynamicQuantizeLSTM": _ROUNDED, "QLinearLSTM": _ROUNDED, "AttnLSTM": "attends to its input at each step"}


@dataclass(frozen=True, eq=False)
class Node:
    """One recurrent node with what it is given.

    Attributes:
        name: with the nested graphs that it lies in.
        kind: LSTM, GRU or RNN.
        given: its attributes.
        inputs: their names, as many as the operator can have; "" for those left out.
        scope: where the names are looked up.
    """

    name: str
    kind: str
    given: Mapping[str, Any]
    inputs: tuple[str, ...]
    scope: Scope


def find(model: OnnxModel, choices: Choices, skipped: frozenset[str]) -> list[Found]:
    """Return the recurrent modules of an ONNX model.

    Args:
        model: its graph.
        choices: only assumptions are noted in them; the graph says everything else.
        skipped: names of nodes that the caller leaves out.

    Raises:
        ProbeError: a node computes what no cell here computes, or its weights are no constants.
    """
    found = []
    with reading(model.path, "an ONNX model", "Export the model anew."):
        for node in _nodes(model, model.graph, Scope.of(model.graph, "", model, None)):
            if node.name not in skipped:
                found.append(_found(node, choices))
    return found


def loops(model: OnnxModel) -> str:
    """Return what a graph computes step by step with plain operations, a sentence, or "" where it does nothing so.

    An exporter without an operator for a cell, such as tf2onnx for a masked layer of Keras, writes a loop over steps,
    whose matrices are constants that it is given.
    """
    told = []
    for number, node in enumerate(model.graph.node):
        inside = {below.op_type for _, graph in inner_graphs(node) for below in graph.node}
        if node.op_type in ("Loop", "Scan") and inside & {"MatMul", "Gemm"}:
            given = {name: model.constants[""].get(name) for name in node.input}
            arrays = [f"{name!r} {tuple(one.shape)}" for name, one in given.items() if one is not None and one.dim()]
            told.append(f"{name_of(node, number)!r} of {', '.join(arrays) or 'arrays inside it'}")
    if not told:
        return ""
    return (
        f"Its graph has no LSTM, GRU or RNN node, but what loops over steps in plain operations: "
        f"{'; '.join(told[:SHOWN])}. What they compute is not looked at: see there, and if they are cells of Keras, "
        "call each kernel, recurrent kernel and bias so with names=, as in names={'my_array': 'lstm/kernel'}. "
    )


def _nodes(model: OnnxModel, graph: Any, scope: Scope) -> Iterator[Node]:
    from onnx import defs

    if scope.around is not None and not graph.output:
        raise ValueError("a graph in another one returns nothing")
    for value in graph.output:
        if scope.home(value.name) is None:
            raise ValueError(f"nothing computes {value.name[:60]!r}, which a graph returns")
    for number, node in enumerate(graph.node):
        if node.op_type == "If" and {"then_branch", "else_branch"} - {one.name for one in node.attribute}:
            raise ValueError("an If has one branch")
        known = node.op_type in _OTHERS or defs.has(node.op_type)
        if node.domain in ("", "ai.onnx") and not known:
            raise ValueError(f"there is no operator {node.op_type[:40]!r}")
        own = scope.start + name_of(node, number)
        if node.op_type in _OTHERS:
            raise ProbeError(
                f"{own!r} is a {node.op_type}, which {_OTHERS[node.op_type]}, and no cell here does; LSTM, GRU and "
                f"RNN can be loaded. Give the model that it was made from, or leave it out with names={{{own!r}: "
                "None}."
            )
        if node.op_type in GATES and node.domain in ("", "ai.onnx"):
            inputs = (*node.input, *[""] * 8)[:8]
            yield Node(own, node.op_type, attributes(node), inputs, scope)
        for name, inner in inner_graphs(node):
            yield from _nodes(model, inner, Scope.of(inner, f"{own}.{name}.", model, scope))


def _found(node: Node, choices: Choices) -> Found:
    direction = text(node.given.get("direction", "forward"))
    if direction not in DIRECTIONS:
        raise ProbeError(f"{node.name!r} has the direction {direction!r}; {', '.join(DIRECTIONS)} can be loaded.")
    ways = DIRECTIONS[direction]
    unknown = sorted(set(node.given) - ATTRIBUTES)
    if unknown:
        raise ProbeError(
            f"{node.name!r} has the attribute {unknown[0]!r}, which no {node.kind} of ONNX has. The file is damaged."
        )
    for name, usual, why in (("clip", 0.0, "cuts off pre-activations"), ("input_forget", 0, "couples its gates")):
        if node.given.get(name, usual) != usual:
            raise ProbeError(
                f"{node.name!r} {why} ({name}={node.given[name]}), which no cell here does. It cannot be loaded; "
                f"leave it out with names={{{node.name!r}: None}}."
            )
    specs = [_spec(node, way, ways, choices) for way in range(ways)]
    _note_inputs(node, choices)
    return Found(node.name, _module(specs, direction), _arrays(node), f"ONNX {node.kind}", WRITTEN[node.kind])


def _module(specs: list[LayerSpec], direction: str) -> nn.Module:
    if len(specs) == 2:
        return pair_of(*specs)
    return reversed_module(specs[0], restored=True) if direction == "reverse" else module_of(specs[0])


def _arrays(node: Node) -> tuple[str, ...]:
    """Return the names of the constants that a node is given; what was computed of constants is none."""
    names = []
    for name in (node.inputs[at] for at in (1, 2, 3, 5, 6, 7)):
        home = node.scope.home(name) if name else None
        if home is not None and name in home.kept:
            names.append(home.start + name)
    return tuple(names)


def _spec(node: Node, way: int, ways: int, choices: Choices) -> LayerSpec:
    gates, order = GATES[node.kind], ORDERS[node.kind]
    weights = {name: _weight(node, place) for name, place in (("W", 1), ("R", 2))}
    W, R = weights["W"], weights["R"]
    units = R.shape[-1]
    size = node.given.get("hidden_size", units)
    if W.dim() != 3 or R.dim() != 3 or R.shape != (ways, gates * units, units) or W.shape[:2] != R.shape[:2]:
        raise ProbeError(
            f"{node.name!r} has W of shape {tuple(W.shape)} and R of shape {tuple(R.shape)}; expected ({ways}, "
            f"{gates} x units, input) and ({ways}, {gates} x units, units). The file is damaged."
        )
    if size != units:
        raise ProbeError(f"{node.name!r} has hidden_size={size} and weights of {units} units. The file is damaged.")
    bias = _optional(node, 3, (ways, 2 * gates * units))
    first, second = (None, None) if bias is None else (rows(half, order, gates) for half in bias[way].chunk(2))
    peepholes: tuple[Tensor, ...] = ()
    if node.kind == "LSTM":
        seen = _optional(node, 7, (ways, 3 * units))
        if seen is not None and bool(seen.any()):
            p_i, p_o, p_f = seen[way].chunk(3)
            peepholes = p_i.contiguous(), p_f.contiguous(), p_o.contiguous()
    functions: dict[str, Any] = functions_of(node.name, node.kind, node.given, way, ways)
    if node.kind == "GRU":
        functions["reset"] = "after" if node.given.get("linear_before_reset", 0) else "before"
    for name, argument in (("gate", "gate_activation"), ("activation", "activation"), ("reset", "reset")):
        if name in functions:
            choices.confirm(argument, node.name, functions[name])
    return LayerSpec(
        node.name,
        node.kind,
        rows(W[way], order, gates),
        rows(R[way], order, gates),
        first,
        second,
        peepholes=peepholes,
        initial=_initial(node, way, ways, units),
        **functions,
    )


def _weight(node: Node, place: int) -> Tensor:
    value = constant(node.scope, node.inputs[place]) if node.inputs[place] else None
    if value is None:
        raise ProbeError(
            f"{node.name!r} is a {node.kind} whose weights {node.inputs[place]!r} are no constants of the file: "
            "they are computed when it runs. Export the model with its weights folded in, or leave the node out with "
            f"names={{{node.name!r}: None}}."
        )
    return value


def _optional(node: Node, place: int, shape: tuple[int, ...]) -> Tensor | None:
    if not node.inputs[place]:
        return None
    value = _weight(node, place)
    if tuple(value.shape) != shape:
        raise ProbeError(
            f"{node.name!r} has {node.inputs[place]!r} of shape {tuple(value.shape)}; expected {shape}. The file is "
            "damaged."
        )
    return value


def _initial(node: Node, way: int, ways: int, units: int) -> tuple[Tensor, ...]:
    """Return the states that a node starts from, or nothing where they are zero or given when it runs."""
    states = [_state(node.scope, node.inputs[place], 0) for place in ((5, 6) if node.kind == "LSTM" else (5,))]
    if not any(isinstance(state, Tensor) and bool(state.any()) for state in states):
        return ()
    rows_ = []
    zeros = torch.zeros(ways, 1, units)
    for found in states:
        state = found if isinstance(found, Tensor) else zeros
        batch_first = node.given.get("layout", 0) == 1
        own = state.transpose(0, 1) if batch_first and state.dim() == 3 else state
        if own.numel() == 1:
            own = own.reshape(1, 1, 1).expand(ways, 1, units)
        if own.dim() != 3 or own.shape[0] != ways or own.shape[2] != units or bool((own != own[:, :1]).any()):
            raise ProbeError(
                f"{node.name!r} starts from states of shape {tuple(state.shape)}, which are not the same for every "
                f"row. It cannot be loaded; leave it out with names={{{node.name!r}: None}}."
            )
        rows_.append(own[way, 0].clone())
    return tuple(rows_)


def _state(scope: Scope, name: str, depth: int) -> Tensor | str:
    """Return the state that a name stands for: constant for every row, or "given" when the graph runs."""
    if not name:
        return torch.zeros(1)
    value = constant(scope, name)
    if value is not None:
        return value
    home = scope.home(name)
    node = home.producers.get(name) if home is not None else None
    if home is None or node is None or depth > DEEPEST:
        return "given"
    if node.op_type == "ConstantOfShape":
        # Of any shape: it depends on how many rows there are.
        filled = attributes(node).get("value")
        return torch.zeros(1) if filled is None else _number(filled)
    if node.op_type in ("Expand", "Tile", "Identity", "Cast", "Unsqueeze", "Squeeze", "Slice", "Reshape"):
        inner = _state(home, node.input[0], depth + 1)
        if isinstance(inner, Tensor) and (inner.numel() == 1 or node.op_type in ("Expand", "Tile", "Identity")):
            return inner
    return "given"


def _number(proto: Any) -> Tensor:
    from onnx import numpy_helper

    return torch.tensor([float(numpy_helper.to_array(proto).reshape(-1)[0])])


def _note_inputs(node: Node, choices: Choices) -> None:
    for place in (5, 6) if node.kind == "LSTM" else (5,):
        if _state(node.scope, node.inputs[place], 0) == "given":
            choices.assume(
                f"{node.name}: its graph starts it from states that are computed or given when it runs; here it "
                "starts from hx, or from zeros without it"
            )
    if node.inputs[4]:
        choices.assume(
            f"{node.name}: its graph gives it the rows' lengths; here give packed rows, or rows of one length"
        )
