"""The Hugging Face hub's own reader takes the folders that `rnn-probe convert` writes, and writes such folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

import probe
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
