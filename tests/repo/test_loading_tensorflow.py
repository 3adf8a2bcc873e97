"""TensorFlow 1's cells out of checkpoints, against what TensorFlow computes.

The files are written by tests/data/checkpoints/make_tf1.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe.loading.formats.crc32c import crc32c
from probe.recurrent import CustomGRU, CustomLSTM

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
CHOICES: dict[str, Any] = {"forget_bias": 1.0, "activation": "tanh"}
#: By the name of a module, what it is.
CELLS = {
    "basic_lstm/basic_lstm_cell": nn.LSTM,
    "both": nn.LSTM,
    "gru/gru_cell": CustomGRU,
    "lstm/lstm_cell": nn.LSTM,
    "peepholes/lstm_cell": CustomLSTM,
    "projected/lstm_cell": nn.LSTM,
    "rnn/basic_rnn_cell": nn.RNN,
}
STACK = tuple(f"stack/multi_rnn_cell/cell_{level}/basic_lstm_cell" for level in (0, 1))

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def reference() -> dict[str, np.ndarray]:
    """Return the inputs, and what each cell returned."""
    with np.load(DATA / "tf1.npz") as arrays:
        return dict(arrays)


def test_every_cell_is_tensorflows() -> None:
    """Peepholes, projections, both directions as one module, a GRU that resets before the product, a stack."""
    checkpoint, expected = probe.load(DATA / "tf1_cells", **CHOICES), reference()
    assert sorted(checkpoint.recurrent) == sorted([*CELLS, *STACK])
    assert checkpoint.tensors == {}
    x = expected["x"]
    for name, kind in CELLS.items():
        assert type(checkpoint.recurrent[name]) is kind, name
        assert checkpoint.check(x, expected[f"tf1_cells.{name.partition('/')[0]}"], name=name) < 1e-5, name
    lower, upper = (checkpoint.recurrent[name] for name in STACK)
    with torch.no_grad():
        found = upper(lower(torch.from_numpy(x))[0])[0]
    assert (found - torch.from_numpy(expected["tf1_cells.stack"])).abs().max() < 1e-5


def test_a_graph_and_a_folder_of_orbax_are_known_and_refused(tmp_path: Path) -> None:
    """What they were made of can be read."""
    (tmp_path / "default").mkdir()
    _ = (tmp_path / "default" / "manifest.ocdbt").write_bytes(b"")
    with refused():
        _ = probe.load(tmp_path)
    _ = (tmp_path / "a.pb").write_bytes(b"\n\x10\n\x01x\x12\x0bPlaceholder")
    with refused():
        _ = probe.load(tmp_path / "a.pb")


def saved(arrays: Mapping[str, np.ndarray], folder: Path) -> Path:
    """Write arrays as an .npz, and return its path."""
    named: dict[str, Any] = dict(arrays)
    np.savez(folder / "a.npz", **named)
    return folder / "a.npz"


def drawn(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return random arrays; a double underscore in a name stands for a slash."""
    random = np.random.default_rng(0)
    return {name.replace("__", "/"): random.normal(size=shape) for name, shape in shapes.items()}


LSTM = drawn(cell__basic_lstm_cell__kernel=(5, 12), cell__basic_lstm_cell__bias=(12,))


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
    expected = probe.load(saved(LSTM, tmp_path), forget_bias=1.0)
    found = probe.load(saved(dict(zip(names, LSTM.values(), strict=True)), tmp_path), forget_bias=1.0)
    x = np.random.default_rng(1).normal(size=(2, 4, 2))
    (module,) = expected.recurrent.values()
    h = module(torch.from_numpy(x))[0].detach()
    assert found.check(x, h) == 0


GRU = drawn(
    a__gru_cell__gates__kernel=(5, 6),
    a__gru_cell__gates__bias=(6,),
    a__gru_cell__candidate__kernel=(5, 3),
    a__gru_cell__candidate__bias=(3,),
)
COUPLED = drawn(
    a__coupled_input_forget_gate_lstm_cell__kernel=(6, 12), a__coupled_input_forget_gate_lstm_cell__bias=(12,)
)
CUDNN = {name.replace("basic", "cudnn_compatible"): array for name, array in LSTM.items()}
NORMED = LSTM | drawn(cell__basic_lstm_cell__input__gamma=(3,))


@pytest.mark.parametrize(
    "arrays",
    [
        COUPLED,
        CUDNN,
        NORMED,
        {**LSTM, "cell/basic_lstm_cell/bias": np.zeros(11)},
        {**LSTM, "cell/basic_lstm_cell/kernel": np.zeros((3, 12))},
        {**GRU, "a/gru_cell/gates/kernel": np.zeros((5, 7))},
    ],
)
def test_what_is_no_cell_is_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Other cells, layer norms, shapes that do not fit, numbers that are none."""
    with refused():
        _ = probe.load(saved(arrays, tmp_path), forget_bias=1.0)


def test_what_trained_a_cell_is_no_part_of_it(tmp_path: Path) -> None:
    """The slots of an optimiser have a variable's name and one word more; they are other arrays."""
    slots = {f"{name}/{slot}": array for name, array in LSTM.items() for slot in ("Adam", "Adam_1", "Momentum")}
    checkpoint = probe.load(saved(LSTM | slots, tmp_path), forget_bias=1.0)
    assert list(checkpoint.recurrent) == ["cell/basic_lstm_cell"]
    assert set(checkpoint.tensors) == set(slots)


def test_the_checksum_is_castagnolis() -> None:
    """The values that RFC 3720 prints, and one sum over many lanes against bytes one by one."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283
    long = np.random.default_rng(0).integers(0, 256, 4096 * 17 + 5).astype(np.uint8).tobytes()
    state = 0xFFFFFFFF
    for byte in long:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(long) == state ^ 0xFFFFFFFF
