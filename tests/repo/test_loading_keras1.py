"""Files of Keras 1, one array a gate, against its own run; tests/data/checkpoints/make_keras1.py wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe import ProbeError
from probe.loading.modules import Backwards, BothWays, Masked
from probe.recurrent import CustomGRU, CustomLSTM

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
TOLERANCE = 1e-5
WEIGHTS: dict[str, Any] = {"gate_activation": "hard_sigmoid_keras2"}
with np.load(DATA / "keras1.npz") as _file:
    REFERENCES = {name: _file[name] for name in _file}
KINDS: dict[str, Any] = {
    **dict.fromkeys(("lstm_cpu", "lstm_mem", "lstm_gpu", "lstm_sigmoid"), CustomLSTM),
    **dict.fromkeys(("gru_cpu", "gru_mem", "gru_gpu", "gru_sigmoid"), CustomGRU),
    **dict.fromkeys(("rnn_tanh", "rnn_relu"), nn.RNN),
    **dict.fromkeys(("both_lstm", "both_gru_sum"), BothWays),
    "backwards": Backwards,
}


@pytest.mark.parametrize("layer", KINDS)
def test_a_layer_of_a_whole_model(layer: str) -> None:
    """The configuration says everything: hard sigmoids of its time, a reset before the product, two directions."""
    checkpoint = probe.load(DATA / "keras1_wide.h5")
    assert checkpoint.check(REFERENCES["x"], REFERENCES[layer], name=layer) < TOLERANCE
    assert isinstance(checkpoint.recurrent[layer], KINDS[layer])
    assert checkpoint.source.version == "1.2.2"
    assert set(checkpoint.recurrent) == set(KINDS)
    assert not checkpoint.tensors


@pytest.mark.parametrize("layer", ["lstm_cpu", "lstm_gpu", "gru_mem", "gru_gpu", "both_lstm", "rnn_tanh"])
def test_a_layer_of_weights_alone(layer: str) -> None:
    """The gates' function and a plain layer's are demanded; what else was assumed is said."""
    path = DATA / "keras1_weights.h5"
    checkpoint = probe.load(path, activation="tanh", **WEIGHTS)
    assert checkpoint.check(REFERENCES["x"], REFERENCES[layer], name=layer) < TOLERANCE
    assert any(f"{layer}: no step is hidden by a mask" in sentence for sentence in checkpoint.source.assumed)
    with pytest.raises(ProbeError, match=r"Say which with gate_activation=; usual are 'sigmoid'"):
        _ = probe.load(path)
    with pytest.raises(ProbeError, match=r"rnn_relu: .* Say which with activation=; usual are 'tanh'"):
        _ = probe.load(path, names={"rnn_tanh*": None}, **WEIGHTS)


def test_a_layer_under_a_mask() -> None:
    """A sequential model's Masking hides steps; a wrapped Dense stays an array."""
    checkpoint = probe.load(DATA / "keras1_masked.h5")
    x = REFERENCES["hidden"]
    assert isinstance(checkpoint.recurrent["under"], Masked)
    assert checkpoint.check(x, REFERENCES["under"], mask=(x != -1).any(-1)) < TOLERANCE
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
    ("name", "change", "expected"),
    [
        (
            "keras1_weights.h5",
            _without,
            r"'gru_cpu/gru_cpu' has the arrays .* and those of no recurrent layer of Keras 1",
        ),
        ("keras1_weights.h5", _square, r"has arrays U of the shapes .*The file is damaged"),
        (
            "keras1_masked.h5",
            _other_function,
            r"'under' has recurrent_activation='softplus', and the cells here have",
        ),
        ("keras1_masked.h5", _other_units, r"'under' has 3 units by its arrays and 4 by its configuration"),
    ],
)
def test_what_is_another_layer_is_refused(name: str, change: Any, expected: str, tmp_path: Path) -> None:
    """Arrays that are missing or of other shapes, and options that no cell has, are errors."""
    choices: dict[str, Any] = {**WEIGHTS, "activation": "tanh"} if "weights" in name else {}
    with pytest.raises(ProbeError, match=expected):
        _ = probe.load(rewritten(name, tmp_path, change), **choices)


def test_a_layer_of_a_whole_model_is_left_out() -> None:
    """By its name, as in later files."""
    checkpoint = probe.load(DATA / "keras1_wide.h5", names={"both_gru_sum": None})
    assert set(checkpoint.recurrent) == set(KINDS) - {"both_gru_sum"}
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
    with pytest.raises(ProbeError, match=r"an object of 0 bytes in a heap of 4096"):
        _ = probe.load(tmp_path / "a.h5")
