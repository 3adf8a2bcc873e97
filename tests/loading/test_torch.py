"""Networks out of files of weights: found by name, built from shapes, and refused where these disagree."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe.recurrent import CustomLSTM

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

MODULES = {
    "lstm": nn.LSTM(3, 5),
    "lstm everything": nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, dtype=torch.float64),
    "lstm no bias": nn.LSTM(3, 5, 3, bias=False),
    "lstm one unit": nn.LSTM(1, 1),
    "gru": nn.GRU(3, 5, bidirectional=True),
    "gru half": nn.GRU(3, 5, dtype=torch.bfloat16),
    "rnn": nn.RNN(3, 5, 2, nonlinearity="relu"),
    "lstm cell": nn.LSTMCell(3, 5),
    "gru cell": nn.GRUCell(3, 5, bias=False),
    "rnn cell": nn.RNNCell(3, 5, nonlinearity="relu"),
}
OPTIONS = ("input_size", "hidden_size", "bias", "num_layers", "bidirectional", "proj_size", "nonlinearity", "mode")


def networks_of(tensors: Mapping[str, Tensor], **choices: Any) -> Any:
    """Return what is loaded from a file of some tensors."""
    with tempfile.TemporaryDirectory() as folder:
        return probe.load(saved(Path(folder) / "a.pt", dict(tensors)), **choices)


class Model(nn.Module):
    """Two networks of different kinds, one of them deeper down, and what belongs to neither."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"rnn": nn.LSTM(3, 5, 2, batch_first=True), "norm": nn.LayerNorm(5)})
        self.cell = nn.GRUCell(5, 4)
        self.head = nn.Linear(4, 2)


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Return whether two state_dicts are equal to the bit, dtypes included."""
    return list(one) == list(two) and all(
        one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]) for name in one
    )


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("start", ["", "decoder.deep.rnn."])
def test_a_module_comes_back(kind: str, start: str) -> None:
    """Class, options and weights are those of the module that was saved, bare or inside a model."""
    module = MODULES[kind]
    tensors = {start + name: tensor for name, tensor in module.state_dict().items()}
    networks = networks_of(tensors, activation="relu" if "rnn" in kind else None)
    assert list(networks.recurrent) == [start.removesuffix(".")]
    assert networks.tensors == {}
    (back,) = networks.recurrent.values()
    assert type(back) is type(module)
    for option in OPTIONS:
        assert getattr(back, option, None) == getattr(module, option, None)
    assert same(back.state_dict(), module.state_dict())
    assert getattr(back, "batch_first", True)


def test_the_weights_are_copies() -> None:
    """What happens to the tensors afterwards happens to them alone, and no random number is drawn."""
    tensors = nn.LSTM(3, 5).state_dict()
    before = tensors["weight_hh_l0"].clone()
    state = torch.get_rng_state()
    module = networks_of(tensors).recurrent[""]
    assert torch.equal(torch.get_rng_state(), state)
    _ = tensors["weight_hh_l0"].zero_()
    assert torch.equal(module.state_dict()["weight_hh_l0"], before)


def test_the_networks_of_a_model_are_named() -> None:
    """Each by what its tensors begin with; the other tensors are listed in the file's order."""
    model = Model()
    networks = networks_of(model.state_dict())
    assert list(networks.recurrent) == ["encoder.rnn", "cell"]
    assert tuple(networks.tensors) == ("encoder.norm.weight", "encoder.norm.bias", "head.weight", "head.bias")
    assert same(networks.recurrent["encoder.rnn"].state_dict(), model.encoder["rnn"].state_dict())
    assert networks.choose("cell") == ("cell", networks.recurrent["cell"])


def test_a_network_is_chosen_by_name() -> None:
    """One alone needs no name; of several the message lists them, and a wrong name is told the nearest."""
    networks = networks_of(Model().state_dict())
    with refused():
        _ = networks.choose()
    with refused():
        _ = networks.choose("cel")
    assert networks_of(nn.LSTM(3, 5).state_dict()).choose()[0] == ""


@pytest.mark.parametrize("module", [nn.RNN(3, 5), nn.RNNCell(3, 5)])
def test_a_nonlinearity_is_not_guessed(module: nn.Module) -> None:
    """A plain RNN needs the argument, and gets the function that it names."""
    with refused():
        _ = networks_of(module.state_dict())
    with refused():
        _ = networks_of(module.state_dict(), activation="tan")
    for name in ("tanh", "relu"):
        made: Any = networks_of(module.state_dict(), activation=name).recurrent[""]
        assert made.nonlinearity == name


def saved(path: Path, content: Any) -> Path:
    """Save with torch.save, and return the path."""
    torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_pytorch_files_are_read(suffix: str, tmp_path: Path) -> None:
    """A state_dict, or a checkpoint that holds one beside other things; the source says which."""
    model = Model()
    read = probe.load(saved(tmp_path / f"a{suffix}", model.state_dict()))
    assert str(read.source) == "PyTorch state_dict"
    assert same(read.recurrent["encoder.rnn"].state_dict(), model.encoder["rnn"].state_dict())
    for key in ("state_dict", "model_state", "model"):
        content = {"epoch": 3, key: model.state_dict(), "optimizer": {"lr": torch.tensor(0.1)}, "best": torch.ones(2)}
        read = probe.load(saved(tmp_path / f"b{suffix}", content))
        assert str(read.source) == f"PyTorch checkpoint, state_dict under {key!r}"
        assert same(read.recurrent["encoder.rnn"].state_dict(), model.encoder["rnn"].state_dict())


def test_a_checkpoint_of_several_networks_is_read(tmp_path: Path) -> None:
    """Each under its own key, whose names the key begins; what trained them is no network."""
    content = {"encoder": nn.LSTM(3, 5).state_dict(), "decoder": nn.GRUCell(3, 5).state_dict(), "epoch": 3}
    content["optimizer"] = {"step": torch.ones(1)}
    checkpoint = probe.load(saved(tmp_path / "a.pt", content))
    assert list(checkpoint.recurrent) == ["encoder", "decoder"]
    assert checkpoint.tensors == {}
    assert str(checkpoint.source) == "PyTorch checkpoint, state_dicts under 'encoder', 'decoder'"


def test_networks_lie_deep_in_a_checkpoint_and_an_optimizers_numbers_do_not(tmp_path: Path) -> None:
    """At any depth and in lists; what an optimizer or scheduler keeps under the names of weights is no network."""
    state = nn.LSTM(3, 5).state_dict()
    content = {"run": {"nets": [{"encoder": state}, {"decoder": state}], "optimizer": {"exp_avg": state}}}
    content |= {"scheduler": {"last": {"rnn": state}}, "lr_find": state}
    checkpoint = probe.load(saved(tmp_path / "a.pt", content))
    assert list(checkpoint.recurrent) == ["run.nets.0.encoder", "run.nets.1.decoder"]
    assert checkpoint.tensors == {}


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    """They hold tensors by name and nothing else."""
    model = Model()
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    read = probe.load(tmp_path / "a.safetensors")
    assert str(read.source) == "safetensors"
    assert same(read.recurrent["cell"].state_dict(), model.cell.state_dict())
    assert set(read.tensors) == {"encoder.norm.weight", "encoder.norm.bias", "head.weight", "head.bias"}


CALLED: list[str] = []


class Malicious:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (CALLED.append, ("called",))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    """A whole model, or whatever else is no tensor, is refused; torch's advice to open it is not passed on."""
    for content in (nn.LSTM(3, 5), {"model": nn.LSTM(3, 5).state_dict(), "x": Malicious()}):
        with refused() as raised:
            _ = probe.load(saved(tmp_path / "a.pt", content))
        assert "weights_only" not in str(raised.value)
    assert CALLED == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pt", None),
        ("a.pt", b""),
        ("a.pt", b"garbage" * 99),
        ("a.safetensors", None),
        ("a.safetensors", b""),
        ("a.safetensors", b"garbage" * 99),
        ("a", b""),
        ("a.txt", b"weights"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(name: str, content: bytes | None, tmp_path: Path) -> None:
    """Missing, empty, damaged and other files are refused by name."""
    if content is not None:
        _ = (tmp_path / name).write_bytes(content)
    with refused():
        _ = probe.load(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_half_of_a_file_is_refused(suffix: str, tmp_path: Path) -> None:
    """A download that broke off is no shorter network."""
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save(Model().state_dict(), path)
    else:
        save_file(Model().state_dict(), path)
    _ = path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused():
        _ = probe.load(path)


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        [1],
        {},
        {"epoch": 3},
        {"model": nn.LSTM(1, 1).state_dict(), "state_dict": nn.LSTM(1, 1).state_dict()},
        {"model": {"a": 3}},
        nn.Linear(2, 2).state_dict(),
        {f"w{n}": torch.zeros(1) for n in range(20)},
        {"rnn.bias_ih_l0": torch.zeros(4)},
    ],
)
def test_a_file_without_a_network_is_refused(content: Any, tmp_path: Path) -> None:
    """What the file is instead is said."""
    with refused():
        _ = probe.load(saved(tmp_path / "a.pt", content))


LSTM = nn.LSTM(3, 5, 2, bidirectional=True)
PROJECTED = nn.LSTM(3, 5, proj_size=2)
TOGETHER = "as the other weights have it"


@pytest.mark.parametrize(
    ("module", "name", "shape", "expected"),
    [
        (LSTM, "weight_hh_l0", (10, 5), "(20, 5) for LSTM, (15, 5) for GRU, (5, 5) for RNN"),
        (LSTM, "weight_hh_l0", (19, 5), "(20, 5) for LSTM, (15, 5) for GRU, (5, 5) for RNN"),
        (LSTM, "weight_hh_l0", (20,), "two axes, (gates x units, inputs), none of them 0"),
        (LSTM, "weight_ih_l0", (20, 0), "two axes, (gates x units, inputs), none of them 0"),
        (LSTM, "weight_ih_l0", (16, 3), f"(20, 3), {TOGETHER}"),
        (LSTM, "weight_ih_l0_reverse", (20, 4), f"(20, 3), {TOGETHER}"),
        (LSTM, "weight_hh_l1", (16, 4), f"(20, 5), {TOGETHER}"),
        (LSTM, "weight_ih_l1", (20, 5), f"(20, 10), {TOGETHER}"),
        (LSTM, "bias_hh_l1_reverse", (5,), f"(20,), {TOGETHER}"),
        (LSTM, "bias_ih_l0", (20, 1), f"(20,), {TOGETHER}"),
        (PROJECTED, "weight_hr_l0", (5, 5), "(projected units, units), with fewer projected units than units"),
        (PROJECTED, "weight_hr_l0", (0, 5), "(projected units, units), with fewer projected units than units"),
        (PROJECTED, "weight_hr_l0", (5,), "(projected units, units), with fewer projected units than units"),
        (PROJECTED, "weight_hh_l0", (20, 3), f"(20, 2), {TOGETHER}"),
        (nn.GRUCell(3, 5), "bias_hh", (20,), f"(15,), {TOGETHER}"),
        (nn.GRUCell(3, 5), "weight_hh", (16, 5), "(20, 5) for LSTM, (15, 5) for GRU, (5, 5) for RNN"),
    ],
)
def test_a_wrong_shape_is_refused(module: nn.Module, name: str, shape: tuple[int, ...], expected: str) -> None:
    """The tensor, its shape and the shape expected are named."""
    tensors = {f"m.{key}": value for key, value in module.state_dict().items()} | {f"m.{name}": torch.zeros(shape)}
    with refused():
        _ = networks_of(tensors)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (LSTM, "weight_hh_l0"),
        (LSTM, "weight_ih_l0"),
        (LSTM, "bias_ih_l1"),
        (LSTM, "weight_hh_l1_reverse"),
        (nn.LSTM(3, 5, 2, proj_size=2), "weight_hr_l1"),
        (nn.GRUCell(3, 5), "weight_hh"),
        (nn.GRUCell(3, 5), "bias_ih"),
    ],
)
def test_a_missing_tensor_is_refused(module: nn.Module, name: str) -> None:
    """It is named, beside what is there."""
    tensors = {f"m.{key}": value for key, value in module.state_dict().items() if key != name}
    with refused():
        _ = networks_of(tensors)


def test_a_missing_layer_is_refused() -> None:
    """Of a stack whose second layer is lost, the lost layer is named, however far the next one is."""
    tensors = nn.LSTM(3, 5).state_dict()
    tensors |= {name.replace("l0", "l999999999"): value for name, value in tensors.items()}
    with refused():
        _ = networks_of(tensors)


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        (nn.LSTM(3, 5), "weight_hh"),
        (nn.LSTM(3, 5), "weight_hr_l1"),
        (nn.LSTMCell(3, 5), "weight_hr"),
        (nn.LSTM(3, 5), "h_0"),
    ],
)
def test_a_tensor_too_many_is_refused(module: nn.Module, extra: str) -> None:
    """A network that has more parameters than torch's is not run as if it had not."""
    tensors = {f"m.{key}": value for key, value in module.state_dict().items()} | {f"m.{extra}": torch.zeros(20, 5)}
    with refused():
        _ = networks_of(tensors)


@pytest.mark.parametrize("options", [{"peepholes": True}, {"learned_initial_state": True}])
def test_a_custom_module_is_not_mistaken_for_torchs(options: dict[str, Any]) -> None:
    """Peepholes and learned states have names of their own, which the message shows."""
    with refused():
        _ = networks_of(CustomLSTM(3, 5, **options).state_dict())


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64])
def test_a_wrong_dtype_is_refused(dtype: torch.dtype) -> None:
    """Integers are those of a quantized network; two dtypes in one network cannot be run."""
    tensors = nn.LSTM(3, 5).state_dict()
    tensors["bias_hh_l0"] = tensors["bias_hh_l0"].to(dtype)
    with refused():
        _ = networks_of(tensors)


def test_a_stack_runs_as_the_one_that_was_saved() -> None:
    """The control of everything above: the same outputs, bit for bit."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 7, 3)))
    module = nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, dtype=torch.float64, batch_first=True)
    back = networks_of(module.state_dict()).recurrent[""]
    with torch.no_grad():
        assert torch.equal(back(x)[0], module(x)[0])


def test_a_state_that_looks_learned_is_not_dropped_in_silence(tmp_path: Path) -> None:
    """The layer would begin with zeros instead; zeros say nothing, and what is left out was looked at."""
    lstm = nn.LSTM(2, 3)
    for name, shape in (("h0", (1, 1, 3)), ("enc.init_hidden", (3,)), ("model.c_0", (1, 3))):
        state = {f"rnn.{key}": one for key, one in lstm.state_dict().items()}
        torch.save(state | {name: torch.ones(shape)}, tmp_path / "w.pt")
        with refused():
            _ = probe.load(tmp_path / "w.pt")
        left: dict[str, str | None] = {name: None}
        assert list(probe.load(tmp_path / "w.pt", names=left).recurrent) == ["rnn"]
        torch.save(state | {name: torch.zeros(shape)}, tmp_path / "w.pt")
        assert name in probe.load(tmp_path / "w.pt").tensors
        torch.save(state | {name: torch.ones(5), "head.weight": torch.ones(4, 3)}, tmp_path / "w.pt")
        assert name in probe.load(tmp_path / "w.pt").tensors


def test_a_name_that_ends_as_another_format_is_read_by_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of torch.save called .safetensors is one of torch.save, and the current folder is a folder."""
    torch.save(nn.LSTM(2, 3).state_dict(), tmp_path / "w.safetensors")
    assert list(probe.load(tmp_path / "w.safetensors").recurrent) == [""]
    monkeypatch.chdir(tmp_path)
    with refused():
        _ = probe.load(".")
