"""Write the ONNX models here, and what onnxruntime or torch computes from them: `python make_onnx.py`.

In an environment of its own, with torch, onnx, onnxscript and onnxruntime; of these only onnx is needed to test.
`nodes.onnx` holds every option of the three operators beside each other; the others are written by exporters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HARD = {"activations": ["HardSigmoid", "Tanh", "Relu"], "activation_alpha": [0.2], "activation_beta": [0.5]}
AFFINE = {"activations": ["Sigmoid", "Affine", "Tanh"], "activation_alpha": [1.0], "activation_beta": [0.0]}
BOTH = {"direction": "bidirectional"}
#: By the name of the node: operator, directions, attributes, and further inputs.
NODES: dict[str, tuple[str, int, dict[str, Any], tuple[str, ...]]] = {
    "lstm": ("LSTM", 1, {}, ("B",)),
    "lstm_no_bias": ("LSTM", 1, {}, ()),
    "lstm_reverse": ("LSTM", 1, {"direction": "reverse"}, ("B",)),
    "lstm_both": ("LSTM", 2, BOTH, ("B",)),
    "lstm_peepholes": ("LSTM", 1, {}, ("B", "P")),
    "lstm_initial": ("LSTM", 1, {}, ("B", "initial_h", "initial_c")),
    "lstm_hard": ("LSTM", 1, HARD, ("B",)),
    "lstm_affine": ("LSTM", 1, AFFINE, ("B",)),
    "gru_after": ("GRU", 1, {"linear_before_reset": 1}, ("B",)),
    "gru_before": ("GRU", 1, {}, ("B",)),
    "gru_both": ("GRU", 2, BOTH | {"linear_before_reset": 1}, ("B",)),
    "gru_initial": ("GRU", 2, BOTH, ("B", "initial_h")),
    "rnn": ("RNN", 1, {}, ("B",)),
    "rnn_two_functions": ("RNN", 2, BOTH | {"activations": ["Relu", "Tanh"]}, ("B",)),
}


def of(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> onnx.ModelProto:
    """Return a model of a graph."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def floats(name: str, *shape: int) -> Any:
    """Return what a graph says of an array that it is given or returns."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or None)


def every_node() -> onnx.ModelProto:
    """Return a model with all nodes beside each other; states to start from are spread over the batch."""
    drawn = np.random.default_rng(0)
    nodes, constants, outputs = [], [], []
    for name, (kind, ways, given, more) in NODES.items():
        wide = GATES[kind] * UNITS
        shapes = {"W": (wide, INPUTS), "R": (wide, UNITS), "B": (2 * wide,), "P": (3 * UNITS,)}
        shapes |= {"initial_h": (1, UNITS), "initial_c": (1, UNITS)}
        names = {which: f"{name}.{which}" for which in ("W", "R", *more)}
        for which, called in names.items():
            array = drawn.normal(size=(ways, *shapes[which])).astype("float32")
            constants.append(numpy_helper.from_array(array, called))
            if which.startswith("initial"):
                nodes.append(helper.make_node("Expand", [called, f"{name}.shape"], [f"{called}.spread"]))
                names[which] = f"{called}.spread"
        constants.append(numpy_helper.from_array(np.array([ways, BATCH, UNITS]), f"{name}.shape"))
        optional = ("B", "", "initial_h", "initial_c", "P") if kind == "LSTM" else ("B", "", "initial_h")
        inputs = ["x", names["W"], names["R"], *(names.get(which, "") for which in optional)]
        nodes.append(helper.make_node(kind, inputs, [f"{name}.y"], name, hidden_size=UNITS, **given))
        outputs.append(floats(f"{name}.y", TIME, ways, BATCH, UNITS))
    return of(nodes, [floats("x", TIME, BATCH, INPUTS)], outputs, constants)


def nested() -> onnx.ModelProto:
    """Return a model with an LSTM in each branch of an If; its weights are around it, and computed from constants."""
    drawn = np.random.default_rng(1)
    arrays = {
        "W": drawn.normal(size=(INPUTS, 4 * UNITS)),
        "R": drawn.normal(size=(4 * UNITS, UNITS)),
        "half": drawn.normal(size=(4 * UNITS,)),
    }
    outer = [numpy_helper.from_array(array.astype("float32"), name) for name, array in arrays.items()]
    outer.append(numpy_helper.from_array(np.array([0]), "axes"))
    branches = {}
    for branch, sign in (("then_branch", 1), ("else_branch", -1)):
        steps = [
            helper.make_node("Transpose", ["W"], ["W.T"], perm=[1, 0]),
            helper.make_node("Unsqueeze", ["W.T", "axes"], ["W.3"]),
            helper.make_node("Unsqueeze", ["R", "axes"], ["R.3"]),
            helper.make_node("Concat", ["half", "second"], ["B"], axis=0),
            helper.make_node("Unsqueeze", ["B", "axes"], ["B.2"]),
            helper.make_node("LSTM", ["x", "W.3", "R.3", "B.2"], ["y"], "lstm", hidden_size=UNITS),
        ]
        own = numpy_helper.from_array((sign * drawn.normal(size=4 * UNITS)).astype("float32"), "second")
        branches[branch] = helper.make_graph(steps, branch, [], [floats("y")], [own])
    node = helper.make_node("If", ["which"], ["z"], "choose", **branches)
    which = helper.make_tensor_value_info("which", TensorProto.BOOL, [])
    return of([node], [floats("x", TIME, BATCH, INPUTS), which], [floats("z")], outer)


class Exported(nn.Module):
    """Recurrent layers of torch beside each other, as its exporters write them."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS, 2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(INPUTS, UNITS, batch_first=True)
        self.rnn = nn.RNN(INPUTS, UNITS, nonlinearity="relu", batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return every layer's output."""
        return self.lstm(x)[0], self.gru(x)[0], self.rnn(x)[0]


def run(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[np.ndarray]:
    """Return what onnxruntime computes."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def main() -> None:
    """Write everything."""
    x = np.random.default_rng(2).normal(size=(TIME, BATCH, INPUTS)).astype("float32")
    references: dict[str, Any] = {"x": x.swapaxes(0, 1)}
    model = every_node()
    onnx.save(model, HERE / "nodes.onnx")
    for name, y in zip(NODES, run(model, {"x": x}), strict=True):
        references[f"nodes.{name}"] = np.concatenate([*y.transpose(1, 2, 0, 3)], axis=2)
    model = nested()
    onnx.save(model, HERE / "nested.onnx")
    for which, branch in ((True, "then"), (False, "else")):
        (y,) = run(model, {"x": x, "which": np.array(which)})
        references[f"nested.{branch}"] = y[:, 0].swapaxes(0, 1)
    torch.manual_seed(0)
    exported = Exported().eval()
    example = torch.from_numpy(references["x"])
    with torch.no_grad():
        for name, y in zip(("lstm", "gru", "rnn"), exported(example), strict=True):
            references[f"torch.{name}"] = y.numpy()
    torch.onnx.export(exported, (example,), str(HERE / "torch_dynamo.onnx"), dynamo=True, external_data=False)
    path, axes = str(HERE / "torch_script.onnx"), {"x": {0: "batch"}}
    torch.onnx.export(exported, (example,), path, dynamo=False, dynamic_axes=axes, input_names=["x"])
    np.savez(HERE / "onnx.npz", **references)


if __name__ == "__main__":
    main()
