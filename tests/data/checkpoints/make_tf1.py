"""Write the files of TensorFlow 1 here, and what TensorFlow computes from them: `python make_tf1.py`.

In an environment of its own, with tensorflow-cpu and tf_keras; neither is needed to test. The checkpoint
holds cells beside each other; the reference holds the input and what each cell returns at every step.
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


def cells() -> dict[str, Any]:
    """Return the cells by name."""
    return {
        "basic_lstm": rnn_cell.BasicLSTMCell(UNITS),
        "lstm": rnn_cell.LSTMCell(UNITS),
        "gru": rnn_cell.GRUCell(UNITS),
        "rnn": rnn_cell.BasicRNNCell(UNITS),
        "peepholes": rnn_cell.LSTMCell(UNITS, use_peepholes=True),
        "projected": rnn_cell.LSTMCell(UNITS, num_proj=2),
        "stack": rnn_cell.MultiRNNCell([rnn_cell.BasicLSTMCell(UNITS), rnn_cell.BasicLSTMCell(UNITS)]),
    }


def build() -> tuple[Any, dict[str, Any]]:
    """Return the input and what the cells compute."""
    x = v1.placeholder(tf.float32, [None, TIME, INPUTS], name="x")
    outputs = {}
    for name, cell in cells().items():
        outputs[name], _ = v1.nn.dynamic_rnn(cell, x, dtype=tf.float32, scope=name)
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
    _ = v1.disable_control_flow_v2()
    x, outputs = build()
    with v1.Session() as session:
        for variable in v1.global_variables():
            variable.load(drawn.normal(size=variable.shape).astype("float32"), session)
        for name, answer in session.run(outputs, {x: given}).items():
            references[f"tf1_cells.{name}"] = answer
        v1.train.Saver().save(session, str(HERE / "tf1_cells"), write_meta_graph=False)
        (HERE / "checkpoint").unlink()
    np.savez(HERE / "tf1.npz", **references)


if __name__ == "__main__":
    main()
