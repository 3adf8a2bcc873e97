"""SleepECG: sleep stages from heart beats; masked sequences through two bidirectional GRU layers, from Keras."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Sequence

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.repo.packages_files import SLEEPECG, read
from tests.repo.packages_reference import (
    GRU_GATES,
    KERAS_GRU_GATES,
    Array,
    Case,
    Plan,
    Signals,
    doubles,
    keras_gates,
    run_layer,
)

CLASSIFIERS = ("wrn-gru-mesa", "wrn-gru-mesa-weighted", "ws-gru-mesa")
#: From info.yml and config.json: a step where all features have this value is masked.
MASKED = -1.0
#: Keras's, which torch's default is not.
EPSILON = 1e-3
#: What Keras calls the layers and directions that torch puts into one module.
DIRECTIONS = {
    "gru[0]": "bidirectional/forward_layer",
    "gru[0].reverse": "bidirectional/backward_layer",
    "gru[1]": "bidirectional_1/forward_layer",
    "gru[1].reverse": "bidirectional_1/backward_layer",
}


class SleepStager(nn.Module):
    """The network; Keras's Masking is a packed sequence here."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(36, eps=EPSILON)
        self.dense = nn.Linear(36, 64)
        self.gru = nn.GRU(64, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, stages)

    def forward(self, features: Tensor, *, masking: bool = True) -> Tensor:
        """Return the stages' probabilities, (batch, time, stage), of features (batch, time, 36)."""
        lengths = lengths_of(features) if masking else torch.full((len(features),), features.shape[1])
        x = self.norm(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        x = torch.relu(self.dense(x))
        packed, _ = self.gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        h, _ = pad_packed_sequence(packed, batch_first=True, total_length=features.shape[1])
        return torch.softmax(self.head(h), dim=2)


def lengths_of(features: Tensor) -> Tensor:
    """Return how many steps of each sequence are not masked.

    Raises:
        ValueError: a step is masked that is followed by one that is not, which no packed sequence expresses.
    """
    valid = (features != MASKED).any(dim=2)
    lengths = valid.sum(dim=1)
    if not torch.equal(valid, torch.arange(features.shape[1]) < lengths[:, None]):
        raise ValueError("A masked step stands before one that is not masked.")
    return lengths


@functools.cache
def arrays(classifier: str) -> dict[str, NDArray[np.float32]]:
    """Return the layers' arrays by their paths in the file of weights."""
    bundle = zipfile.ZipFile(io.BytesIO(read(SLEEPECG, f"sleepecg/classifiers/{classifier}.zip")))
    keras = zipfile.ZipFile(io.BytesIO(bundle.read("classifier.keras")))
    found: dict[str, NDArray[np.float32]] = {}

    def collect(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(io.BytesIO(keras.read("model.weights.h5")), "r") as file:
        layers = file["layers"]
        assert isinstance(layers, h5py.Group)
        layers.visititems(collect)
    return found


def _to_torch(matrix: NDArray[np.float32]) -> Tensor:
    """Return a matrix (in, 3 units), or a row of biases, with the rows and the order of torch's GRU."""
    blocks = dict(zip(KERAS_GRU_GATES, np.split(matrix.T, 3), strict=True))
    return torch.from_numpy(np.concatenate([blocks[gate] for gate in GRU_GATES]))


def rebuild(classifier: str) -> SleepStager:
    """Return the network of a classifier."""
    file = arrays(classifier)
    norm = [torch.from_numpy(file[f"batch_normalization/vars/{number}"]) for number in range(4)]
    names = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
    state = dict(zip(names, norm, strict=True)) | {"norm.num_batches_tracked": torch.tensor(0)}
    for ours, theirs in (("dense", "dense"), ("head", "dense_1")):
        state[f"{ours}.weight"] = torch.from_numpy(file[f"{theirs}/vars/0"].T)
        state[f"{ours}.bias"] = torch.from_numpy(file[f"{theirs}/vars/1"])
    for layer, theirs in DIRECTIONS.items():
        end = f"l{layer[4]}" + ("_reverse" if layer.endswith(".reverse") else "")
        kernel, recurrent, bias = (file[f"{theirs}/cell/vars/{number}"] for number in range(3))
        state |= {f"gru.weight_ih_{end}": _to_torch(kernel), f"gru.weight_hh_{end}": _to_torch(recurrent)}
        state |= {f"gru.bias_ih_{end}": _to_torch(bias[0]), f"gru.bias_hh_{end}": _to_torch(bias[1])}
    model = SleepStager(len(state["head.bias"]))
    model.load_state_dict(state)
    return model.eval()


def features_of(classifier: str, z: Array, lengths: Sequence[int]) -> Tensor:
    """Return features of the usual size, masked beyond the lengths, from standardised ones (batch, time, 36)."""
    file = doubles(arrays(classifier))
    mean, variance = (file[f"batch_normalization/vars/{number}"] for number in (2, 3))
    x = (mean + np.sqrt(variance + EPSILON) * z).astype(np.float32)
    for row, length in enumerate(lengths):
        x[row, length:] = MASKED
    return torch.from_numpy(x)


def waves(lengths: Sequence[int]) -> Array:
    """Return standardised features that need no generator of random numbers, (batch, time, 36)."""
    shape = (len(lengths), max(lengths), 36)
    return 2 * np.sin(np.arange(np.prod(shape)) ** 1.5).reshape(shape)


def by_hand(classifier: str, features: Tensor, plan: Plan) -> tuple[Array, Signals]:
    """Return the probabilities (those of masked steps among them) and every signal, from Keras's own arrays."""
    file, lengths = doubles(arrays(classifier)), lengths_of(features).numpy()
    gamma, beta, mean, variance = (file[f"batch_normalization/vars/{number}"] for number in range(4))
    x = gamma * (doubles({"x": features})["x"] - mean) / np.sqrt(variance + EPSILON) + beta
    x = np.maximum(x @ file["dense/vars/0"] + file["dense/vars/1"], 0)
    signals: Signals = {}
    for number in range(2):
        both = []
        for layer in (f"gru[{number}]", f"gru[{number}].reverse"):
            gates = keras_gates(*(file[f"{DIRECTIONS[layer]}/cell/vars/{part}"] for part in range(3)))
            h, seen = run_layer(layer, gates, x, plan, lengths)
            both.append(h)
            signals |= seen
        x = np.concatenate(both, axis=2)
    scores = np.exp(x @ file["dense_1/vars/0"] + file["dense_1/vars/1"])
    return scores / scores.sum(axis=2, keepdims=True), signals


def case(classifier: str, lengths: Sequence[int] = (11, 24, 17, 24)) -> Case:
    """Return the network with nights of different lengths to read, neither sorted nor all padded."""
    z = np.random.default_rng(0).standard_normal((len(lengths), max(lengths), 36))
    features = features_of(classifier, z, lengths)
    return Case(rebuild(classifier), (features,), lambda plan: by_hand(classifier, features, plan))
