"""Write a checkpoint of MindSpore, and what it computes from it itself: `python make_mindspore.py`.

In an environment of its own, with mindspore 2.10; it is not needed to test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
DRAWN = np.random.default_rng(0)


class Network(nn.Cell):
    """Layers of every kind beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS, 2, bidirectional=True)
        self.gru = nn.GRU(INPUTS, UNITS)
        self.plain = nn.RNN(INPUTS, UNITS)
        self.lstm_cell = nn.LSTMCell(INPUTS, UNITS)
        self.gru_cell = nn.GRUCell(INPUTS, UNITS)
        self.head = nn.Dense(UNITS, 2)


def main() -> None:
    """Write the checkpoint."""
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    network = Network()
    network.set_train(False)
    for parameter in network.get_parameters():
        parameter.set_data(ms.Tensor(DRAWN.normal(size=parameter.shape).astype("float32")))
    ms.save_checkpoint(network, str(HERE / "mindspore.ckpt"))
    x = DRAWN.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    references: dict[str, Any] = {"x": x}
    zeros = ms.Tensor(np.zeros((4, BATCH, UNITS), "float32"))
    for name in ("lstm", "gru", "plain"):
        state = zeros if name == "lstm" else zeros[:1]
        states = (state, state) if name == "lstm" else state
        h, _ = getattr(network, name)(ms.Tensor(x.swapaxes(0, 1).copy()), states)
        references[name] = h.asnumpy().swapaxes(0, 1)
    for name in ("lstm_cell", "gru_cell"):
        state: Any = (zeros[0], zeros[0]) if name == "lstm_cell" else zeros[0]
        steps = []
        for step in range(TIME):
            state = getattr(network, name)(ms.Tensor(x[:, step]), state)
            steps.append((state[0] if name == "lstm_cell" else state).asnumpy())
        references[name] = np.stack(steps, 1)
    np.savez(HERE / "mindspore.npz", **references)


if __name__ == "__main__":
    main()
