"""Checkpoints of PyTorch as training loops write them: state_dicts deep inside, objects beside them, 8 bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError


def saved(path: Path, content: Any) -> Path:
    """Save with torch.save, and return the path."""
    torch.save(content, path)
    return path


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state_dicts are equal to the bit."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_dict_is_found_at_any_depth(tmp_path: Path) -> None:
    """In dicts and lists inside each other, and beside a lone tensor; the place begins its names."""
    lstm, gru = nn.LSTM(3, 5).state_dict(), nn.GRU(3, 5).state_dict()
    for content, places in (
        ({"a": {"b": {"state_dict": lstm}}}, ["a.b.state_dict"]),
        ([lstm, {"optimizer": {"m": gru}}], ["0"]),
        ((3, lstm), ["1"]),
        ({"generator": lstm, "critic": gru, "step": torch.tensor(3)}, ["generator", "critic"]),
        ({"state_dict": {"encoder": lstm, "decoder": gru}}, ["state_dict.encoder", "state_dict.decoder"]),
    ):
        checkpoint = probe.load(saved(tmp_path / "a.pt", content))
        assert list(checkpoint.recurrent) == places
        assert same(checkpoint.recurrent[places[0]].state_dict(), lstm)
        assert str(checkpoint.source) == f"PyTorch checkpoint, state_dicts under {', '.join(map(repr, places))}"


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path: Path) -> None:
    """A walk through it would not end."""
    content: list[Any] = [nn.LSTM(3, 5).state_dict()]
    content.append(content)
    with pytest.raises(ProbeError, match=r"more than 200000 values, or values more than 50 deep"):
        _ = probe.load(saved(tmp_path / "a.pt", content))


class Small(nn.Module):
    """What is quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the states."""
        return self.lstm(x)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_network_is_refused(tmp_path: Path) -> None:
    """It rounds at each step, so its weights in another cell would be another network; however it is saved."""
    quantized = torch.ao.quantization.quantize_dynamic(Small().eval(), {nn.LSTM}, dtype=torch.qint8)
    torch.save(quantized.state_dict(), tmp_path / "a.pt")
    torch.jit.save(torch.jit.script(quantized), tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(ProbeError, match=r"holds a quantized network, which rounds what it reads and its state"):
            _ = probe.load(tmp_path / name)


class Asking:
    """Names a function, which would be called if it were unpickled."""

    def __reduce__(self) -> Any:
        return (os.getcwd, ())


def test_the_object_that_is_not_opened_is_named(tmp_path: Path) -> None:
    """So that one sees whether it is the whole model, or one value beside the weights."""
    asking = {"model": Small().state_dict(), "x": Asking()}
    for content, named in ((Small(), r"[\w.]*\.Small"), (asking, r"\w+\.getcwd")):
        with pytest.raises(ProbeError, match=rf"objects besides tensors, '{named}' first, which are not opened"):
            _ = probe.load(saved(tmp_path / "a.pt", content))
