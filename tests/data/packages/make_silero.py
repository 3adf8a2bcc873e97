"""Write silero.npz: what onnxruntime computes inside `silero_vad_16k_sequence.onnx`: `python make_silero.py FILE`.

In an environment of its own, with onnx and onnxruntime; the file is the one in the wheel of silero-vad 6.2.3. The
input of its LSTM node, a sequence of waves, is given in the place of the convolutions before it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def main(path: str) -> None:
    """Cut the node out of the graph, and run it alone."""
    model = onnx.load(path)
    (node,) = (node for node in model.graph.node if node.op_type == "LSTM")
    names = [node.input[0], node.input[5], node.input[6]]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*names, node.output[0])]
    weights = [proto for proto in model.graph.initializer if proto.name in node.input]
    graph = helper.make_graph([node], "node", infos[:3], infos[3:], weights)
    cut = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    x = np.sin(np.arange(6 * 128, dtype="float64") ** 1.5).reshape(6, 1, 128).astype("float32")
    zeros = np.zeros((1, 1, 128), "float32")
    session = onnxruntime.InferenceSession(cut.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, dict(zip(names, (x, zeros, zeros), strict=True)))
    np.savez_compressed(Path(__file__).parent / "silero.npz", x=x.swapaxes(0, 1), h=y[:, 0].swapaxes(0, 1))


if __name__ == "__main__":
    main(sys.argv[1])
