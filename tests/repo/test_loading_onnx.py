"""ONNX models that no cell expresses, constants that a graph computes, and what lies beside a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from refusing import refused
from torch import nn

import probe

DATA = Path(__file__).parents[1] / "data" / "checkpoints"


def model(
    given: dict[str, Any] | None = None,
    *,
    kind: str = "LSTM",
    constant: bool = True,
    nodes: tuple[Any, ...] = (),
    inputs: tuple[str, ...] = (),
    **arrays: np.ndarray,
) -> onnx.ModelProto:
    """Return a model with one node; its inputs are x, W and R, and those given besides."""
    drawn = np.random.default_rng(0)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}.get(kind, 4)
    shapes = {"W": (1, gates * 3, 2), "R": (1, gates * 3, 3)}
    weights = {name: drawn.normal(size=shape).astype("float32") for name, shape in shapes.items()} | arrays
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items() if constant or name != "W"]
    node = helper.make_node(kind, ["x", "W", "R", *inputs], ["y"], "node", **{"hidden_size": 3, **(given or {})})
    seen = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", 2])]
    if not constant:
        seen.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, shapes["W"]))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph([*nodes, node], "graph", seen, [y], constants))


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    """Write a model and return its path."""
    _ = (folder / "a.onnx").write_bytes(proto.SerializeToString())
    return folder / "a.onnx"


SOFT = {"activations": ["Softsign", "Tanh", "Tanh"]}
STEEP = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [0.3], "activation_beta": [0.5]}
#: One list that gives HardSigmoid 0.2 or 0.9.
TWO_WAYS = {"activations": ["Tanh", "HardSigmoid", "Tanh"], "activation_alpha": [0.9, 0.2, 0.0]}


@pytest.mark.parametrize(
    "proto",
    [
        model({"clip": 3.0}),
        model({"input_forget": 1}),
        model(SOFT),
        model(STEEP),
        model(TWO_WAYS),
        model({"direction": "sideways"}),
        model(constant=False),
        model(R=np.zeros((1, 12, 4), "float32")),
        model(inputs=("B",), B=np.zeros((1, 12), "float32")),
        model(kind="DynamicQuantizeLSTM"),
        model(inputs=("", "", "h"), h=np.arange(6, dtype="float32").reshape(1, 2, 3)),
    ],
)
def test_nodes_that_no_cell_expresses_are_refused(proto: onnx.ModelProto, tmp_path: Path) -> None:
    """The node, what it asks for and what there is are named."""
    with refused():
        _ = probe.load(saved(proto, tmp_path))


#: By the operation that an exporter left between a constant and W: how W is kept, the node's attributes and inputs.
W = np.random.default_rng(3).normal(size=(1, 12, 2)).astype("float32")
SLICE = ("starts", "ends", "axes", "steps")
STEPS: dict[str, tuple[np.ndarray, dict[str, Any], dict[str, Any]]] = {
    "Identity": (W, {}, {}),
    "Cast": (W.astype("float64"), {"to": TensorProto.FLOAT}, {}),
    "Transpose": (W.transpose(2, 0, 1), {"perm": [1, 2, 0]}, {}),
    "Concat": (W[:, :5], {"axis": 1}, {"more": W[:, 5:]}),
    "Slice": (np.concatenate([W, W], 1), {}, dict(zip(SLICE, np.array([[12], [99], [1], [1]]), strict=True))),
    "Squeeze": (W[None], {}, {"axes": np.array([0])}),
    "Unsqueeze": (W[0], {}, {"axes": np.array([0])}),
    "Reshape": (W.reshape(-1, 2), {}, {"shape": np.array([1, -1, 2])}),
    "Gather": (np.concatenate([W + 1, W]), {"axis": 0}, {"places": np.array([1])}),
    "Split": (np.concatenate([W, W - 1]), {"axis": 0}, {"sizes": np.array([1, 1])}),
    "DequantizeLinear": (np.round(W * 10).astype("int8"), {}, {"scale": np.float32(0.1), "zero": np.int8(0)}),
}


@pytest.mark.parametrize("operation", STEPS)
def test_weights_that_an_exporter_computes_of_constants_are_computed(operation: str, tmp_path: Path) -> None:
    """They are what onnx's own evaluator makes of the same node."""
    kept, given, more = STEPS[operation]
    node = helper.make_node(operation, ["kept", *more], ["W", "rest"][: 1 + (operation == "Split")], **given)
    arrays: dict[str, Any] = {"kept": kept, **more}
    proto = model(nodes=(node,), **arrays)
    del proto.graph.initializer[0]  # W itself
    proto.opset_import[0].version = 21
    found = probe.load(saved(proto, tmp_path)).recurrent["node"].get_parameter("weight_ih_l0")
    w = helper.make_tensor_value_info("W", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", [], [w], proto.graph.initializer[1:])
    alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (expected,) = ReferenceEvaluator(alone).run(None, {})
    i, o, f, c = np.split(expected[0], 4)
    assert np.abs(found.detach().numpy() - np.concatenate([i, f, c, o])).max() == 0


def test_a_state_that_a_node_starts_from_is_zeros_or_said(tmp_path: Path) -> None:
    """Zeros of a shape that depends on the batch, as exporters write them, are none; what a graph is given is hx."""
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["h"], value=numpy_helper.from_array(np.zeros(1, "f4")))
    shape = helper.make_node("Shape", ["x"], ["shape"])
    checkpoint = probe.load(saved(model(nodes=(shape, zeros), inputs=("", "", "h", "h")), tmp_path))
    assert type(checkpoint.recurrent["node"]) is nn.LSTM
    assert checkpoint.source.assumed == ()
    checkpoint = probe.load(saved(model(inputs=("", "lengths", "h")), tmp_path))
    assert type(checkpoint.recurrent["node"]) is nn.LSTM
    assert any("starts from hx, or from zeros" in sentence for sentence in checkpoint.source.assumed)
    assert any("gives it the rows' lengths" in sentence for sentence in checkpoint.source.assumed)


def test_numbers_beside_the_model_are_read_from_its_folder_alone(tmp_path: Path) -> None:
    """A path that leads out of the folder is refused, whatever lies there."""
    proto = model()
    weights = proto.graph.initializer[0]
    content = weights.raw_data
    expected = probe.load(saved(proto, tmp_path)).recurrent["node"]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    folder = tmp_path / "model"
    folder.mkdir()
    for where in (folder, tmp_path):
        _ = (where / "w.bin").write_bytes(content)
    location = weights.external_data.add(key="location", value="w.bin")
    found = probe.load(saved(proto, folder)).recurrent["node"]
    assert torch.equal(found.get_parameter("weight_ih_l0"), expected.get_parameter("weight_ih_l0"))
    for location.value in ("../w.bin", "/etc/hostname", "missing.bin"):
        with refused():
            _ = probe.load(saved(proto, folder))


def test_a_graph_that_lost_a_node_is_refused(tmp_path: Path) -> None:
    """What no node computes any more was computed by one that damage took away; a network must not go with it."""
    proto = onnx.load(DATA / "nested.onnx")
    branches = {attribute.name: attribute.g for attribute in proto.graph.node[0].attribute}
    del branches["then_branch"].node[-1]
    for _ in range(2):
        with refused():
            _ = probe.load(saved(proto, tmp_path))
        del proto.graph.node[0].attribute[0]
