"""Files of JAX's libraries against their own run; tests/data/checkpoints/make_jax.py wrote them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
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
from probe.loading.modules import BothWays
from probe.recurrent import CustomGRU, CustomLSTM

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
TANH: dict[str, Any] = {"activation": "tanh"}
with np.load(DATA / "jax.npz") as _file:
    REFERENCES = {name: _file[name] for name in _file}
FLAX: dict[str, Any] = {"lstm": nn.LSTM, "optimized": nn.LSTM, "gru": nn.GRU, "simple": nn.RNN}
HAIKU: dict[str, Any] = {"lstm": nn.LSTM, "gru": CustomGRU, "vanilla_rnn": nn.RNN, "vanilla_rnn_1": nn.RNN}
HAIKU_NAMES = {"vanilla_rnn": "plain", "vanilla_rnn_1": "single"}


def flax() -> dict[str, torch.Tensor]:
    """Return Flax's parameters by name."""
    return safetensors.torch.load_file(DATA / "flax.safetensors")


@pytest.mark.parametrize("name", FLAX)
@pytest.mark.parametrize(
    ("file", "start"), [("flax.msgpack", "flax"), ("flax.safetensors", "flax"), ("flax_nnx.npz", "nnx")]
)
def test_a_cell_of_flax(file: str, start: str, name: str) -> None:
    """Each gate's arrays, or fused ones, with biases at the state, the input or both."""
    checkpoint = probe.load(DATA / file, **TANH)
    assert checkpoint.check(REFERENCES["x"], REFERENCES[f"{start}.{name}"], name=name) < TOLERANCE
    assert isinstance(checkpoint.recurrent[name], FLAX[name])
    assert f"{name}: its layer reads from the beginning (reverse=False)" in checkpoint.source.assumed
    if name != "simple":
        assert any("gate_activation='sigmoid', Flax's default" in line for line in checkpoint.source.assumed) is True
    assert not any("cell" in array for array in checkpoint.tensors)


@pytest.mark.parametrize(("cell", "name"), [("LSTMCell_0", "lstm"), ("GRUCell_0", "gru")])
def test_a_cell_of_flax_that_nobody_named(cell: str, name: str, tmp_path: Path) -> None:
    """Flax's default names are those of TensorFlow 1's cells too: the arrays below them decide."""
    arrays = {array.replace(f".{name}.", f".{cell}."): one for array, one in flax().items() if f".{name}." in array}
    safetensors.torch.save_file(arrays, tmp_path / "a.safetensors")
    checkpoint = probe.load(tmp_path / "a.safetensors")
    assert set(checkpoint.recurrent) == {cell}
    assert checkpoint.check(REFERENCES["x"], REFERENCES[f"flax.{name}"], name=cell) < TOLERANCE


@pytest.mark.parametrize("name", HAIKU)
@pytest.mark.parametrize("file", ["haiku.pkl", "haiku_numpy.pkl"])
def test_a_core_of_haiku(file: str, name: str) -> None:
    """One is added to the forget gate, a GRU's update gate is inverted and it resets before; a plain one is relu."""
    checkpoint = probe.load(DATA / file)
    expected = REFERENCES[f"haiku.{HAIKU_NAMES.get(name, name)}"]
    assert checkpoint.check(REFERENCES["x"], expected, name=name) < TOLERANCE
    assert isinstance(checkpoint.recurrent[name], HAIKU[name])
    with refused():
        _ = probe.load(DATA / file, forget_bias=0.0)


def test_what_no_file_says_is_demanded_or_assumed(tmp_path: Path) -> None:
    """A SimpleCell's function is asked for; other functions of gates are taken where they are given."""
    with refused():
        _ = probe.load(DATA / "flax.msgpack")
    lstm = {name: array for name, array in flax().items() if ".lstm." in name}
    safetensors.torch.save_file(lstm, tmp_path / "a.safetensors")
    module = probe.load(tmp_path / "a.safetensors", gate_activation="hard_sigmoid_keras3").recurrent["lstm"]
    assert isinstance(module, CustomLSTM)
    assert module.options["gate_activation"] == "hard_sigmoid_keras3"


def test_moments_of_the_weights_are_no_network(tmp_path: Path) -> None:
    """A training state holds arrays by the same names once more."""
    moments = {f"opt_state.0.mu.{name}": array for name, array in flax().items()}
    safetensors.torch.save_file({**flax(), **moments}, tmp_path / "a.safetensors")
    assert not any("mu" in name for name in probe.load(tmp_path / "a.safetensors", **TANH).recurrent)
    haiku = pickle.loads((DATA / "haiku_numpy.pkl").read_bytes())["params"]
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps({"params": haiku, "opt_state": [{"mu": haiku}]}))
    assert set(probe.load(tmp_path / "a.pkl").recurrent) == set(HAIKU)


def test_two_directions_of_flax(tmp_path: Path) -> None:
    """A Bidirectional's layers are one module, and that they are concatenated is said."""
    lstm = {name.rpartition("lstm.")[2]: array for name, array in flax().items() if ".lstm." in name}
    both = {
        f"params.enc.{way}_rnn.cell.{name}": array for way in ("forward", "backward") for name, array in lstm.items()
    }
    safetensors.torch.save_file({name: array.clone() for name, array in both.items()}, tmp_path / "a.safetensors")
    checkpoint = probe.load(tmp_path / "a.safetensors")
    module = checkpoint.recurrent["enc"]
    assert isinstance(module, (nn.LSTM, BothWays))
    x = torch.as_tensor(REFERENCES["x"])
    h, _ = module(x)
    back = probe.load(DATA / "flax.safetensors", **TANH).recurrent["lstm"](x.flip(1))[0].flip(1)
    assert (h[..., 3:] - back).abs().max() < TOLERANCE
    assert "enc: the two directions are concatenated, in the input's order" in checkpoint.source.assumed


Arrays = dict[str, torch.Tensor]


def _without(part: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: array for name, array in arrays.items() if part not in name}


def _reshaped(part: str, *shape: int) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: torch.zeros(shape) if part in name else array for name, array in arrays.items()}


@pytest.mark.parametrize(
    "change",
    [
        _without("lstm.if"),
        _reshaped("lstm.ii.kernel", 3, 3, 2, 3),
        _reshaped("lstm.hf.bias", 4),
    ],
)
def test_other_cells_of_flax_are_refused(change: Callable[[Arrays], Arrays], tmp_path: Path) -> None:
    """A cell without a gate, of a convolution or with other shapes is none that is known."""
    safetensors.torch.save_file(change(flax()), tmp_path / "a.safetensors")
    with refused():
        _ = probe.load(tmp_path / "a.safetensors", **TANH)


@pytest.mark.parametrize(
    "arrays",
    [
        {"lstm/linear/w": (5, 12)},
        {"gru/w_i": (2, 12), "gru/w_h": (3, 12), "gru/b": (12,)},
        {"lstm/linear/w": (5, 12, "truth"), "lstm/linear/b": (12, "truth")},  # nothing can be added to them
    ],
)
def test_other_cores_of_haiku_are_refused(arrays: dict[str, tuple[Any, ...]], tmp_path: Path) -> None:
    """A core whose arrays are missing, of other shapes, or no numbers, is said to be one."""
    zeros: dict[str, Any] = {
        name: np.zeros([size for size in shape if size != "truth"], bool if "truth" in shape else "f4")
        for name, shape in arrays.items()
    }
    np.savez(tmp_path / "a.npz", **zeros)
    with refused():
        _ = probe.load(tmp_path / "a.npz")


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


def test_chunks_and_bfloat16_are_read(tmp_path: Path) -> None:
    """Large arrays lie in pieces, and half as wide numbers are the same ones; made by hand from Flax's own source."""
    w = np.arange(12, dtype="f4").reshape(3, 4)
    chunks = {"0": packed(w.reshape(-1)[:5]), "1": packed(w.reshape(-1)[5:])}
    chunked = {"__msgpack_chunked_array__": True, "shape": {"0": 3, "1": 4}, "chunks": chunks}
    half = torch.tensor([1.5, -2.0]).bfloat16().view(torch.int16).numpy()
    content = {
        "rnn": {"weight_ih_l0": chunked, "weight_hh_l0": packed(np.eye(3, dtype="f4"))},
        "half": packed(half, "bfloat16"),
    }
    _ = (tmp_path / "a.msgpack").write_bytes(written({**content, "step": 3}))
    checkpoint = probe.load(tmp_path / "a.msgpack", **TANH)
    assert torch.as_tensor(checkpoint.recurrent["rnn"].weight_ih_l0).tolist() == w.tolist()
    assert checkpoint.tensors["half"].tolist() == [1.5, -2.0]
    assert checkpoint.not_understood == ("step",)


@pytest.mark.parametrize(
    "content",
    [
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x81\xa1a" + b"\x91" * 5000,
        written({"a": extension((1 << 40,), "float32", b"")}),
        written({"a": extension((1,), "object", b"12345678")}),
        written({"a": {"__msgpack_chunked_array__": True, "shape": {}, "chunks": {"0": 1}}}),
        written({"a": 1}) + b"more",
    ],
)
def test_a_damaged_file_of_flax_is_refused(content: bytes, tmp_path: Path) -> None:
    """No room is made for what it claims."""
    _ = (tmp_path / "a.msgpack").write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / "a.msgpack")
