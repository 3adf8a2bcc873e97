"""TensorFlow's counters, the hub's reader, and damaged files of every kind.

- The counters that TensorFlow 1 and Keras trained, out of their own files, against their own answers.
- The Hugging Face hub's own reader takes the folders that `rnn-probe convert` writes, and writes such folders.
- Damaged files of every kind: some of what `python -m benchmarks.fuzz_checkpoints` does a thousand times.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from refusing import refused
from torch import nn

import probe
from benchmarks import fuzz_checkpoints as fuzz
from benchmarks.fuzz_checkpoints import FILES
from probe import ProbeError
from probe.loading.converted import Networks, convert
from probe.recurrent import CustomGRU

DATA = Path(__file__).parents[1] / "data"
#: By file: what the caller must say, and the names of the head's matrix and bias.
TF1 = {"forget_bias": 1.0}
TRAINED: dict[str, tuple[dict[str, Any], str, str]] = {
    "tf1-counter/model.ckpt-10000": (TF1, "softmax_w", "softmax_b"),
    "tf1-counter/model.ckpt-10000.index": (TF1, "softmax_w", "softmax_b"),
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


@pytest.mark.parametrize("file", TRAINED)
def test_hidden_states_and_probabilities_are_the_frameworks(file: str) -> None:
    """On all 1,024 strings and at every step, to 1e-5; the head's arrays are among the tensors."""
    choices, weight, bias = TRAINED[file]
    checkpoint, expected = probe.load(DATA / file, **choices), reference(file)
    assert checkpoint.check(expected["x"], expected["h"]) < 1e-5
    assert checkpoint.check(expected["x"], expected["h"][:, -1]) < 1e-5
    (module,) = checkpoint.recurrent.values()
    assert type(module) is torch.nn.LSTM
    with torch.no_grad():
        h, _ = module(torch.from_numpy(expected["x"]))
        scores = h[:, -1] @ checkpoint.tensors[weight] + checkpoint.tensors[bias]
    assert (torch.softmax(scores, 1) - torch.from_numpy(expected["probs"])).abs().max() < 1e-5


@pytest.mark.parametrize("file", [file for file, (choices, *_) in TRAINED.items() if choices])
def test_what_the_file_leaves_open_must_be_said(file: str) -> None:
    """Without it nothing is loaded, and the message says which argument decides, why, and what is usual."""
    with refused():
        _ = probe.load(DATA / file)
    if file.endswith("weights.npz"):  # another choice is another network
        expected = reference("tf1-counter/")
        assert probe.load(DATA / file, forget_bias=0.0).check(expected["x"], expected["h"]) > 0.1


def test_what_the_file_says_itself_cannot_be_overruled() -> None:
    """An argument that agrees with the file is a check; one that does not, or decides nothing, is refused."""
    for file in ("keras-counter/model.keras", "keras-counter/model.h5"):
        assert list(probe.load(DATA / file, gate_activation="sigmoid", activation="tanh").recurrent) == ["lstm"]
        with refused():
            _ = probe.load(DATA / file, gate_activation="hard_sigmoid_keras2")
    with pytest.raises(ProbeError, match=r"forget_bias=.* decides nothing in .*: either the file says it itself"):
        _ = probe.load(DATA / "keras-counter/model.h5", forget_bias=1.0)


def test_a_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    """TensorFlow stores a checksum beside each array, and it is checked."""
    for name in ("model.ckpt-10000.index", "model.ckpt-10000.data-00000-of-00001"):
        content = bytearray((DATA / "tf1-counter" / name).read_bytes())
        if "data" in name:
            content[3000] ^= 1  # within the kernel
        _ = (tmp_path / name).write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / "model.ckpt-10000", forget_bias=1.0)


class Mine(Networks, PyTorchModelHubMixin):
    """What a user of the hub writes."""


def test_the_hub_reads_and_writes_a_converted_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, options and other arrays come back, from the folder and from what the hub saved of it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cell = CustomGRU(2, 3, batch_first=True, reset="before")
    arrays = {f"cell.{name}": one for name, one in nn.GRU(2, 3).state_dict().items()}
    torch.save({**arrays, "head.weight": torch.randn(4, 3)}, tmp_path / "w.pt")
    loaded = probe.load(tmp_path / "w.pt")
    loaded = probe.Checkpoint({**loaded.recurrent, "own.cell": cell}, loaded.tensors, loaded.source)
    _ = convert(loaded, tmp_path / "out")
    model = Mine.from_pretrained(tmp_path / "out")
    model.save_pretrained(tmp_path / "again")
    x = torch.randn(2, 5, 2)
    for found in (model, *(probe.load(tmp_path / folder) for folder in ("out", "again"))):
        for name, module in loaded.recurrent.items():
            one = found.get_submodule(name) if isinstance(found, Mine) else found.recurrent[name]
            assert torch.equal(one(x)[0], module(x)[0])
    assert torch.equal(model.get_buffer("head.weight"), loaded.tensors["head.weight"])


#: Formats with a checksum over everything: a change is found, or changed nothing.
SEALED = ("torch", "torchscript", "npz", "keras", "tf1-index", "tf1-data")


@pytest.mark.parametrize("count", [10, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_refused_or_the_same_network(kind: str, count: int, tmp_path: Path) -> None:
    """Nothing but a ProbeError comes out of it; and where there are checksums, no other weights."""
    file = FILES[kind]
    loaded, content = file.placed(tmp_path)
    original = fuzz.described(probe.load(loaded, **file.choices))
    assert original
    found = Counter[str]()
    for seed in range(100_000, 100_000 + count):
        _ = (tmp_path / file.name).write_bytes(fuzz.damaged(content, seed))
        outcome, detail = fuzz.tried(loaded, file.choices, original)
        assert outcome != "wrong exception", f"seed {seed}: {detail}"
        found[outcome] += 1
    assert found["refused"] > count // 6
    if kind in SEALED:
        assert set(found) <= {"refused", "same network"}


def test_the_damage_would_be_noticed(tmp_path: Path) -> None:
    """The control arm: other weights, another network and another exception are told from the network itself."""
    file = FILES["safetensors"]
    path, content = file.placed(tmp_path)
    original = fuzz.described(probe.load(path))
    assert fuzz.tried(path, {}, original)[0] == "same network"
    _ = path.write_bytes(content[:-3] + bytes(3))
    assert fuzz.tried(path, {}, original)[0] in ("same network", "other weights")
    assert fuzz.tried(path, {"names": {"gru.*": None}}, original)[0] == "other network"
    assert fuzz.tried(path, {"no_such_option": 3}, original)[0] == "wrong exception"
