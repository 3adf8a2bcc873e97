"""The files that `benchmarks.fuzz_checkpoints` damages: one of each kind, small, with what the caller must say."""

from __future__ import annotations

import functools
import io
import pickle
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

import probe
from probe.loading.converted import convert

#: Of the arrays of a folder, the one that is damaged.
_DAMAGED = "gru.weight_hh_l0.npy"
DATA = Path(__file__).parents[1] / "tests" / "data"


@dataclass(frozen=True)
class FuzzedFile:
    """One kind of file.

    Attributes:
        name: what it is called where it is loaded.
        content: returns its bytes.
        choices: of `probe.load`.
        also: returns the files that lie beside it, which are not damaged, by their names.
        folder: whether what is loaded is the folder that they all lie in.
    """

    name: str
    content: Callable[[], bytes]
    choices: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[], Mapping[str, bytes]] = dict
    folder: bool = False

    def beside(self, folder: Path) -> None:
        """Write the other files."""
        for name, content in self.also().items():
            _ = (folder / name).write_bytes(content)

    def loaded(self, folder: Path) -> Path:
        """Return the path that is loaded, where the file lies in a folder."""
        return folder if self.folder else folder / self.name


class Tagger(nn.Module):
    """A small network with layers of two kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, 2, bidirectional=True)
        self.gru = nn.GRU(6, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores at every step."""
        return self.head(self.gru(self.lstm(x)[0])[0])


def _tagger() -> Tagger:
    torch.manual_seed(0)
    return Tagger().eval()


def _torch(*, old: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(_tagger().state_dict(), stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def _script() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(_tagger()), stream)
    return stream.getvalue()


def _arrays() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in _tagger().state_dict().items()}


def _npz() -> bytes:
    stream = io.BytesIO()
    arrays: dict[str, Any] = _arrays()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _npy(*, every: bool) -> dict[str, bytes]:
    """Return .npy files, one an array: all of them, or those that are not damaged."""
    files = {}
    for name, array in _arrays().items():
        stream = io.BytesIO()
        np.save(stream, array)
        files[f"{name}.npy"] = stream.getvalue()
    return {name: content for name, content in files.items() if every or name != _DAMAGED}


def _packed(*, tar: bool) -> bytes:
    """Return a compressed archive of a state_dict and a text beside it."""
    stream, files = io.BytesIO(), {"model/weights.pt": _torch(old=False), "model/README": b"weights of a tagger"}
    if tar:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    else:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    return stream.getvalue()


def _safetensors() -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in _tagger().state_dict().items()})


@functools.cache
def _converted() -> Mapping[str, bytes]:
    """Return the files of a folder that `rnn-probe convert` writes, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.safetensors").write_bytes(_safetensors())
        convert(probe.load(Path(folder) / "a.safetensors"), Path(folder) / "out")
        return {file.name: file.read_bytes() for file in (Path(folder) / "out").iterdir()}


def _of_converted(name: str) -> FuzzedFile:
    def others() -> Mapping[str, bytes]:
        return {other: content for other, content in _converted().items() if other != name}

    return FuzzedFile(name, lambda: _converted()[name], also=others, folder=True)


def _kept(name: str) -> Callable[[], Mapping[str, bytes]]:
    """Return what returns a file that lies beside another."""
    return lambda: {name: (_CKPT / name).read_bytes()}


def _data(path: str) -> Callable[[], bytes]:
    return (DATA / path).read_bytes


_TF1 = {"forget_bias": 1.0, "activation": "tanh"}
_CKPT = DATA / "checkpoints"


def _dynet() -> bytes:
    drawn = np.random.default_rng(0)
    lines = []
    for number, shape in enumerate([(12, 2), (12, 3), (12,)]):
        sizes = ",".join(map(str, shape))
        lines.append(f"#Parameter# /vanilla-lstm-builder/_{number} {{{sizes}}} 9 ZERO_GRAD")
        lines.append(" ".join(f"{value:+.8e}" for value in drawn.normal(size=shape).flatten()) + " ")
    return "\n".join([*lines, ""]).encode()


FILES: dict[str, FuzzedFile] = {
    "dynet": FuzzedFile("a.model", _dynet, {"forget_bias": 1.0}),
    "torch": FuzzedFile("a.pt", lambda: _torch(old=False)),
    "torch-old": FuzzedFile("a.pt", lambda: _torch(old=True)),
    "tar-gz": FuzzedFile("a.tar.gz", lambda: _packed(tar=True)),
    "zip": FuzzedFile("a.zip", lambda: _packed(tar=False)),
    "torchscript": FuzzedFile("a.pt", _script),
    "safetensors": FuzzedFile("a.safetensors", _safetensors),
    "converted": _of_converted("config.json"),
    "converted-weights": _of_converted("model.safetensors"),
    "npz": FuzzedFile("a.npz", _npz),
    "npy-folder": FuzzedFile(
        _DAMAGED, lambda: _npy(every=True)[_DAMAGED], also=lambda: _npy(every=False), folder=True
    ),
    "pickle": FuzzedFile("a.pkl", lambda: pickle.dumps(_arrays(), protocol=4)),
    "pickle-old": FuzzedFile("a.pkl", lambda: pickle.dumps(_arrays(), protocol=2)),
    "objects": FuzzedFile("a.pkl", _data("checkpoints/madmom_plain.pkl")),
    "objects-old": FuzzedFile("a.pkl", _data("checkpoints/madmom_gru.pkl")),
    "keras": FuzzedFile("a.keras", _data("keras-counter/model.keras")),
    "h5": FuzzedFile("a.h5", _data("keras-counter/model.h5")),
    "h5-wide": FuzzedFile("a.h5", _data("checkpoints/keras3_wide.h5")),
    "flax": FuzzedFile("a.msgpack", _data("checkpoints/flax.msgpack"), {"activation": "tanh"}),
    "chainer": FuzzedFile("a.npz", _data("checkpoints/chainer.npz"), {"activation": "tanh"}),
    "chainer-h5": FuzzedFile("a.h5", _data("checkpoints/chainer.h5"), {"activation": "tanh"}),
    "mxnet": FuzzedFile("a.params", _data("checkpoints/mxnet.params"), {"activation": "relu"}),
    "mindspore": FuzzedFile("a.ckpt", _data("checkpoints/mindspore.ckpt"), {"activation": "tanh"}),
    "paddle": FuzzedFile("a.pdparams", _data("checkpoints/paddle.pdparams"), {"activation": "tanh"}),
    "tfjs": FuzzedFile(
        "model.json",
        _data("checkpoints/tfjs/model.json"),
        also=lambda: {shard.name: shard.read_bytes() for shard in sorted((_CKPT / "tfjs").glob("*.bin"))},
    ),
    "haiku": FuzzedFile("a.pkl", _data("checkpoints/haiku.pkl")),
    "equinox": FuzzedFile("a.npz", _data("checkpoints/equinox.npz")),
    "equinox-leaves": FuzzedFile(
        "a.eqx",
        _data("checkpoints/equinox.eqx"),
        {"names": {"0": "cell.weight_ih", "1": "cell.weight_hh", "2": "cell.bias"}},
    ),
    "h5-keras1": FuzzedFile("a.h5", _data("checkpoints/keras1_masked.h5")),
    "weights-h5": FuzzedFile("a.weights.h5", _data("keras-counter/model.weights.h5"), {"gate_activation": "sigmoid"}),
    "tf1-index": FuzzedFile(
        "tf1_cells.index",
        _data("checkpoints/tf1_cells.index"),
        _TF1,
        _kept("tf1_cells.data-00000-of-00001"),
    ),
    "tf1-data": FuzzedFile(
        "tf1_cells.data-00000-of-00001",
        _data("checkpoints/tf1_cells.data-00000-of-00001"),
        _TF1,
        _kept("tf1_cells.index"),
    ),
    "frozen": FuzzedFile("a.pb", _data("checkpoints/tf1_frozen.pb")),
    "frozen-2": FuzzedFile("a.pb", _data("checkpoints/tf2_frozen.pb")),
    "onnx": FuzzedFile("a.onnx", _data("checkpoints/nodes.onnx")),
    "onnx-nested": FuzzedFile("a.onnx", _data("checkpoints/nested.onnx")),
    "onnx-tf": FuzzedFile("a.onnx", _data("checkpoints/tf2onnx.onnx")),
    "onnx-torch": FuzzedFile("a.onnx", _data("checkpoints/torch_script.onnx")),
}
