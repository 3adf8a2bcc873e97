"""Write pickles of madmom's layers, and what madmom itself computes from them: `python make_madmom.py FOLDER`.

FOLDER is madmom 0.16.1's source distribution, unpacked; numpy and scipy are needed, and nothing of it is compiled:
its layers are plain Python, and the package around them, which is not, is replaced. None of it is needed to test.
"""

from __future__ import annotations

import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TIME, INPUTS, UNITS = 7, 2, 3
SOURCE = Path(sys.argv[1])
for name in ("madmom", "madmom.ml", "madmom.ml.nn"):
    package: Any = types.ModuleType(name)
    package.__path__ = [str(SOURCE.joinpath(*name.split(".")))]
    sys.modules[name] = package


class NeuralNetwork:
    """The class of madmom's files, of which only the layers matter."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers


NeuralNetwork.__module__ = "madmom.ml.nn"
package.NeuralNetwork = NeuralNetwork
import madmom.ml.nn.layers as own  # noqa: E402
from madmom.ml.nn.activations import linear, relu, sigmoid, softmax, tanh  # noqa: E402

DRAWN = np.random.default_rng(0)


def drawn(*shape: int) -> Any:
    """Return random numbers."""
    return DRAWN.normal(size=shape).astype("float32")


def gate(inputs: int, *, peephole: bool = False, function: Any = sigmoid, of: Any = own.Gate) -> Any:
    """Return a gate with random arrays."""
    given = {"peephole_weights": drawn(UNITS)} if peephole else {}
    return of(drawn(inputs, UNITS), drawn(UNITS), drawn(UNITS, UNITS), activation_fn=function, **given)


def lstm(inputs: int, *, peepholes: bool = True, function: Any = tanh, learned: bool = False) -> Any:
    """Return an LSTM layer."""
    gates = [gate(inputs, peephole=peepholes) for _ in range(3)]
    cell = gate(inputs, function=function, of=own.Cell)
    states = {"init": drawn(UNITS), "cell_init": drawn(UNITS)} if learned else {}
    return own.LSTMLayer(gates[0], gates[1], cell, gates[2], activation_fn=function, **states)


def gru(inputs: int, *, learned: bool = False) -> Any:
    """Return a GRU layer."""
    cell = gate(inputs, function=tanh, of=own.GRUCell)
    return own.GRULayer(gate(inputs), gate(inputs), cell, init=drawn(UNITS) if learned else None)


def plain(inputs: int, function: Any) -> Any:
    """Return a plain recurrent layer."""
    return own.RecurrentLayer(drawn(inputs, UNITS), drawn(UNITS), 0.3 * drawn(UNITS, UNITS), function)


def main() -> None:
    """Write the networks, one reference a layer."""
    both = own.BidirectionalLayer
    networks = {
        "madmom_lstm": [
            lstm(INPUTS),
            lstm(UNITS, peepholes=False),
            lstm(UNITS, learned=True, function=relu),
            both(lstm(UNITS), lstm(UNITS)),
            own.FeedForwardLayer(drawn(2 * UNITS, 2), drawn(2), softmax),
        ],
        "madmom_gru": [both(gru(INPUTS, learned=True), gru(INPUTS)), gru(2 * UNITS), plain(UNITS, sigmoid)],
        "madmom_plain": [
            both(plain(INPUTS, tanh), plain(INPUTS, tanh)),
            plain(2 * UNITS, relu),
            plain(UNITS, linear),
        ],
    }
    # Its own reset asks whether an array is true.
    own.GRULayer.reset = lambda self, init=None: setattr(self, "_prev", self.init)
    warnings.simplefilter("ignore")
    references: dict[str, Any] = {}
    for network, layers in networks.items():
        protocol = 0 if network == "madmom_gru" else 2
        _ = (HERE / f"{network}.pkl").write_bytes(pickle.dumps(NeuralNetwork(layers), protocol))
        x = drawn(TIME, INPUTS)
        for number, layer in enumerate(layers):
            references[f"{network}.{number}.x"] = x
            x = layer.activate(x.copy())
            references[f"{network}.{number}.h"] = x
    np.savez(HERE / "madmom.npz", **references)


if __name__ == "__main__":
    main()
