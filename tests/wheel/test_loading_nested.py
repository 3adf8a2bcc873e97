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


class WeightDrop(nn.Module):
    """Drops recurrent weights in training, as AWD-LSTMs do: the raw ones lie outside, the latest draw inside."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__()
        self.module = nn.LSTM(3, 5, batch_first=True)
        self.weight_hh_l0_raw = nn.Parameter(self.module.get_parameter("weight_hh_l0").detach().clone())
        with torch.no_grad():
            self.module.get_parameter("weight_hh_l0").copy_(nn.functional.dropout(self.weight_hh_l0_raw, 0.5))
        if not stale:
            del self.module._parameters["weight_hh_l0"]

    def forward(self, x: Tensor) -> Tensor:
        """Return what it computes in evaluation."""
        weights = {**self.module.state_dict(), "weight_hh_l0": self.weight_hh_l0_raw}
        whole = nn.LSTM(3, 5, batch_first=True)
        whole.load_state_dict(weights)
        return whole(x)[0]


@torch.no_grad()
@pytest.mark.parametrize("stale", [True, False])
def test_weight_drop_is_read_as_it_is_evaluated(stale: bool, tmp_path: Path) -> None:
    """The weights that training drew last, half of them zeros, are not the network's, saved or not."""
    model = WeightDrop(stale=stale)
    state = {f"rnns.0.{name}": one for name, one in model.state_dict().items()}
    checkpoint = probe.load(saved(tmp_path / "a.pt", state))
    x = torch.randn(2, 7, 3)
    assert checkpoint.check(x.numpy(), model(x).numpy()) == 0
    assert checkpoint.source.assumed == (
        "'rnns.0.module.weight_hh_l0' is 'rnns.0.weight_hh_l0_raw': without the dropout of weights that trained it",
    )
    assert list(checkpoint.tensors) == ["rnns.0.module.weight_hh_l0"] * stale
    inside = dict(model.module.state_dict())
    inside["weight_hh_l0_raw"] = inside.pop("weight_hh_l0", model.weight_hh_l0_raw)
    other = probe.load(saved(tmp_path / "b.pt", {f"rnn.module.{name}": one for name, one in inside.items()}))
    assert list(other.recurrent) == ["rnn.module"]
    assert other.tensors == {}


def test_a_cell_with_modules_inside_is_another_one(tmp_path: Path) -> None:
    """The weights of a cell with layer norms have the names and shapes of torch's own; without the norms they are."""
    state = {f"rnn.cell.{name}": one for name, one in nn.LSTMCell(3, 5).state_dict().items()}
    norms = {"rnn.cell.norm_i.weight": torch.ones(20), "rnn.cell.norm_i.bias": torch.ones(20)}
    beside = {"rnn.norm.weight": torch.ones(5), "head.weight": torch.ones(2, 5)}
    path = saved(tmp_path / "a.pt", state | norms | beside)
    with pytest.raises(ProbeError, match=r"'rnn\.cell\.norm_i\.weight' lies inside 'rnn\.cell', and tor") as raised:
        _ = probe.load(path)
    assert "names={'rnn.cell.norm_i.*': None}." in str(raised.value)
    assert list(probe.load(path, names={"rnn.cell.norm_i.*": None}).recurrent) == ["rnn.cell"]
    assert list(probe.load(saved(path, state | beside)).recurrent) == ["rnn.cell"]
