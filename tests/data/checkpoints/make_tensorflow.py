"""Write the files of TensorFlow and Keras here, and what these compute from them: `python make_tensorflow.py 3`.

With 2, the files of Keras 2 and of tf2onnx; with 1, those of TensorFlow 1. In an environment of its own, with
tensorflow-cpu, keras, tf_keras and tf2onnx; none of them is needed to test. Each file has many recurrent layers
beside each other, so that it holds every option; the reference holds the input and what each layer returns.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

GENERATION = sys.argv[1] if len(sys.argv) > 1 else "3"
os.environ["TF_USE_LEGACY_KERAS"] = "0" if GENERATION == "3" else "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

HERE = Path(__file__).parent
keras: Any = tf.keras
if GENERATION != "3":
    import tf_keras

    keras = tf_keras
layers = keras.layers
v1: Any = tf.compat.v1
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
SEQ = {"return_sequences": True}
X = np.random.default_rng(0).normal(size=(BATCH, TIME, INPUTS)).astype("float32")
References = dict[str, Any]


def numbers(model: Any, seed: int) -> Any:
    """Give a model weights large enough to reach every bend of its functions, and return it."""
    drawn = np.random.default_rng(seed)
    model.set_weights([drawn.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def wide() -> Any:
    """Return the model with all layers beside each other, and one nested model with an LSTM."""
    made = {
        "lstm": layers.LSTM(UNITS, **SEQ),
        "lstm_hard": layers.LSTM(UNITS, recurrent_activation="hard_sigmoid", activation="relu", **SEQ),
        "lstm_no_bias": layers.LSTM(UNITS, use_bias=False, activation="linear", **SEQ),
        "lstm_backwards": layers.LSTM(UNITS, go_backwards=True, **SEQ),
        "gru_after": layers.GRU(UNITS, reset_after=True, **SEQ),
        "gru_before": layers.GRU(UNITS, reset_after=False, **SEQ),
        "gru_hard": layers.GRU(UNITS, reset_after=True, recurrent_activation="hard_sigmoid", **SEQ),
        "rnn_tanh": layers.SimpleRNN(UNITS, **SEQ),
        "rnn_relu": layers.SimpleRNN(UNITS, activation="relu", **SEQ),
        "rnn_sigmoid": layers.SimpleRNN(UNITS, activation="sigmoid", **SEQ),
        "both_lstm": layers.Bidirectional(layers.LSTM(UNITS, **SEQ)),
        "both_gru_sum": layers.Bidirectional(layers.GRU(UNITS, reset_after=False, **SEQ), merge_mode="sum"),
        "both_rnn_mul": layers.Bidirectional(layers.SimpleRNN(UNITS, **SEQ), merge_mode="mul"),
        "cell_lstm": layers.RNN(layers.LSTMCell(UNITS), **SEQ),
    }
    x, inner_x = (keras.Input((TIME, INPUTS), name=name) for name in ("x", "inner_x"))
    inner = keras.Model(inner_x, layers.LSTM(UNITS, name="deep", **SEQ)(inner_x), name="inner")
    for name, layer in made.items():
        layer._name = name
    return keras.Model(x, [layer(x) for layer in (*made.values(), inner)], name="wide")


def masked() -> Any:
    """Return a model whose recurrent layers do not read some steps."""
    x = keras.Input((TIME, INPUTS), name="x")
    hidden = layers.Masking(-1.0, name="mask")(x)
    made = (
        layers.GRU(UNITS, name="gru", **SEQ),
        layers.Bidirectional(layers.LSTM(UNITS, **SEQ), name="both"),
        layers.LSTM(UNITS, go_backwards=True, recurrent_activation="hard_sigmoid", name="backwards", **SEQ),
        layers.Bidirectional(layers.GRU(UNITS, reset_after=False, **SEQ), merge_mode="ave", name="custom"),
    )
    return keras.Model(x, [layer(hidden) for layer in made], name="masked")


def of_keras(references: References) -> None:
    """Write whole models of one generation, and weights alone."""
    hidden = X.copy()
    hidden[0, 4:] = hidden[1, :2] = hidden[2, 3] = -1.0
    references |= {"x": X, "hidden": hidden}
    for model, given in ((numbers(wide(), 1), X), (numbers(masked(), 1), hidden)):
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


def of_keras2(references: References) -> None:
    """Write the layers that ran on CUDA alone, which Keras makes plain, and a model that was trained for a step."""
    for kind, plain in (("LSTM", layers.LSTM), ("GRU", layers.GRU)):
        models = []
        for make in (getattr(v1.keras.layers, f"CuDNN{kind}"), plain):
            keras.backend.clear_session()
            layer = make(UNITS, input_shape=(TIME, INPUTS), name=kind.lower(), **SEQ)
            models.append(keras.Sequential([layer]))
        start = HERE / f"keras2_cudnn_{kind.lower()}"
        numbers(models[0], 5).save(f"{start}.h5")
        models[0].save_weights(f"{start}_weights.h5")
        models[1].load_weights(f"{start}_weights.h5")
        references[f"cudnn.{kind.lower()}"] = models[1](X).numpy()
    model = keras.Sequential([layers.Input((TIME, INPUTS)), layers.LSTM(UNITS, name="lstm", **SEQ)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(X, np.zeros((BATCH, TIME, UNITS)), epochs=1, verbose=0)
    numbers(model, 7).save(HERE / "keras2_trained.h5")
    references["trained.lstm"] = model(X).numpy()


def of_tf2onnx() -> None:
    """Write layers as tf2onnx exports them, and a masked one, which no operator of ONNX computes, as a loop."""
    import tf2onnx

    keras.backend.clear_session()
    made = {
        "lstm": layers.LSTM(UNITS, name="lstm", **SEQ),
        "gru_after": layers.GRU(UNITS, reset_after=True, name="gru_after", **SEQ),
        "gru_before": layers.GRU(UNITS, reset_after=False, name="gru_before", **SEQ),
        "both": layers.Bidirectional(layers.LSTM(UNITS, **SEQ), name="both"),
        "rnn": layers.SimpleRNN(UNITS, name="rnn", **SEQ),
    }
    x = keras.Input((TIME, INPUTS), batch_size=BATCH, name="x")
    model = numbers(keras.Model(x, [layer(x) for layer in made.values()]), 0)
    hidden = layers.Masking(-1.0)(x)
    other = numbers(keras.Model(x, layers.LSTM(UNITS, name="lstm", **SEQ)(hidden)), 1)
    signature = (tf.TensorSpec((BATCH, TIME, INPUTS), tf.float32, name="x"),)
    for one, name in ((model, "tf2onnx"), (other, "tf2onnx_masked")):
        path = str(HERE / f"{name}.onnx")
        tf2onnx.convert.from_keras(one, input_signature=signature, opset=15, output_path=path)
    answers = {name: answer.numpy() for name, answer in zip(made, model(X), strict=True)}
    np.savez(HERE / "tf2onnx.npz", x=X, masked=other(X).numpy(), **answers)


def of_tensorflow1(references: References) -> None:
    """Write a checkpoint of cells beside each other."""
    v1.disable_v2_behavior()
    _ = v1.disable_control_flow_v2()
    cell: Any = v1.nn.rnn_cell
    x = v1.placeholder(tf.float32, [None, TIME, INPUTS], name="x")
    cells = {
        "basic_lstm": cell.BasicLSTMCell(UNITS),
        "lstm": cell.LSTMCell(UNITS),
        "gru": cell.GRUCell(UNITS),
        "rnn": cell.BasicRNNCell(UNITS),
        "peepholes": cell.LSTMCell(UNITS, use_peepholes=True),
        "projected": cell.LSTMCell(UNITS, num_proj=2),
        "stack": cell.MultiRNNCell([cell.BasicLSTMCell(UNITS), cell.BasicLSTMCell(UNITS)]),
    }
    outputs = {name: v1.nn.dynamic_rnn(one, x, dtype=tf.float32, scope=name)[0] for name, one in cells.items()}
    ways = cell.BasicLSTMCell(UNITS), cell.BasicLSTMCell(UNITS)
    outputs["both"] = tf.concat(v1.nn.bidirectional_dynamic_rnn(*ways, x, dtype=tf.float32, scope="both")[0], 2)
    drawn = np.random.default_rng(1)
    with v1.Session() as session:
        for variable in v1.global_variables():
            variable.load(drawn.normal(size=variable.shape).astype("float32"), session)
        answers = session.run(outputs, {x: X})
        v1.train.Saver().save(session, str(HERE / "tf1_cells"), write_meta_graph=False)
        (HERE / "checkpoint").unlink()
    references |= {"x": X, **{f"tf1_cells.{name}": answer for name, answer in answers.items()}}


def main() -> None:
    """Write everything of one generation."""
    references: References = {}
    for make in {"1": [of_tensorflow1], "2": [of_keras, of_keras2], "3": [of_keras]}[GENERATION]:
        make(references)
    np.savez(HERE / ("tf1.npz" if GENERATION == "1" else f"keras{GENERATION}.npz"), **references)
    if GENERATION == "2":
        of_tf2onnx()


if __name__ == "__main__":
    main()
