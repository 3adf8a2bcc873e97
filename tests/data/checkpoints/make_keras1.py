"""Write the files of Keras 1 here, and what Keras itself computes from them: `python make_keras1.py`.

In an environment of its own, with keras 1.2.2, theano 1.0.5, numpy below 1.24, h5py below 3.12 and pyyaml, without
their dependencies; what they ask of Pythons of their time is put back below. None of it is needed to test.
"""

from __future__ import annotations

import collections
import collections.abc
import inspect
import os
from pathlib import Path
from typing import Any

os.environ |= {
    "KERAS_BACKEND": "theano",
    "THEANO_FLAGS": "blas.ldflags=,cxx=,optimizer=fast_compile,floatX=float32,device=cpu",
}
for name in ("Iterable", "Mapping", "MutableMapping", "Callable", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))
old: Any = inspect
old.ArgSpec = collections.namedtuple("ArgSpec", "args varargs keywords defaults")
old.getargspec = lambda function: old.ArgSpec(*inspect.getfullargspec(function)[:4])

import numpy as np  # noqa: E402
from keras import backend as K  # noqa: E402, N812
from keras.layers import GRU, LSTM, Bidirectional, Dense, Input, Masking, SimpleRNN, TimeDistributed  # noqa: E402
from keras.models import Model, Sequential  # noqa: E402

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3


def recurrent() -> dict[str, Any]:
    """Return the layers by name, each with its options."""
    seq = {"return_sequences": True}
    made: dict[str, Any] = {
        f"{kind.__name__.lower()}_{less}": kind(UNITS, consume_less=less, **seq)
        for kind in (LSTM, GRU)
        for less in ("cpu", "mem", "gpu")
    }
    made |= {
        "lstm_sigmoid": LSTM(UNITS, inner_activation="sigmoid", activation="relu", **seq),
        "gru_sigmoid": GRU(UNITS, inner_activation="sigmoid", activation="linear", **seq),
        "backwards": LSTM(UNITS, go_backwards=True, **seq),
        "rnn_tanh": SimpleRNN(UNITS, **seq),
        "rnn_relu": SimpleRNN(UNITS, activation="relu", consume_less="gpu", **seq),
        "both_lstm": Bidirectional(LSTM(UNITS, **seq)),
        "both_gru_sum": Bidirectional(GRU(UNITS, consume_less="gpu", **seq), merge_mode="sum"),
    }
    return made


def numbers(model: Any) -> None:
    """Give a model weights large enough to reach every bend of its functions."""
    drawn = np.random.default_rng(1)
    model.set_weights([drawn.normal(size=w.shape).astype(w.dtype) for w in model.get_weights()])


def main() -> None:
    """Write a functional model with all layers, its weights, and a sequential one under a mask."""
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    entry = Input((TIME, INPUTS), name="x")
    layers = recurrent()
    outputs = []
    for name, layer in layers.items():
        layer.name = name
        outputs.append(layer(entry))
    wide = Model(entry, outputs)
    numbers(wide)
    wide.save(str(HERE / "keras1_wide.h5"))
    wide.save_weights(str(HERE / "keras1_weights.h5"))
    references: dict[str, Any] = {"x": x, **dict(zip(layers, wide.predict(x), strict=True))}
    hidden = x.copy()
    hidden[0, 4:] = hidden[1, :2] = hidden[2, 3] = -1.0
    masked = Sequential(
        [
            Masking(-1.0, input_shape=(TIME, INPUTS)),
            LSTM(UNITS, return_sequences=True, name="under"),
            TimeDistributed(Dense(2, name="inside"), name="each"),
        ]
    )
    numbers(masked)
    masked.save(str(HERE / "keras1_masked.h5"))
    run = K.function([masked.input, K.learning_phase()], [masked.layers[1].output])
    references |= {"hidden": hidden, "under": run([hidden, 0])[0]}
    np.savez(HERE / "keras1.npz", **references)


if __name__ == "__main__":
    main()
