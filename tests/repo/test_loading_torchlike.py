"""Files of frameworks whose cells are torch's: PaddlePaddle, MXNet and MindSpore, against their own runs.

tests/data/checkpoints/make_paddle.py, make_mxnet.py and make_mindspore.py wrote them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import probe
from probe import ProbeError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
#: MindSpore's own tanh, on a CPU, is that far from tanh; what it computes is the same but for that.
ROUGH = 1e-4
RELU: dict[str, Any] = {"activation": "relu"}
TANH: dict[str, Any] = {"activation": "tanh"}
#: By file, the choice, the format, and by name of each module what the reference is called.
LAYERS = {"lstm": "lstm", "gru": "gru", "plain": "plain"}
CELLS = {"lstm_cell": "lstm_cell", "gru_cell": "gru_cell"}
GLOBAL = {"lstm0": "lstm", "gru0": "gru", "rnn0": "plain", "lstm1": "lstm_cell", "gru1": "gru_cell"}
FILES: dict[str, tuple[Any, str, dict[str, str]]] = {
    "mxnet.params": (RELU, "MXNet params", LAYERS | CELLS),
    "mxnet_symbol.params": (RELU, "MXNet params", {f"network0_{name}": layer for name, layer in GLOBAL.items()}),
    "paddle.pdparams": (TANH, "PaddlePaddle state", LAYERS | {"wrapped.cell": "wrapped"}),
    "paddle_nested.pdparams": ({}, "pickle of arrays", {"model": "gru"}),
    "mindspore.ckpt": (TANH, "MindSpore checkpoint", LAYERS | CELLS),
}


def references(file: str) -> dict[str, np.ndarray]:
    """Return what the file's framework computed."""
    with np.load(DATA / f"{file.partition('.')[0].partition('_')[0]}.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, (_, _, names) in FILES.items() for name in names])
def test_a_layer_or_cell(file: str, name: str) -> None:
    """Levels, directions and cells alone, by whatever names; nothing is left but the readout."""
    choices, what, names = FILES[file]
    checkpoint, expected = probe.load(DATA / file, **choices), references(file)
    tolerance = ROUGH if what.startswith("MindSpore") else TOLERANCE
    assert checkpoint.check(expected["x"], expected[names[name]], name=name) < tolerance
    assert checkpoint.source.format == what
    assert set(checkpoint.recurrent) == set(names)
    assert all("head" in array or "dense" in array for array in checkpoint.tensors)
    assert not any("@@" in left for left in checkpoint.not_understood)


@pytest.mark.parametrize("file", ["mxnet.params", "paddle.pdparams", "mindspore.ckpt"])
def test_a_plain_layers_function_is_demanded(file: str) -> None:
    """It is in none of these files."""
    with pytest.raises(ProbeError, match=r"whose nonlinearity is not in the file\. Say which with activation="):
        _ = probe.load(DATA / file)


def test_the_weights_of_paddles_cells_are_those_of_its_layers(tmp_path: Path) -> None:
    """Each stands there twice, and one that differs from itself is an error."""
    names = probe.load(DATA / "paddle.pdparams", **TANH).arrays["gru"]
    assert {"gru.weight_hh_l0", "gru.0.cell.weight_hh"} <= set(names)
    saved = pickle.loads((DATA / "paddle.pdparams").read_bytes())
    saved["gru.0.cell.weight_hh"] = saved["gru.0.cell.weight_hh"] + 1
    _ = (tmp_path / "a.pdparams").write_bytes(pickle.dumps(saved))
    with pytest.raises(ProbeError, match=r"are one weight in PaddlePaddle, and differ in this file\. Leave one of"):
        _ = probe.load(tmp_path / "a.pdparams", **TANH)
    module = probe.load(tmp_path / "a.pdparams", names={"gru.0.*": None}, **TANH).recurrent["gru"]
    assert isinstance(module, nn.GRU)


@pytest.mark.parametrize(
    ("at", "new", "expected"),
    [
        (16, b"\xff" * 8, r"arrays\)\. Give a file that net\.save_parameters"),
        (24, b"\x01\x02\x03\x04", r"an array of the version 0x4030201"),
        (28, b"\x01\x00\x00\x00", r"holds a sparse array of MXNet\. Save it dense: array\.tostype"),
        (32, b"\xff\xff\x00\x00", r"an array of 65535 axes"),
        (36, b"\xff" * 8, r"a shape of \[-1, 2\]"),
        (36, b"\xff" * 6 + b"\x00\x00", r"needs more than 8,000,000,000 bytes"),
        (60, b"\x63\x00\x00\x00", r"an array of the dtype number 99"),
    ],
)
def test_a_damaged_file_of_mxnet_is_refused(at: int, new: bytes, expected: str, tmp_path: Path) -> None:
    """No room is made for what it claims."""
    content = bytearray((DATA / "mxnet.params").read_bytes())
    content[at : at + len(new)] = new
    _ = (tmp_path / "a.params").write_bytes(content)
    with pytest.raises(ProbeError, match=expected):
        _ = probe.load(tmp_path / "a.params", **RELU)
    _ = (tmp_path / "a.params").write_bytes(bytes(content[:24]))
    with pytest.raises(ProbeError, match=r"cannot be read as a file of MXNet|arrays"):
        _ = probe.load(tmp_path / "a.params", **RELU)


def test_arrays_of_mxnet_without_names_are_refused(tmp_path: Path) -> None:
    """A list of arrays says nothing of what they are."""
    content = (DATA / "mxnet.params").read_bytes()
    end = content.index((34).to_bytes(8, "little"), 24)
    _ = (tmp_path / "a.params").write_bytes(content[:end] + bytes(8))
    with pytest.raises(ProbeError, match=r"34 arrays and 0 names; arrays without names say nothing of what they are"):
        _ = probe.load(tmp_path / "a.params")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n\x05hello", r"cannot be read as a checkpoint of MindSpore"),
        (b"\n\x0e\n\x01w\x12\x09\x08\x05\x12\x05Int32", r"'w' has 0 bytes for an array of shape \[5\] of Int32"),
        (b"\n\x03\n\x01w\x10\x00", r"a field of the number 2"),
    ],
)
def test_a_damaged_file_of_mindspore_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    """Bytes that are no protocol buffer, or no checkpoint of it."""
    _ = (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ProbeError, match=expected):
        _ = probe.load(tmp_path / "a.ckpt")
