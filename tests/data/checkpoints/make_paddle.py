"""Write files of PaddlePaddle, and what it computes from them itself: `python make_paddle.py`.

In an environment of its own, with paddlepaddle 2.6.2 and numpy below 2; neither is needed to test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
DRAWN = np.random.default_rng(0)


class Network(nn.Layer):
    """Layers of every kind beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS, 2, direction="bidirect")
        self.gru = nn.GRU(INPUTS, UNITS)
        self.plain = nn.SimpleRNN(INPUTS, UNITS)
        self.wrapped = nn.RNN(nn.LSTMCell(INPUTS, UNITS))
        self.head = nn.Linear(UNITS, 2)


def main() -> None:
    """Write the state as it is, and inside of a checkpoint."""
    network = Network()
    network.set_state_dict(
        {
            name: paddle.to_tensor(DRAWN.normal(size=value.shape).astype("float32"))
            for name, value in network.state_dict().items()
            if ".cell" not in name or name.startswith("wrapped")
        }
    )
    paddle.save(network.state_dict(), str(HERE / "paddle.pdparams"))
    paddle.save({"model": network.gru.state_dict(), "epoch": 3}, str(HERE / "paddle_nested.pdparams"))
    x = paddle.to_tensor(DRAWN.normal(size=(BATCH, TIME, INPUTS)).astype("float32"))
    network.eval()
    references: dict[str, Any] = {"x": x.numpy()}
    for name in ("lstm", "gru", "plain", "wrapped"):
        references[name] = getattr(network, name)(x)[0].numpy()
    np.savez(HERE / "paddle.npz", **references)


if __name__ == "__main__":
    main()
