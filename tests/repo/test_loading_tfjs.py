"""Models of TensorFlow.js against its own run, and folders of Orbax.

tests/data/checkpoints/make_tfjs.mjs wrote the model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import probe
from probe import ProbeError
from probe.loading.modules import BothWays
from probe.recurrent import CustomGRU, CustomLSTM

DATA = Path(__file__).parents[1] / "data" / "checkpoints" / "tfjs"
TOLERANCE = 1e-5
REFERENCES = {
    name: np.array(values, "f4") for name, values in json.loads((DATA / "references.json").read_text()).items()
}
KINDS: dict[str, Any] = {
    "lstm": CustomLSTM,
    "gru": CustomGRU,
    "plain": nn.RNN,
    "sigmoid": nn.LSTM,
    "both": BothWays,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("path", [DATA, DATA / "model.json"])
def test_a_layer_is_tensorflows(path: Path, name: str) -> None:
    """Of the model's description and weights in two files, in one of which an array begins that ends in the other."""
    checkpoint = probe.load(path)
    assert checkpoint.check(REFERENCES["x"], REFERENCES[name], name=name) < TOLERANCE
    assert isinstance(checkpoint.recurrent[name], KINDS[name])
    assert checkpoint.source.format == "TensorFlow.js model"
    assert not checkpoint.tensors


Change = Callable[[dict[str, Any], Path], None]


def _weights(model: dict[str, Any]) -> list[dict[str, Any]]:
    return model["weightsManifest"][0]["weights"]


def _outside(model: dict[str, Any], folder: Path) -> None:
    _ = (folder.parent / "secret.bin").write_bytes(bytes(100))
    model["weightsManifest"][0]["paths"][0] = "../secret.bin"


def _link(model: dict[str, Any], folder: Path) -> None:
    _ = (folder.parent / "secret.bin").write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    model["weightsManifest"][0]["paths"][0] = "link.bin"


def _quantized(model: dict[str, Any], _: Path) -> None:
    _weights(model)[0]["quantization"] = {"min": 0, "scale": 1, "dtype": "uint8"}


def _larger(model: dict[str, Any], _: Path) -> None:
    _weights(model)[0]["shape"] = [1 << 40, 12]


def _less(model: dict[str, Any], _: Path) -> None:
    del _weights(model)[-1]


def _twice(model: dict[str, Any], _: Path) -> None:
    _weights(model)[1]["name"] = _weights(model)[0]["name"]


def _graph(model: dict[str, Any], _: Path) -> None:
    model["modelTopology"] = {"node": []}
    for number, weight in enumerate(_weights(model)):
        weight["name"] = f"Const_{number}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_outside, r"keeps weights in '\.\./secret\.bin', which is no file beside it\. Put it into the same folder"),
        (_link, r"keeps weights in 'link\.bin', which is no file beside it"),
        (_quantized, r"'lstm/kernel' quantized\. Convert the model without quantization"),
        (_larger, r"'lstm/kernel' ends behind its file"),
        (_less, r"48 bytes behind the last weight"),
        (_twice, r"two weights of the name 'lstm/kernel'"),
        (_graph, r"is a graph model of TensorFlow\.js.* Convert the Keras model itself"),
    ],
)
def test_what_is_no_whole_model_is_refused(change: Change, expected: str, tmp_path: Path) -> None:
    """Nothing outside of the folder is opened, and bytes that are missing or too many are errors."""
    folder = tmp_path / "model"
    _ = shutil.copytree(DATA, folder)
    model = json.loads((folder / "model.json").read_text())
    change(model, folder)
    _ = (folder / "model.json").write_text(json.dumps(model))
    with pytest.raises(ProbeError, match=expected):
        _ = probe.load(folder)


def test_a_folder_of_orbax_is_known_and_refused(tmp_path: Path) -> None:
    """By what lies in it."""
    (tmp_path / "default").mkdir()
    _ = (tmp_path / "default" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(ProbeError, match=r"is a checkpoint of Orbax.* save the parameters with flax\.serialization"):
        _ = probe.load(tmp_path)
