"""Write the files of TensorFlow 1 here, and what TensorFlow computes from them: `python make_tf1.py`.

In an environment of its own, with tensorflow-cpu and tf_keras; neither is needed to test. The checkpoint and the
frozen graph hold cells beside each other; the reference holds the input and what each cell returns at every step.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
v1: Any = tf.compat.v1
rnn_cell: Any = v1.nn.rnn_cell
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3


def cells(standard: bool) -> dict[str, Any]:
    """Return the cells by name; with their default functions and forget bias, or with others."""
    options: dict[str, Any] = {} if standard else {"forget_bias": 0.5}
    other: dict[str, Any] = {} if standard else {"activation": tf.nn.relu}
    made = {
        "basic_lstm": rnn_cell.BasicLSTMCell(UNITS, **options, **other),
        "lstm": rnn_cell.LSTMCell(UNITS, **options),
        "gru": rnn_cell.GRUCell(UNITS, **other),
        "rnn": rnn_cell.BasicRNNCell(UNITS, **other),
    }
    if standard:
        made["peepholes"] = rnn_cell.LSTMCell(UNITS, use_peepholes=True)
        made["projected"] = rnn_cell.LSTMCell(UNITS, num_proj=2)
        made["stack"] = rnn_cell.MultiRNNCell([rnn_cell.BasicLSTMCell(UNITS), rnn_cell.BasicLSTMCell(UNITS)])
    return made


def build(standard: bool) -> tuple[Any, dict[str, Any]]:
    """Return the input and what the cells compute."""
    x = v1.placeholder(tf.float32, [None, TIME, INPUTS], name="x")
    outputs = {}
    for name, cell in cells(standard).items():
        outputs[name], _ = v1.nn.dynamic_rnn(cell, x, dtype=tf.float32, scope=name)
    if standard:
        (forward, backward), _ = v1.nn.bidirectional_dynamic_rnn(
            rnn_cell.BasicLSTMCell(UNITS), rnn_cell.BasicLSTMCell(UNITS), x, dtype=tf.float32, scope="both"
        )
        outputs["both"] = tf.concat([forward, backward], 2)
    return x, {name: tf.identity(output, f"{name}/answer") for name, output in outputs.items()}


def main() -> None:
    """Write everything."""
    v1.disable_v2_behavior()
    drawn = np.random.default_rng(0)
    given = drawn.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    references: dict[str, Any] = {"x": given}
    for standard, frozen_as in ((True, ""), (False, "tf1_frozen.pb"), (False, "tf2_frozen.pb")):
        v1.reset_default_graph()
        # TensorFlow 2 writes a loop as a function beside the graph, TensorFlow 1 as nodes in it.
        _ = v1.enable_control_flow_v2() if frozen_as.startswith("tf2") else v1.disable_control_flow_v2()
        x, outputs = build(standard)
        with v1.Session() as session:
            for variable in v1.global_variables():
                variable.load(drawn.normal(size=variable.shape).astype("float32"), session)
            for name, answer in session.run(outputs, {x: given}).items():
                references[f"{frozen_as.partition('.')[0] or 'tf1_cells'}.{name}"] = answer
            if standard:
                v1.train.Saver().save(session, str(HERE / "tf1_cells"), write_meta_graph=False)
                (HERE / "checkpoint").unlink()
            else:
                names = [output.op.name for output in outputs.values()]
                frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, names)
                _ = (HERE / frozen_as).write_bytes(frozen.SerializeToString())
    np.savez(HERE / "tf1.npz", **references)


if __name__ == "__main__":
    main()
