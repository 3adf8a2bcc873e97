"""Write tf2onnx.onnx and tf2onnx_masked.onnx: layers of Keras 2 as tf2onnx exports them: `python make_tf2onnx.py`.

In an environment of its own, with tensorflow-cpu, tf_keras and tf2onnx, none of which is needed to test. The answers
are those of Keras.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tf2onnx
import tf_keras

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3


def masked(given: Any, signature: Any) -> Any:
    """Write a model with a masked layer, which no operator of ONNX computes, as a loop; return its answer."""
    tf_keras.backend.clear_session()
    x = tf_keras.Input((TIME, INPUTS), batch_size=BATCH, name="x")
    hidden = tf_keras.layers.Masking(-1.0)(x)
    model = tf_keras.Model(x, tf_keras.layers.LSTM(UNITS, return_sequences=True, name="lstm")(hidden))
    drawn = np.random.default_rng(1)
    model.set_weights([drawn.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    path = str(HERE / "tf2onnx_masked.onnx")
    tf2onnx.convert.from_keras(model, input_signature=signature, opset=15, output_path=path)
    return model(given).numpy()


def main() -> None:
    """Write the model and its answers."""
    layers: Any = tf_keras.layers
    seq = {"return_sequences": True}
    made = {
        "lstm": layers.LSTM(UNITS, name="lstm", **seq),
        "gru_after": layers.GRU(UNITS, reset_after=True, name="gru_after", **seq),
        "gru_before": layers.GRU(UNITS, reset_after=False, name="gru_before", **seq),
        "both": layers.Bidirectional(layers.LSTM(UNITS, **seq), name="both"),
        "rnn": layers.SimpleRNN(UNITS, name="rnn", **seq),
    }
    x = tf_keras.Input((TIME, INPUTS), batch_size=BATCH, name="x")
    model = tf_keras.Model(x, [layer(x) for layer in made.values()])
    drawn = np.random.default_rng(0)
    model.set_weights([drawn.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    given = drawn.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    signature = (tf.TensorSpec((BATCH, TIME, INPUTS), tf.float32, name="x"),)
    tf2onnx.convert.from_keras(model, input_signature=signature, opset=15, output_path=str(HERE / "tf2onnx.onnx"))
    answers = {name: answer.numpy() for name, answer in zip(made, model(given), strict=True)}
    answers["masked"] = masked(given, signature)
    np.savez(HERE / "tf2onnx.npz", x=given, **answers)


if __name__ == "__main__":
    main()
