"""The counters that TensorFlow 1 and Keras trained, out of their own files, against their own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import probe
from probe import ProbeError

DATA = Path(__file__).parents[1] / "data"
#: By file: what the caller must say, and the names of the head's matrix and bias.
TF1 = {"forget_bias": 1.0}
FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "tf1-counter/model.ckpt-10000": (TF1, "softmax_w", "softmax_b"),
    "tf1-counter/model.ckpt-10000.index": (TF1, "softmax_w", "softmax_b"),
    "tf1-counter/model.ckpt-10000.data-00000-of-00001": (TF1, "softmax_w", "softmax_b"),
    "tf1-counter/weights.npz": (TF1, "softmax_w", "softmax_b"),
    "keras-counter/model.keras": ({}, "layers/dense/vars/0", "layers/dense/vars/1"),
    "keras-counter/model.h5": ({}, "softmax/sequential/softmax/kernel", "softmax/sequential/softmax/bias"),
    "keras-counter/model.weights.h5": (
        {"gate_activation": "sigmoid"},
        "layers/dense/vars/0",
        "layers/dense/vars/1",
    ),
}


def reference(file: str) -> dict[str, np.ndarray]:
    """Return what the framework answered."""
    with np.load(DATA / file.partition("/")[0] / "ref.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("file", FILES)
def test_hidden_states_and_probabilities_are_the_frameworks(file: str) -> None:
    """On all 1,024 strings and at every step, to 1e-5; the head's arrays are among the tensors."""
    choices, weight, bias = FILES[file]
    checkpoint, expected = probe.load(DATA / file, **choices), reference(file)
    assert checkpoint.check(expected["x"], expected["h"]) < 1e-5
    assert checkpoint.check(expected["x"], expected["h"][:, -1]) < 1e-5
    (module,) = checkpoint.recurrent.values()
    assert type(module) is torch.nn.LSTM
    with torch.no_grad():
        h, _ = module(torch.from_numpy(expected["x"]))
        scores = h[:, -1] @ checkpoint.tensors[weight] + checkpoint.tensors[bias]
    assert (torch.softmax(scores, 1) - torch.from_numpy(expected["probs"])).abs().max() < 1e-5


def test_another_forget_bias_is_another_network() -> None:
    """The control arm: what the file leaves open decides the answers."""
    expected = reference("tf1-counter/")
    checkpoint = probe.load(DATA / "tf1-counter/weights.npz", forget_bias=0.0)
    assert checkpoint.check(expected["x"], expected["h"]) > 0.1


@pytest.mark.parametrize("file", [file for file, (choices, *_) in FILES.items() if choices])
def test_what_the_file_leaves_open_must_be_said(file: str) -> None:
    """Without it nothing is loaded, and the message says which argument decides, why, and what is usual."""
    (argument,) = FILES[file][0]
    usual = "1.0 \\(the default of BasicLSTMCell" if argument == "forget_bias" else "'sigmoid' \\(Keras 2.3 and later"
    with pytest.raises(ProbeError, match=rf"lstm.*Say which with {argument}=; usual are {usual}"):
        _ = probe.load(DATA / file)


def test_what_the_file_says_itself_cannot_be_overruled() -> None:
    """An argument that agrees with the file is a check; one that does not, or decides nothing, is refused."""
    for file in ("keras-counter/model.keras", "keras-counter/model.h5"):
        assert list(probe.load(DATA / file, gate_activation="sigmoid", activation="tanh").recurrent) == ["lstm"]
        with pytest.raises(ProbeError, match=r"lstm: the file itself says gate_activation='sigmoid', and 'hard_"):
            _ = probe.load(DATA / file, gate_activation="hard_sigmoid_keras2")
    refused: tuple[tuple[str, dict[str, Any]], ...] = (
        ("keras-counter/model.h5", {"forget_bias": 1.0}),
        ("tf1-counter/weights.npz", {"forget_bias": 1.0, "reset": "before"}),
    )
    for file, wrong in refused:
        (*_, name) = wrong
        with pytest.raises(ProbeError, match=rf"{name}=.* decides nothing in .*: either the file says it itself"):
            _ = probe.load(DATA / file, **wrong)


def test_the_source_says_what_was_found_and_what_was_decided() -> None:
    """Framework, format, layout, order of gates, what was chosen and what was taken for granted."""
    source = probe.load(DATA / "tf1-counter/model.ckpt-10000", forget_bias=1.0).source
    assert (source.framework, source.format) == ("TensorFlow", "TensorFlow checkpoint")
    assert source.layouts == {"rnn/basic_lstm_cell": "TensorFlow 1 basic_lstm_cell"}
    assert source.gate_orders == {"rnn/basic_lstm_cell": "i j f o"}
    assert source.chosen == ("forget_bias=1.0 for rnn/basic_lstm_cell",)
    assert any("activation='tanh'" in sentence for sentence in source.assumed)
    source = probe.load(DATA / "keras-counter/model.keras").source
    assert (source.framework, source.version, source.assumed) == ("Keras", "3.15.1", ())
    assert source.gate_orders == {"lstm": "i f c o"}


def test_the_table_says_what_was_found() -> None:
    """Printed, a checkpoint lists modules with their arrays, and what is left."""
    text = str(probe.load(DATA / "tf1-counter/model.ckpt-10000", forget_bias=1.0))
    assert "rnn/basic_lstm_cell: LSTM(1, 12, batch_first=True), from TensorFlow 1 basic_lstm_cell (i j f o)" in text
    assert "  rnn/basic_lstm_cell/kernel\n" in text
    assert "other: softmax_w (12, 11)" in text


def test_a_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    """TensorFlow stores a checksum beside each array, and it is checked."""
    for name in ("model.ckpt-10000.index", "model.ckpt-10000.data-00000-of-00001"):
        content = bytearray((DATA / "tf1-counter" / name).read_bytes())
        if "data" in name:
            content[3000] ^= 1  # within the kernel
        _ = (tmp_path / name).write_bytes(content)
    with pytest.raises(ProbeError, match=r"The checksum of 'rnn/basic_lstm_cell/kernel.*' in .* differs"):
        _ = probe.load(tmp_path / "model.ckpt-10000", forget_bias=1.0)
