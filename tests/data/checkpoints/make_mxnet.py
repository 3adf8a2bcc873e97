"""Write files of MXNet's gluon, and what it computes from them itself: `python make_mxnet.py`.

In an environment of its own, with mxnet 1.9.1 and numpy below 1.24; neither is needed to test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

np.bool = bool  # what mxnet asks of a numpy of its time
import mxnet as mx  # noqa: E402
from mxnet.gluon import nn, rnn  # noqa: E402

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
DRAWN = np.random.default_rng(0)


class Network(nn.HybridBlock):
    """Layers and cells of every kind beside each other."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.lstm = rnn.LSTM(UNITS, 2, layout="NTC", bidirectional=True, input_size=INPUTS)
            self.gru = rnn.GRU(UNITS, layout="NTC", input_size=INPUTS)
            self.plain = rnn.RNN(UNITS, layout="NTC", activation="relu", input_size=INPUTS)
            self.lstm_cell = rnn.LSTMCell(UNITS, input_size=INPUTS)
            self.gru_cell = rnn.GRUCell(UNITS, input_size=INPUTS)
            self.head = nn.Dense(2, in_units=UNITS)


def main() -> None:
    """Write the parameters by the network's names and by global ones, and what each layer computes."""
    network = Network()
    network.initialize()
    for parameter in network.collect_params().values():
        parameter.set_data(mx.nd.array(DRAWN.normal(size=parameter.shape).astype("float32")))
    network.save_parameters(str(HERE / "mxnet.params"))
    names = {f"arg:{name}": parameter.data() for name, parameter in network.collect_params().items()}
    mx.nd.save(str(HERE / "mxnet_symbol.params"), names)
    x = mx.nd.array(DRAWN.normal(size=(BATCH, TIME, INPUTS)).astype("float32"))
    references: dict[str, Any] = {"x": x.asnumpy()}
    for name in ("lstm", "gru", "plain"):
        references[name] = getattr(network, name)(x).asnumpy()
    for name in ("lstm_cell", "gru_cell"):
        outputs, _ = getattr(network, name).unroll(TIME, x, layout="NTC", merge_outputs=True)
        references[name] = outputs.asnumpy()
    np.savez(HERE / "mxnet.npz", **references)


if __name__ == "__main__":
    main()
