"""Write files of Chainer 7, and what Chainer itself computes from them: `python make_chainer.py`.

In an environment of its own, with chainer 7.8.1, numpy below 1.24 and h5py; none of them is needed to test.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
import chainer  # noqa: E402
import chainer.links as L  # noqa: E402, N812
import numpy as np  # noqa: E402
from chainer import serializers  # noqa: E402

HERE = Path(__file__).parent
BATCH, TIME, INPUTS, UNITS = 3, 6, 2, 3
DRAWN = np.random.default_rng(0)


def numbers(link: Any, *, without: str = "") -> Any:
    """Give a link random numbers, but zeros where a name contains some word."""
    for name, parameter in sorted(link.namedparams()):
        drawn = DRAWN.normal(size=parameter.shape).astype("float32")
        parameter.array[...] = 0 if without and without in name and name.endswith("/b") else drawn
    return link


class Network(chainer.Chain):
    """Links of every kind beside each other."""

    def __init__(self) -> None:
        super().__init__()
        with self.init_scope():
            self.lstm = L.LSTM(INPUTS, UNITS)
            self.gru = L.GRU(INPUTS, UNITS)
            self.stack = L.NStepLSTM(2, INPUTS, UNITS, 0.0)
            self.both = L.NStepBiLSTM(2, INPUTS, UNITS, 0.0)
            self.gru_stack = L.NStepGRU(1, INPUTS, UNITS, 0.0)
            self.gru_both = L.NStepBiGRU(1, INPUTS, UNITS, 0.0)
            self.plain = L.NStepRNNTanh(1, INPUTS, UNITS, 0.0)
            self.head = L.Linear(UNITS, 2)


def main() -> None:
    """Write one network twice, and what its links compute."""
    network = numbers(Network(), without="U")
    serializers.save_npz(HERE / "chainer.npz", network)
    serializers.save_hdf5(str(HERE / "chainer.h5"), network)
    x = DRAWN.normal(size=(BATCH, TIME, INPUTS)).astype("float32")
    references: dict[str, Any] = {"x": x}
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for name in ("lstm", "gru"):
            link = network[name]
            references[name] = np.stack([link(x[:, step]).array for step in range(TIME)], 1)
        for name in ("stack", "both", "gru_stack", "gru_both", "plain"):
            states = [None, None] if name in ("stack", "both") else [None]
            references[name] = np.stack([h.array for h in network[name](*states, list(x))[-1]])
    np.savez(HERE / "chainer_references.npz", **references)


if __name__ == "__main__":
    main()
