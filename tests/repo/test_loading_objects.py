"""Pickles of objects: layers of madmom, one object a gate, against madmom's own run; and what is refused of others.

tests/data/checkpoints/make_madmom.py wrote the files with madmom's own classes, which are not needed here.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe import ProbeError
from probe.loading.modules import BothWays
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
with np.load(DATA / "madmom.npz") as _file:
    REFERENCES = {name: _file[name] for name in _file}


@pytest.mark.parametrize(
    ("network", "number", "kind", "options"),
    [
        ("lstm", 0, CustomLSTM, {"peepholes": True, "learned_initial_state": False}),
        ("lstm", 1, nn.LSTM, {}),
        ("lstm", 2, CustomLSTM, {"peepholes": True, "learned_initial_state": True, "activation": "relu"}),
        ("lstm", 3, BothWays, {}),
        ("gru", 0, BothWays, {}),
        ("gru", 1, nn.GRU, {}),
        ("gru", 2, CustomRNN, {"activation": "sigmoid"}),
        ("plain", 0, nn.RNN, {"bidirectional": True}),
        ("plain", 1, nn.RNN, {"nonlinearity": "relu"}),
        ("plain", 2, CustomRNN, {"activation": "linear"}),
    ],
)
def test_a_layer_of_gate_objects(network: str, number: int, kind: Any, options: dict[str, Any]) -> None:
    """Peepholes, learned states and inverted update gates are the cell that madmom runs; no choice is asked for."""
    checkpoint = probe.load(DATA / f"madmom_{network}.pkl")
    start = f"madmom_{network}.{number}"
    name = f"layers.{number}"
    x, h = REFERENCES[f"{start}.x"][None], REFERENCES[f"{start}.h"][None]
    assert checkpoint.check(x, h, name=name) < TOLERANCE
    module = checkpoint.recurrent[name]
    assert isinstance(module, kind)
    assert options.items() <= {**vars(module), **getattr(module, "options", {})}.items() or "learned" in str(options)
    assert checkpoint.source.format == "pickle of objects"
    assert len(checkpoint.arrays[name]) >= 3


def test_what_is_beside_the_layers_is_left() -> None:
    """The readout's arrays are tensors, its function a name; a choice that contradicts the file is an error."""
    checkpoint = probe.load(DATA / "madmom_lstm.pkl", gate_activation="sigmoid")
    assert set(checkpoint.tensors) == {"layers.4.weights", "layers.4.bias"}
    assert "layers.4.activation_fn" in checkpoint.not_understood
    assert isinstance(probe.load(DATA / "madmom_gru.pkl").recurrent["layers.1"], nn.GRU)
    assert not isinstance(probe.load(DATA / "madmom_gru.pkl").recurrent["layers.1"], CustomGRU)
    with refused():
        _ = probe.load(DATA / "madmom_gru.pkl", reset="before")
    left = probe.load(DATA / "madmom_lstm.pkl", names={"layers.[0-2].*": None})
    assert list(left.recurrent) == ["layers.3"]


def changed(network: str, old: bytes, new: bytes, folder: Path) -> Path:
    """Return a file with some bytes in the place of others of the same length."""
    content = (DATA / f"madmom_{network}.pkl").read_bytes()
    assert old in content
    assert len(old) == len(new)
    _ = (folder / "a.pkl").write_bytes(content.replace(old, new))
    return folder / "a.pkl"


@pytest.mark.parametrize(
    ("network", "old", "new"),
    [
        ("lstm", b"activations\nrelu\n", b"activations\nelu_\n"),
        ("plain", b"layers\nRecurrentLayer", b"layers\nRecurringLayer"),
        ("lstm", b"peephole_weights", b"peephole_weighty"),
        ("plain", b"BidirectionalLayer", b"BidirectionalThing"),
        ("gru", b"activations\nsigmoid", b"activations\nlinear#"),
        ("lstm", b"recurrent_weights", b"recurring_weights"),
    ],
)
def test_objects_that_no_cell_computes_are_refused(network: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    """Unknown classes and functions and missing arrays are said, with what to do."""
    path = changed(network, old, new, tmp_path)
    with refused():
        _ = probe.load(path)


class Harmful:
    """Runs code when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder / "made"),)


class Vocabulary:
    """Something that lies beside a network's arrays in many a file."""

    def __init__(self) -> None:
        self.words = {"a": 0}


def test_objects_beside_arrays_are_no_hindrance(tmp_path: Path) -> None:
    """They are left closed: no class is imported, no function called, and what it was given is not read."""
    weights = {name: value.numpy() for name, value in nn.GRU(2, 3).state_dict().items()}
    inside = {"bias_hh_l9": np.zeros(9)}
    content = {
        "model": OrderedDict(weights),
        "words": Vocabulary(),
        "bad": Harmful(tmp_path),
        "set": frozenset(inside),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
        checkpoint = probe.load(tmp_path / "a.pkl")
        assert isinstance(checkpoint.recurrent["model"], nn.GRU)
        assert any("mkdir" in name for name in checkpoint.not_understood)
        assert not (tmp_path / "made").exists()


def test_a_state_dict_of_arrays_is_read(tmp_path: Path) -> None:
    """Torch's dict carries attributes of its own, which are no arrays."""
    saved: Any = nn.GRU(2, 3).state_dict()
    for name in saved:
        saved[name] = saved[name].numpy()
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(saved))
    assert isinstance(probe.load(tmp_path / "a.pkl").recurrent[""], nn.GRU)


def hostile(*parts: bytes) -> bytes:
    """Return a pickle of opcodes."""
    return b"\x80\x04" + b"".join(parts) + b"."


TEXT = b"X" + (1000).to_bytes(4, "little") + b"x" * 1000


@pytest.mark.parametrize(
    "content",
    [
        hostile(b"c_codecs\nencode\n\x94", TEXT, b"\x94", b"(" + b"h\x00h\x01\x85R" * 5000 + b"t"),
        hostile(b"ccollections\nOrderedDict\n\x94](" + b"]" * 2 + b"K\x01K\x02\x86e\x94" + b"h\x00h\x01\x85R" * 9000),
        hostile(b"c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb"),
        hostile(b"cnumpy\ndtype\nN}X\x03\x00\x00\x00getK\x01s\x86b"),
        hostile(b"cnumpy\nndarray\n)\x81\x94X\x02\x00\x00\x00xxb"),
    ],
)
def test_a_pickle_cannot_change_or_exhaust_its_reader(content: bytes, tmp_path: Path) -> None:
    """Copies are counted, and the functions and classes of the table are given no state."""
    _ = (tmp_path / "a.pkl").write_bytes(content)
    # What Python says of the pickle differs where annotations are checked.
    with pytest.raises(ProbeError, match="cannot be read as a pickle of arrays"):
        _ = probe.load(tmp_path / "a.pkl")
    named = {name: value.numpy() for name, value in nn.LSTM(2, 3).state_dict().items()}
    _ = (tmp_path / "b.pkl").write_bytes(pickle.dumps(named, 2))
    assert isinstance(probe.load(tmp_path / "b.pkl").recurrent[""], nn.LSTM)


def test_values_that_lie_within_each_other_end(tmp_path: Path) -> None:
    """A list that holds one list twice, and that one another twice, is small in a file, and endless."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")


def test_a_module_of_torch_is_not_taken_apart(tmp_path: Path) -> None:
    """Its tensors are arguments of a function that is not called, so that none is read."""
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(nn.LSTM(2, 2)))
    with refused():
        _ = probe.load(tmp_path / "a.pkl")
    assert torch.is_tensor(nn.LSTM(2, 2).weight_ih_l0)
