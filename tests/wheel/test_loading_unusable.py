"""Arrays that torch has no numbers for: those of a layer are an error, and never a layer without them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe import ProbeError
from probe.loading.unusable import check_usable

KINDS: dict[str, Any] = {
    "a bfloat16 as numpy writes it": "V2",
    "long doubles": np.longdouble,
    "objects": object,
    "complex numbers": np.complex64,
    "text": "U8",
}


def arrays(**others: Any) -> dict[str, Any]:
    """Return the arrays of a network named `rnn`, some of them replaced."""
    named = {f"rnn.{name}": value.numpy() for name, value in nn.GRU(2, 3).state_dict().items()}
    return named | others


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_layers_array_that_cannot_be_used_is_an_error(kind: Any, tmp_path: Path) -> None:
    """The biases of a layer are never left away because of how they were written; other arrays may be."""
    values = np.zeros(9, np.uint16).view("V2") if kind == "V2" else np.zeros(9).astype(kind)
    biases: dict[str, Any] = {f"rnn.bias_{side}_l0": values for side in ("ih", "hh")}
    np.savez(tmp_path / "a.npz", **arrays(**biases))
    with pytest.raises(ProbeError, match=r"'rnn.bias_ih_l0' holds .*belongs to a layer by its name.*names=\{'rnn"):
        _ = probe.load(tmp_path / "a.npz")
    other: dict[str, Any] = {"vocabulary": values}
    np.savez(tmp_path / "b.npz", **arrays(**other))
    loaded = probe.load(tmp_path / "b.npz")
    assert list(loaded.recurrent) == ["rnn"]
    assert loaded.not_understood == ("vocabulary",)
    left = probe.load(tmp_path / "a.npz", names={"rnn.bias_*": None})
    assert "without" in str(left.source) or not left.recurrent["rnn"].bias


def test_a_whole_layer_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Of two layers the one whose numbers nobody can read is not passed over, wherever its arrays lie."""
    one = {f"a.{name}": value.numpy() for name, value in nn.LSTM(2, 3).state_dict().items()}
    two = {f"b/lstm/{name}": np.zeros(3, np.complex128) for name in ("kernel", "recurrent_kernel")}
    named: dict[str, Any] = one | two
    np.savez(tmp_path / "a.npz", **named)
    with pytest.raises(ProbeError, match=r"'b/lstm/kernel' holds numbers of the kind complex128"):
        _ = probe.load(tmp_path / "a.npz")
    assert list(probe.load(tmp_path / "a.npz", names={"b/*": None}).recurrent) == ["a"]


def test_beside_a_layer_no_array_is_passed_over(tmp_path: Path) -> None:
    """An unknown name in a layer's own place, or a learned initial state, may be a part of it."""
    for name in ("rnn.peephole", "rnn.deeper.scale", "h0"):
        other: dict[str, Any] = {name: np.zeros(3, np.longdouble)}
        np.savez(tmp_path / "a.npz", **arrays(**other))
        with pytest.raises(ProbeError, match=rf"'{name}' holds numbers of the kind"):
            _ = probe.load(tmp_path / "a.npz")


def test_below_a_layers_arrays_no_array_is_passed_over() -> None:
    """Names that begin as all of a layer's do belong to it, whichever word comes next; others may be anything."""
    layers = [("enc.hf.kernel", "enc.hi.kernel"), ("m_l0_i2h_w", "m_l0_h2h_w")]
    for name in ("enc.ho.bias", "enc.scale", "m_l0_scale"):
        with pytest.raises(ProbeError, match=rf"'{name}' holds text"):
            check_usable(layers, {name: "text"}, ())
        check_usable(layers, {name: "text"}, (name,))
        check_usable(layers, {name: ""}, ())
    check_usable(layers, {"encoding.kind": "text", "dec.ho.bias": "text"}, ())


def test_a_list_of_numbers_is_no_array_and_is_not_passed_over(tmp_path: Path) -> None:
    """A bias that was saved as a list of Python's numbers is one of a layer; a list of losses is none."""
    model = nn.GRU(2, 3)
    tensors: dict[str, Any] = {name: value for name, value in model.state_dict().items() if "bias" not in name}
    biases = {f"bias_{side}_l0": [0.5] * 9 for side in ("ih", "hh")}
    torch.save(tensors | biases | {"losses": [1.0, 0.5]}, tmp_path / "a.pt")
    with pytest.raises(ProbeError, match=r"'bias_ih_l0' holds a list of Python's numbers"):
        _ = probe.load(tmp_path / "a.pt")
    torch.save({"state_dict": tensors | biases}, tmp_path / "b.pt")
    with pytest.raises(ProbeError, match=r"'bias_ih_l0' holds a list of Python's numbers"):
        _ = probe.load(tmp_path / "b.pt")
    torch.save(model.state_dict() | {"losses": [1.0, 0.5]}, tmp_path / "c.pt")
    assert probe.load(tmp_path / "c.pt").not_understood == ("losses",)
    in_numpy = {f"rnn.{name}": value.numpy() for name, value in tensors.items()}
    pickled = in_numpy | {f"rnn.{name}": value for name, value in biases.items()}
    _ = (tmp_path / "a.pkl").write_bytes(pickle.dumps(pickled))
    with pytest.raises(ProbeError, match=r"'rnn.bias_ih_l0' holds a list of Python's numbers"):
        _ = probe.load(tmp_path / "a.pkl")


def test_what_cannot_be_used_cannot_be_renamed_or_filled_in(tmp_path: Path) -> None:
    """names= says why it is no array, and a module of one's own takes all names or none."""
    other: dict[str, Any] = {"rnn.extra": np.zeros(3, np.complex64)}
    np.savez(tmp_path / "a.npz", **arrays(**other))
    with pytest.raises(
        ProbeError, match=r"names= calls 'rnn.extra' 'rnn.x', and that holds numbers of the kind compl"
    ):
        _ = probe.load(tmp_path / "a.npz", names={"rnn.extra": "rnn.x"})
    model = nn.ModuleDict({"rnn": nn.GRU(2, 3)})
    with pytest.raises(ProbeError, match=r"'rnn.extra' holds numbers of the kind complex64"):
        _ = probe.load(tmp_path / "a.npz", into=model)
    _ = probe.load(tmp_path / "a.npz", into=model, names={"rnn.extra": None})
