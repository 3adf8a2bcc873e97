"""Files of frameworks with few layers: Chainer, Keras 1, PaddlePaddle, MXNet and MindSpore.

- Files of Chainer against its own run; tests/data/checkpoints/make_chainer.py wrote them.
- Files of Keras 1, one array a gate, against its own run; tests/data/checkpoints/make_keras1.py wrote them.
- Files of frameworks whose cells are torch's: PaddlePaddle, MXNet and MindSpore, against their own runs.
  tests/data/checkpoints/make_paddle.py, make_mxnet.py and make_mindspore.py wrote them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe.loading.modules import Backwards, BothWays, Masked
from probe.recurrent import CustomGRU, CustomLSTM

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
TANH: dict[str, Any] = {"activation": "tanh"}
FILES = ("chainer.npz", "chainer.h5")
with np.load(DATA / "chainer_references.npz") as _file:
    REFERENCES = {name: _file[name] for name in _file}
with np.load(DATA / "chainer.npz") as _file:
    ARRAYS = {name: _file[name] for name in _file}
KINDS: dict[str, Any] = {
    "lstm": nn.LSTM,
    "gru": CustomGRU,
    "gru_stack/0": nn.GRU,
    "gru_both/0": nn.GRU,
    "plain/0": nn.RNN,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_a_link(file: str, name: str) -> None:
    """Gates that lie beside each other by unit, an inverted update gate before the product, a link a direction."""
    checkpoint = probe.load(DATA / file, **TANH)
    assert checkpoint.check(REFERENCES["x"], REFERENCES[name.partition("/")[0]], name=name) < TOLERANCE
    assert isinstance(checkpoint.recurrent[name], KINDS[name])
    assert set(checkpoint.tensors) == {"head/W", "head/b"}


@torch.no_grad()
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("stack", "names"), [("stack", ("stack/0", "stack/1")), ("both", ("both/0", "both/2"))])
def test_a_stack_of_links(stack: str, names: tuple[str, str], file: str) -> None:
    """Two levels follow each other; of two directions, every second link reads from the end."""
    recurrent = probe.load(DATA / file, **TANH).recurrent
    h = torch.as_tensor(REFERENCES["x"])
    for name in names:
        h, _ = recurrent[name](h)
    assert (h - torch.as_tensor(REFERENCES[stack])).abs().max() < TOLERANCE


def written(folder: Path, start: str, change: dict[str, Any] | None = None) -> Path:
    """Write the arrays of one link, some of them changed or left out (None)."""
    arrays = {name: array for name, array in ARRAYS.items() if name.startswith(start)} | (change or {})
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def zeros(*shape: int) -> Any:
    """Return an array."""
    return np.zeros(shape, "f4")


@pytest.mark.parametrize(
    ("start", "change"),
    [
        ("lstm/", {"lstm/peep_i/W": zeros(3, 3)}),
        ("lstm/", {"lstm/upward/b": zeros(8)}),
        ("gru/", {"gru/U_z/b": zeros(3) + 1}),
        ("gru/", {"gru/W_r/W": zeros(3, 4)}),
        ("stack/", {"stack/0/w7": None}),
        ("stack/", {"stack/0/w7": zeros(2, 2)}),
        ("stack/", {f"stack/1/w{gate}": zeros(3, 5) for gate in range(4)}),
        ("stack/", {f"stack/0/w{gate}": zeros(3, 3) for gate in range(4)}),
    ],
)
def test_what_no_cell_computes_is_refused(start: str, change: dict[str, Any], tmp_path: Path) -> None:
    """Whole matrices of peepholes, biases that one step leaves out, and directions that nothing tells are errors."""
    with refused():
        _ = probe.load(written(tmp_path, start, change), **(TANH if "plain" in start else {}))


def test_what_no_file_says_is_demanded(tmp_path: Path) -> None:
    """The function of a plain link; a forget bias is in the bias itself, and with another the file is another one."""
    with refused():
        _ = probe.load(written(tmp_path, "plain"))
    with refused():
        _ = probe.load(written(tmp_path, "lstm/"), forget_bias=1.0)
    alone = written(tmp_path, "stack", {f"stack/0/w{gate}": zeros(3, 3) for gate in range(4)})
    assert list(probe.load(alone, names={"stack/1/*": None}).recurrent) == ["stack/0"]


WEIGHTS: dict[str, Any] = {"gate_activation": "hard_sigmoid_keras2"}
with np.load(DATA / "keras1.npz") as _file:
    KERAS1_REFERENCES = {name: _file[name] for name in _file}
KERAS1: dict[str, Any] = {
    **dict.fromkeys(("lstm_cpu", "lstm_mem", "lstm_gpu", "lstm_sigmoid"), CustomLSTM),
    **dict.fromkeys(("gru_cpu", "gru_mem", "gru_gpu", "gru_sigmoid"), CustomGRU),
    **dict.fromkeys(("rnn_tanh", "rnn_relu"), nn.RNN),
    **dict.fromkeys(("both_lstm", "both_gru_sum"), BothWays),
    "backwards": Backwards,
}


@pytest.mark.parametrize("layer", KERAS1)
def test_a_layer_of_a_whole_model(layer: str) -> None:
    """The configuration says everything: hard sigmoids of its time, a reset before the product, two directions."""
    checkpoint = probe.load(DATA / "keras1_wide.h5")
    assert checkpoint.check(KERAS1_REFERENCES["x"], KERAS1_REFERENCES[layer], name=layer) < TOLERANCE
    assert isinstance(checkpoint.recurrent[layer], KERAS1[layer])
    assert checkpoint.source.version == "1.2.2"
    assert set(checkpoint.recurrent) == set(KERAS1)
    assert not checkpoint.tensors


@pytest.mark.parametrize("layer", ["lstm_cpu", "lstm_gpu", "gru_mem", "gru_gpu", "both_lstm", "rnn_tanh"])
def test_a_layer_of_weights_alone(layer: str) -> None:
    """The gates' function and a plain layer's are demanded; what else was assumed is said."""
    path = DATA / "keras1_weights.h5"
    checkpoint = probe.load(path, activation="tanh", **WEIGHTS)
    assert checkpoint.check(KERAS1_REFERENCES["x"], KERAS1_REFERENCES[layer], name=layer) < TOLERANCE
    assert any(f"{layer}: no step is hidden by a mask" in sentence for sentence in checkpoint.source.assumed)
    with refused():
        _ = probe.load(path)
    with refused():
        _ = probe.load(path, names={"rnn_tanh*": None}, **WEIGHTS)


def test_a_layer_under_a_mask() -> None:
    """A sequential model's Masking hides steps; a wrapped Dense stays an array."""
    checkpoint = probe.load(DATA / "keras1_masked.h5")
    x = KERAS1_REFERENCES["hidden"]
    assert isinstance(checkpoint.recurrent["under"], Masked)
    assert checkpoint.check(x, KERAS1_REFERENCES["under"], mask=(x != -1).any(-1)) < TOLERANCE
    assert set(checkpoint.tensors) == {"each/inside_W", "each/inside_b"}


def rewritten(name: str, folder: Path, change: Any) -> Path:
    """Return a copy of a file with a change made to it."""
    path = folder / "a.h5"
    _ = path.write_bytes((DATA / name).read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _without(file: Any) -> None:
    del file["gru_cpu/gru_cpu_U_r"]


def _square(file: Any) -> None:
    del file["lstm_cpu/lstm_cpu_U_f"]
    file["lstm_cpu/lstm_cpu_U_f"] = np.zeros((2, 2), "f4")


def _configured(old: str, new: str) -> Any:
    def change(file: Any) -> None:
        config = file.attrs["model_config"]
        text = config.decode() if isinstance(config, bytes) else config
        assert old in text
        file.attrs["model_config"] = text.replace(old, new)

    return change


_other_function = _configured('"inner_activation": "hard_sigmoid"', '"inner_activation": "softplus"')
_other_units = _configured('"output_dim": 3', '"output_dim": 4')


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keras1_weights.h5", _without),
        ("keras1_weights.h5", _square),
        ("keras1_masked.h5", _other_function),
        ("keras1_masked.h5", _other_units),
    ],
)
def test_what_is_another_layer_is_refused(name: str, change: Any, tmp_path: Path) -> None:
    """Arrays that are missing or of other shapes, and options that no cell has, are errors."""
    choices: dict[str, Any] = {**WEIGHTS, "activation": "tanh"} if "weights" in name else {}
    with refused():
        _ = probe.load(rewritten(name, tmp_path, change), **choices)


def test_a_layer_of_a_whole_model_is_left_out() -> None:
    """By its name, as in later files."""
    checkpoint = probe.load(DATA / "keras1_wide.h5", names={"both_gru_sum": None})
    assert set(checkpoint.recurrent) == set(KERAS1) - {"both_gru_sum"}
    assert torch.is_tensor(checkpoint.tensors["both_gru_sum/forward_gru_5_W"])


def test_a_heap_of_strings_that_has_no_end_is_refused(tmp_path: Path) -> None:
    """Its library would go round in circles where the space that is left has no size."""
    content = bytearray((DATA / "keras1_masked.h5").read_bytes())
    start = content.index(b"GCOL\x01")
    at = start + 16
    while int.from_bytes(content[at : at + 2], "little"):
        at += 16 + (int.from_bytes(content[at + 8 : at + 16], "little") + 7) // 8 * 8
    content[at + 8 : at + 16] = bytes(8)
    _ = (tmp_path / "a.h5").write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / "a.h5")


#: MindSpore's own tanh, on a CPU, is that far from tanh; what it computes is the same but for that.
ROUGH = 1e-4
RELU: dict[str, Any] = {"activation": "relu"}
#: By file, the choice, the format, and by name of each module what the reference is called.
LAYERS = {"lstm": "lstm", "gru": "gru", "plain": "plain"}
CELLS = {"lstm_cell": "lstm_cell", "gru_cell": "gru_cell"}
GLOBAL = {"lstm0": "lstm", "gru0": "gru", "rnn0": "plain", "lstm1": "lstm_cell", "gru1": "gru_cell"}
FRAMEWORKS: dict[str, tuple[Any, str, dict[str, str]]] = {
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


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file, (_, _, names) in FRAMEWORKS.items() for name in names]
)
def test_a_layer_or_cell(file: str, name: str) -> None:
    """Levels, directions and cells alone, by whatever names; nothing is left but the readout."""
    choices, what, names = FRAMEWORKS[file]
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
    with refused():
        _ = probe.load(DATA / file)


def test_the_weights_of_paddles_cells_are_those_of_its_layers(tmp_path: Path) -> None:
    """Each stands there twice, and one that differs from itself is an error."""
    names = probe.load(DATA / "paddle.pdparams", **TANH).arrays["gru"]
    assert {"gru.weight_hh_l0", "gru.0.cell.weight_hh"} <= set(names)
    saved = pickle.loads((DATA / "paddle.pdparams").read_bytes())
    saved["gru.0.cell.weight_hh"] = saved["gru.0.cell.weight_hh"] + 1
    _ = (tmp_path / "a.pdparams").write_bytes(pickle.dumps(saved))
    with refused():
        _ = probe.load(tmp_path / "a.pdparams", **TANH)
    module = probe.load(tmp_path / "a.pdparams", names={"gru.0.*": None}, **TANH).recurrent["gru"]
    assert isinstance(module, nn.GRU)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (16, b"\xff" * 8),
        (24, b"\x01\x02\x03\x04"),
        (28, b"\x01\x00\x00\x00"),
        (32, b"\xff\xff\x00\x00"),
        (36, b"\xff" * 8),
        (36, b"\xff" * 6 + b"\x00\x00"),
        (60, b"\x63\x00\x00\x00"),
    ],
)
def test_a_damaged_file_of_mxnet_is_refused(at: int, new: bytes, tmp_path: Path) -> None:
    """No room is made for what it claims."""
    content = bytearray((DATA / "mxnet.params").read_bytes())
    content[at : at + len(new)] = new
    _ = (tmp_path / "a.params").write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / "a.params", **RELU)
    _ = (tmp_path / "a.params").write_bytes(bytes(content[:24]))
    with refused():
        _ = probe.load(tmp_path / "a.params", **RELU)


def test_arrays_of_mxnet_without_names_are_refused(tmp_path: Path) -> None:
    """A list of arrays says nothing of what they are."""
    content = (DATA / "mxnet.params").read_bytes()
    end = content.index((34).to_bytes(8, "little"), 24)
    _ = (tmp_path / "a.params").write_bytes(content[:end] + bytes(8))
    with refused():
        _ = probe.load(tmp_path / "a.params")


@pytest.mark.parametrize(
    "content", [b"\n\x05hello", b"\n\x0e\n\x01w\x12\x09\x08\x05\x12\x05Int32", b"\n\x03\n\x01w\x10\x00"]
)
def test_a_damaged_file_of_mindspore_is_refused(content: bytes, tmp_path: Path) -> None:
    """Bytes that are no protocol buffer, or no checkpoint of it."""
    _ = (tmp_path / "a.ckpt").write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / "a.ckpt")
