"""Layers that the names of their arrays tell, whatever file they lie in: of TensorFlow, Keras, Flax and Haiku."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import safetensors.torch
import torch
from refusing import refused
from torch import nn

import probe
from probe.loading.formats.crc32c import crc32c

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TF1: dict[str, Any] = {"forget_bias": 1.0}
FLAX = {name: array.numpy() for name, array in safetensors.torch.load_file(DATA / "flax.safetensors").items()}
FLAX_LSTM = {name.rpartition("lstm.")[2]: array for name, array in FLAX.items() if ".lstm." in name}
HAIKU = pickle.loads((DATA / "haiku_numpy.pkl").read_bytes())["params"]


def saved(folder: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays as an .npz, and return its path."""
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def drawn(start: str, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return random arrays, their names behind a start; a double underscore in a name stands for a slash."""
    random = np.random.default_rng(0)
    return {f"{start}/{name.replace('__', '/')}": random.normal(size=shape) for name, shape in shapes.items()}


LSTM = drawn("cell/basic_lstm_cell", kernel=(5, 12), bias=(12,))


@pytest.mark.parametrize(
    "names",
    [
        ("rnn/BasicLSTMCell/Linear/Matrix", "rnn/BasicLSTMCell/Linear/Bias"),
        ("rnn/basic_lstm_cell/weights", "rnn/basic_lstm_cell/biases"),
        ("rnn/lstm_cell_3/kernel", "rnn/lstm_cell_3/bias"),
    ],
)
def test_older_names_are_known(names: tuple[str, str], tmp_path: Path) -> None:
    """Of TensorFlow 0.12 to 1.15, with slashes or dots: the same arrays, the same network."""
    x = np.random.default_rng(1).normal(size=(2, 4, 2))
    (module,) = probe.load(saved(tmp_path, LSTM), **TF1).recurrent.values()
    found = probe.load(saved(tmp_path, dict(zip(names, LSTM.values(), strict=True))), **TF1)
    assert found.check(x, module(torch.from_numpy(x))[0].detach()) == 0


GRU = drawn("a/gru_cell", gates__kernel=(5, 6), gates__bias=(6,), candidate__kernel=(5, 3), candidate__bias=(3,))
KERAS = {"kernel:0": (2, 12), "recurrent_kernel:0": (3, 12), "bias:0": (12,)}
REFUSED: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
    "tf coupled": (drawn("a/coupled_input_forget_gate_lstm_cell", kernel=(6, 12), bias=(12,)), TF1),
    "tf cudnn": (drawn("a/cudnn_compatible_lstm_cell", kernel=(5, 12), bias=(12,)), TF1),
    "tf norms": (LSTM | drawn("cell/basic_lstm_cell", input__gamma=(3,)), TF1),
    "tf bias": (LSTM | drawn("cell/basic_lstm_cell", bias=(11,)), TF1),
    "tf kernel": (LSTM | drawn("cell/basic_lstm_cell", kernel=(3, 12)), TF1),
    "tf gru": (GRU | drawn("a/gru_cell", gates__kernel=(5, 7)), {}),
    "keras peepholes": (drawn("rnn/lstm_cell", **KERAS, **{"input_gate_peephole_weights:0": (3,)}), {}),
    "keras norms": (drawn("rnn/lstm_cell", **KERAS, **{"kernel_norm/gamma:0": (3,)}), {}),
    "flax without a gate": ({name: array for name, array in FLAX_LSTM.items() if not name.startswith("if")}, {}),
    "flax convolution": (FLAX_LSTM | {"ii.kernel": np.ones((3, 3, 2, 3))}, {}),
    "flax bias": (FLAX_LSTM | {"hf.bias": np.ones(4)}, {}),
    "haiku without a bias": (drawn("lstm/linear", w=(5, 12)), {}),
    "haiku gru": (drawn("gru", w_i=(2, 12), w_h=(3, 12), b=(12,)), {}),
    "haiku truths": ({name: array > 0 for name, array in drawn("lstm/linear", w=(5, 12), b=(12,)).items()}, {}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_are_no_layer_of_a_framework_are_refused(kind: str, tmp_path: Path) -> None:
    """Other cells, layer norms and peepholes, arrays that are missing, shapes that do not fit, no numbers."""
    arrays, choices = REFUSED[kind]
    start = "" if "/" in next(iter(arrays)) else "rnn."
    with refused():
        _ = probe.load(saved(tmp_path, {start + name: array for name, array in arrays.items()}), **choices)


def test_what_trained_a_layer_is_no_part_of_it(tmp_path: Path) -> None:
    """An optimiser's slots have a variable's name and a word more; a training state holds the names once more."""
    slots = {f"{name}/{slot}": array for name, array in LSTM.items() for slot in ("Adam", "Adam_1", "Momentum")}
    checkpoint = probe.load(saved(tmp_path, LSTM | slots), **TF1)
    assert (list(checkpoint.recurrent), set(checkpoint.tensors)) == (["cell/basic_lstm_cell"], set(slots))
    moments = {f"opt_state.0.mu.{name}": array for name, array in FLAX.items()}
    networks = probe.load(saved(tmp_path, FLAX | moments), activation="tanh").recurrent
    assert set(networks) == {"OptimizedLSTMCell_0", "gru", "lstm", "optimized", "simple"}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps({"params": HAIKU, "opt_state": [{"mu": HAIKU}]}))
    assert set(probe.load(tmp_path / "a.pkl").recurrent) == {"lstm", "gru", "vanilla_rnn", "vanilla_rnn_1"}


@torch.no_grad()
def test_cells_of_flax_that_nobody_named(tmp_path: Path) -> None:
    """Flax's default names are those of TensorFlow 1's cells too; two directions are one module, and that is said."""
    unnamed = {f"params.LSTMCell_0.{name}": array for name, array in FLAX_LSTM.items()}
    checkpoint = probe.load(saved(tmp_path, unnamed))
    with np.load(DATA / "jax.npz") as expected:
        x = torch.from_numpy(expected["x"])
        assert checkpoint.check(x, expected["flax.lstm"], name="LSTMCell_0") < 1e-5
    module: Any = probe.load(saved(tmp_path, unnamed), gate_activation="hard_sigmoid_keras3").recurrent["LSTMCell_0"]
    assert module.options["gate_activation"] == "hard_sigmoid_keras3"
    way = {"forward": 1, "backward": 2}
    both = {f"enc.{w}_rnn.cell.{name}": way[w] * array for w in way for name, array in FLAX_LSTM.items()}
    found = probe.load(saved(tmp_path, both))
    other = probe.load(saved(tmp_path, {name: 2 * array for name, array in unnamed.items()})).recurrent["LSTMCell_0"]
    wanted = torch.cat([checkpoint.recurrent["LSTMCell_0"](x)[0], other(x.flip(1))[0].flip(1)], 2)
    assert found.check(x, wanted, name="enc") < 1e-5
    assert "enc: the two directions are concatenated, in the input's order" in found.source.assumed


def test_a_layer_that_is_called_backwards_is_not_loaded_as_one_that_reads_forwards(tmp_path: Path) -> None:
    """Weights alone do not say the direction; the same arrays under a plain name are a layer that reads forwards."""
    for name in ("LSTM_1_backward", "lstm_reversed"):
        arrays = drawn(name, kernel=(2, 12), recurrent_kernel=(3, 12), bias=(12,))
        with refused():
            _ = probe.load(saved(tmp_path, arrays), gate_activation="sigmoid")
        renamed: dict[str, str | None] = {one: one.replace(name, "own") for one in arrays}
        found = probe.load(tmp_path / "a.npz", names=renamed, gate_activation="sigmoid")
        assert isinstance(found.recurrent["own"], nn.LSTM)


def written(value: Any) -> bytes:
    """Return a value in msgpack."""
    content = msgpack.packb(value)
    assert content is not None
    return content


def extension(*parts: Any) -> msgpack.ExtType:
    """Return an array as Flax packs it, of its shape, dtype and bytes."""
    return msgpack.ExtType(1, written(parts))


def packed(array: Any, name: str = "") -> msgpack.ExtType:
    """Return an array as Flax packs it."""
    return extension(array.shape, name or array.dtype.name, array.tobytes())


def test_chunks_and_bfloat16_of_flax_are_read(tmp_path: Path) -> None:
    """Large arrays lie in pieces, and half as wide numbers are the same ones; made by hand from Flax's own source."""
    w = np.arange(12, dtype="f4").reshape(3, 4)
    chunks = {"0": packed(w.reshape(-1)[:5]), "1": packed(w.reshape(-1)[5:])}
    chunked = {"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 4}, "chunks": chunks}
    half = torch.tensor([1.5, -2.0]).bfloat16().view(torch.int16).numpy()
    rnn = {"weight_ih_l0": chunked, "weight_hh_l0": packed(np.eye(3, dtype="f4"))}
    _ = (tmp_path / "a.msgpack").write_bytes(written({"rnn": rnn, "half": packed(half, "bfloat16"), "step": 3}))
    checkpoint = probe.load(tmp_path / "a.msgpack", activation="tanh")
    assert torch.as_tensor(checkpoint.recurrent["rnn"].weight_ih_l0).tolist() == w.tolist()
    assert checkpoint.tensors["half"].tolist() == [1.5, -2.0]
    assert checkpoint.not_understood == ("step",)


def test_a_damaged_file_of_flax_is_refused(tmp_path: Path) -> None:
    """No room is made for what it claims."""
    pieces = {"__msgpack_chunked_array__": True, "shape": {}, "chunks": {"0": 1}}
    arrays = extension((1 << 40,), "float32", b""), extension((1,), "object", b"12345678"), pieces
    cut, deep = b"\x81\xa1a\xdd\xff\xff\xff\xff", b"\x81\xa1a" + b"\x91" * 5000
    for content in (cut, deep, *(written({"a": array}) for array in arrays), written({"a": 1}) + b"more"):
        _ = (tmp_path / "a.msgpack").write_bytes(content)
        with refused():
            _ = probe.load(tmp_path / "a.msgpack")


def test_a_graph_and_a_folder_of_orbax_are_known_and_refused(tmp_path: Path) -> None:
    """What they were made of can be read."""
    (tmp_path / "default").mkdir()
    _ = (tmp_path / "default" / "manifest.ocdbt").write_bytes(b"")
    _ = (tmp_path / "a.pb").write_bytes(b"\n\x10\n\x01x\x12\x0bPlaceholder")
    for path in (tmp_path, tmp_path / "a.pb"):
        with refused():
            _ = probe.load(path)


def test_the_checksum_is_castagnolis() -> None:
    """One sum over many lanes against bytes one by one; checkpoints of TensorFlow have the sums of short ones."""
    long = np.random.default_rng(0).integers(0, 256, 4096 * 17 + 5).astype(np.uint8).tobytes()
    state = 0xFFFFFFFF
    for byte in long:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(long) == state ^ 0xFFFFFFFF
