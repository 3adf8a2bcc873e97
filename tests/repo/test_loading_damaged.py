"""Damaged files of every kind, and folders of `rnn-probe convert` in the hands of the hub's own reader.

Some of what `python -m benchmarks.fuzz_checkpoints` does a thousand times.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

import probe
from benchmarks import fuzz_checkpoints as fuzz
from benchmarks.fuzz_checkpoints import FILES
from probe.loading.converted import Networks, convert
from probe.recurrent import CustomGRU


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


def test_the_damage_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control arm: other weights, another network and another exception are told from the network itself."""
    file = FILES["safetensors"]
    path, content = file.placed(tmp_path)
    original = fuzz.described(probe.load(path))
    assert fuzz.tried(path, {}, original)[0] == "same network"
    _ = path.write_bytes(content[:-3] + bytes(3))
    assert fuzz.tried(path, {}, original)[0] in ("same network", "other weights")
    assert fuzz.tried(path, {"names": {"gru.*": None}}, original)[0] == "other network"
    assert fuzz.tried(path, {"no_such_option": 3}, original)[0] == "refused"
    monkeypatch.setattr(fuzz, "described", lambda _: 1 // 0)
    assert fuzz.tried(path, {}, original)[0] == "wrong exception"
