"""Write the files of Keras here, and what Keras itself computes from them: `python make_keras.py 3`, and with 2.

In an environment of its own, with tensorflow-cpu, tf_keras (Keras 2) and keras (Keras 3); none of them is needed to
test. Each model has one input and many recurrent layers beside each other, so that a file holds every option; the
reference holds the input and what each layer returns, by the layer's name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

GENERATION = sys.argv[1] if len(sys.argv) > 1 else "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1" if GENERATION == "2" else "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

HERE = Path(__file__).parent
keras: Any = tf.keras
if GENERATION == "2":
    import tf_keras

    keras = tf_keras
layers = keras.layers
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3


def recurrent() -> dict[str, Any]:
    """Return the layers by name, each with its options."""
    seq = {"return_sequences": True}
    made = {
        "lstm": layers.LSTM(UNITS, **seq),
        "lstm_hard": layers.LSTM(UNITS, recurrent_activation="hard_sigmoid", activation="relu", **seq),
        "lstm_no_bias": layers.LSTM(UNITS, use_bias=False, activation="linear", **seq),
        "lstm_backwards": layers.LSTM(UNITS, go_backwards=True, **seq),
        "gru_after": layers.GRU(UNITS, reset_after=True, **seq),
        "gru_before": layers.GRU(UNITS, reset_after=False, **seq),
        "gru_hard": layers.GRU(UNITS, reset_after=True, recurrent_activation="hard_sigmoid", **seq),
        "rnn_tanh": layers.SimpleRNN(UNITS, **seq),
        "rnn_relu": layers.SimpleRNN(UNITS, activation="relu", **seq),
        "rnn_sigmoid": layers.SimpleRNN(UNITS, activation="sigmoid", **seq),
        "both_lstm": layers.Bidirectional(layers.LSTM(UNITS, **seq)),
        "both_gru_sum": layers.Bidirectional(layers.GRU(UNITS, reset_after=False, **seq), merge_mode="sum"),
        "both_rnn_mul": layers.Bidirectional(layers.SimpleRNN(UNITS, **seq), merge_mode="mul"),
        "cell_lstm": layers.RNN(layers.LSTMCell(UNITS), **seq),
    }
    return made


def numbers(model: Any, seed: int) -> None:
    """Give a model weights large enough to reach every bend of its functions."""
    drawn = np.random.default_rng(seed)
    model.set_weights([drawn.normal(scale=1.0, size=w.shape).astype(w.dtype) for w in model.get_weights()])


def wide() -> Any:
    """Return the model with all layers beside each other, and one nested model with an LSTM."""
    x = keras.Input((TIME, INPUTS), name="x")
    inner_x = keras.Input((TIME, INPUTS), name="inner_x")
    inner = keras.Model(inner_x, layers.LSTM(UNITS, return_sequences=True, name="deep")(inner_x), name="inner")
    outputs = []
    for name, layer in recurrent().items():
        layer._name = name
        outputs.append(layer(x))
    return keras.Model(x, [*outputs, inner(x)], name="wide")


def masked() -> Any:
    """Return a model whose recurrent layers do not read some steps."""
    x = keras.Input((TIME, INPUTS), name="x")
    hidden = layers.Masking(-1.0, name="mask")(x)
    seq = {"return_sequences": True}
    outputs = [
        layers.GRU(UNITS, name="gru", **seq)(hidden),
        layers.Bidirectional(layers.LSTM(UNITS, **seq), name="both")(hidden),
        layers.LSTM(UNITS, go_backwards=True, recurrent_activation="hard_sigmoid", name="backwards", **seq)(hidden),
        layers.Bidirectional(layers.GRU(UNITS, reset_after=False, **seq), merge_mode="ave", name="custom")(hidden),
    ]
    return keras.Model(x, outputs, name="masked")


def cudnn(references: dict[str, Any], x: Any) -> None:
    """Write the layers that ran on CUDA alone; Keras's own conversion into plain layers computes the reference."""
    v1 = tf.compat.v1.keras.layers
    kinds = {"lstm": (v1.CuDNNLSTM, layers.LSTM), "gru": (v1.CuDNNGRU, layers.GRU)}
    for kind, (fast, plain) in kinds.items():
        models = []
        for make in (fast, plain):
            keras.backend.clear_session()
            given = {} if make is fast else {"reset_after": True} if kind == "gru" else {}
            models.append(
                keras.Sequential([make(UNITS, return_sequences=True, input_shape=(TIME, INPUTS), name=kind, **given)])
            )
        numbers(models[0], 5)
        models[0].save(HERE / f"keras2_cudnn_{kind}.h5")
        models[0].save_weights(HERE / f"keras2_cudnn_{kind}_weights.h5")
        models[1].load_weights(HERE / f"keras2_cudnn_{kind}_weights.h5")
        references[f"cudnn.{kind}"] = models[1](x).numpy()


def trained(references: dict[str, Any], x: Any) -> None:
    """Write a model that was trained for a step, whose file holds what trained it under the names of its layers."""
    model = keras.Sequential([layers.Input((TIME, INPUTS)), layers.LSTM(UNITS, return_sequences=True, name="lstm")])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(x, np.zeros((BATCH, TIME, UNITS)), epochs=1, verbose=0)
    numbers(model, 7)
    model.save(HERE / "keras2_trained.h5")
    references["trained.lstm"] = model(x).numpy()


def main() -> None:
    """Write everything of one generation."""
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    hidden = x.copy()
    hidden[0, 4:] = hidden[1, :2] = hidden[2, 3] = -1.0
    references: dict[str, Any] = {"x": x, "hidden": hidden}
    for model, given in ((wide(), x), (masked(), hidden)):
        numbers(model, 1)
        start = f"keras{GENERATION}_{model.name}"
        model.save(HERE / f"{start}.keras")
        model.save(HERE / f"{start}.h5")
        if model.name == "wide" and GENERATION == "2":
            model.save_weights(HERE / f"{start}_weights.h5")
            folder = HERE / "keras2_saved_model"
            tf.saved_model.save(model, str(folder))
            for path in folder.iterdir():  # megabytes of graphs, which nobody here reads
                if path.name != "variables":
                    _ = path.unlink() if path.is_file() else path.rmdir()
        for output, computed in zip(model.outputs, model(given), strict=True):
            layer = output._keras_history[0] if GENERATION == "3" else output.node.layer
            references[f"{model.name}.{layer.name}"] = computed.numpy()
    if GENERATION == "2":
        cudnn(references, x)
        trained(references, x)
    np.savez(HERE / f"keras{GENERATION}.npz", **references)


if __name__ == "__main__":
    main()
