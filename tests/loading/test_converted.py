"""`rnn-probe convert`: a folder that leaves nothing open, read back bit for bit, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusing import refused
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

import probe
from probe import Checkpoint, ProbeError
from probe.loading.checkpoint import Source
from probe.loading.converted import convert
from probe.loading.modules import Backwards, BothWays, Masked
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN
from probe.recurrent.named_network import run
from probe.storage import files, tensor_files

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def modules() -> dict[str, nn.Module]:
    """Return one module of each kind that probe.load returns, under names that lie in each other's way."""
    _ = torch.manual_seed(0)
    peepholes = CustomLSTM(
        2, 3, batch_first=True, peepholes=True, learned_initial_state=True, output_activation="relu"
    )
    before = CustomGRU(2, 3, batch_first=True, reset="before", gate_activation="hard_sigmoid_keras2", bias=False)
    return {
        "": nn.LSTM(2, 3, 2, batch_first=True, bidirectional=True, proj_size=2),
        "a": nn.GRU(2, 3, batch_first=True, bias=False, dtype=torch.float64),
        "a.b": nn.RNN(2, 3, batch_first=True, nonlinearity="relu"),
        "train": nn.LSTMCell(2, 3),
        "cell": nn.RNNCell(2, 3, nonlinearity="relu"),
        "rnn": nn.GRUCell(2, 3),
        "x/y": peepholes,
        "x.half": before,
        "x": CustomRNN(2, 3, batch_first=True, activation="linear"),
        "back": Backwards(nn.LSTM(2, 3, batch_first=True), restored=True),
        "both": BothWays(before, nn.GRU(2, 3, batch_first=True), merge="sum"),
        "hidden": Masked(Backwards(nn.GRU(2, 3, batch_first=True), restored=False), by="Masking", zeros=True),
    }


#: Arrays that are called as a network is, or as something in it, or as each other's parts.
ARRAYS = {
    "a": torch.arange(3),
    "a.weight_ih_l0": torch.randn(9, 2, dtype=torch.float64),
    "head": torch.randn(2),
    "head.weight": torch.randn(2, 3),
    "type": torch.tensor(1.5, dtype=torch.bfloat16),
    "x..y": torch.tensor([True]),
}


def checkpoint(path: Path, **more: Any) -> Checkpoint:
    """Return a checkpoint as probe.load would of a file of that path."""
    source = Source("Keras", "a file", {"a": "Keras GRU"}, {"a": "z r h"}, ("this.",), ("that.",), "3.1", path)
    given: dict[str, Any] = {"recurrent": modules(), "tensors": ARRAYS, "source": source} | more
    return Checkpoint(**given)


def outputs(module: nn.Module) -> Tensor:
    """Return the hidden states of a module on some sequences."""
    _ = torch.manual_seed(1)
    x = torch.randn(4, 5, 2, dtype=next(module.parameters()).dtype)
    with torch.no_grad():
        return module(x, mask=torch.ones(4, 5, dtype=torch.bool))[0] if isinstance(module, Masked) else run(module, x)


def test_every_kind_of_module_and_array_comes_back(tmp_path: Path) -> None:
    """Names, options, bits, what they compute, what is known of the source; but no class of somebody else."""
    before = checkpoint(tmp_path / "model.h5")
    path = convert(before, tmp_path / "out")
    after = probe.load(tmp_path / "out")
    assert (path, list(after.recurrent)) == (tmp_path / "out" / "model.safetensors", list(before.recurrent))
    for name, module in before.recurrent.items():
        assert repr(after.recurrent[name]) == repr(module), name
        assert not after.recurrent[name].training
        assert torch.equal(outputs(after.recurrent[name]), outputs(module)), name
    assert sorted(after.tensors) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert after.tensors[name].dtype == array.dtype
        assert torch.equal(after.tensors[name], array)
    assert (after.source.framework, after.source.version) == ("Keras", "3.1")
    assert (after.source.chosen, after.source.assumed) == (("this.",), ("that.",))
    assert (after.source.layouts["a"], after.source.gate_orders["a"]) == ("Keras GRU", "z r h")
    assert after.source.format == "rnn-probe weights, converted from a file"
    mine = type("Mine", (nn.LSTM,), {})
    with refused():
        _ = convert(checkpoint(tmp_path / "w.pt", recurrent={"enc": mine(2, 3)}, tensors={}), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a converted folder of an LSTM."""
    _ = convert(checkpoint(tmp_path / "w.pt", recurrent={"enc": nn.LSTM(2, 3)}, tensors={}), tmp_path / "out")
    return tmp_path / "out"


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what the weights of a folder say of themselves, and its config.json, as one who wants it so would."""
    found: Any = tensor_files.read(folder / "model.safetensors")
    change(found.about)
    _ = (folder / "model.safetensors").write_bytes(tensor_files.as_bytes(found.tensors, found.about))
    config = {"library_name": "rnn-probe"} | found.about
    _ = (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda enc: enc.update({"class": "os.system"}),
        lambda enc: enc.update({"class": "GRU"}),
        lambda enc: enc["options"].update(hidden_size=10**15),
        lambda enc: enc["options"].update(hidden_size=4),
        lambda enc: enc["options"].update(num_layers=10**6),
        lambda enc: enc["options"].update(device="cuda"),
        lambda enc: enc["options"].update(nonlinearity="relu"),  # is no option of an LSTM
        lambda enc: enc.update(dtype="int8"),
        lambda enc: enc.pop("key"),
        lambda enc: enc.update(options=[]),
        lambda enc: enc.update({"class": "Masked", "options": {}, "modules": {}}),
        None,
    ],
)
def test_a_configuration_that_is_none_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any] | None
) -> None:
    """Classes come from a list, sizes are compared with the weights before there is memory for them."""
    changed(folder, lambda about: change(about["networks"]["enc"]) if change else about.update(networks=[]))
    with refused():
        _ = probe.load(folder)


def test_weights_that_were_replaced_or_damaged_are_refused(folder: Path) -> None:
    """The weights say their own digest, and config.json is compared with what they say."""
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    places = (*range(start, len(data), 97), len(data) - 1, data.index(b"weight_hh_l0"), data.index(b"hidden_size"))
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1
        _ = weights.write_bytes(bytes(damaged))
        for path in (folder, weights):
            with refused():
                _ = probe.load(path)
    _ = weights.write_bytes(data)
    found: Any = tensor_files.read(weights)
    other = found.tensors | {"enc.weight_hh_l0": torch.full_like(found.tensors["enc.weight_hh_l0"], torch.nan)}
    for content in (
        tensor_files.as_bytes(other, found.about),
        save(other),
        tensor_files.as_bytes(found.tensors, found.about | {"source": {}}),
    ):
        _ = weights.write_bytes(content)
        with refused():
            _ = probe.load(folder)


def test_the_weights_alone_are_the_same_network(tmp_path: Path) -> None:
    """Moved out of their folder, or left by a kill before config.json, they are no other network of torch's names."""
    module = CustomGRU(2, 3, reset="before", batch_first=True).eval()
    path = convert(checkpoint(tmp_path / "w.pt", recurrent={"enc": module}, tensors={}), tmp_path / "out")
    (tmp_path / "alone").mkdir()
    for moved in (tmp_path / "moved.safetensors", tmp_path / "alone" / "model.safetensors"):
        _ = moved.write_bytes(path.read_bytes())
        found = probe.load(moved if moved.parent == tmp_path else moved.parent)
        assert torch.equal(outputs(found.recurrent["enc"]), outputs(module))
        assert found.source.format.startswith("rnn-probe weights")
    with refused():  # a choice was made when the folder was written, and cannot be made again
        _ = probe.load(path.parent, forget_bias=1.0)


@pytest.mark.parametrize("survives", range(3))
@pytest.mark.parametrize("over", [False, True])
def test_a_conversion_that_was_killed_is_taken_up(
    over: bool, survives: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no moment a folder shows another network, and the same conversion goes on where it was stopped."""
    folder, real, calls = tmp_path / "out", files.write_atomically, iter(range(3))
    modules = nn.GRU(2, 3, batch_first=True), CustomGRU(2, 3, reset="before", batch_first=True)
    one, two = (checkpoint(tmp_path / "w.pt", recurrent={"enc": module.eval()}, tensors={}) for module in modules)
    if over:
        _ = convert(one, folder)

    def stopped(path: Any, content: Any) -> Path:
        if next(calls) == survives:
            raise ProbeError("No space left on device")
        return real(path, content)

    with monkeypatch.context() as patch, refused():
        patch.setattr("probe.loading.converted.write_atomically", stopped)
        _ = convert(two, folder, overwrite=over)
    if (folder / "model.safetensors").exists():
        shown = outputs(probe.load(folder).recurrent["enc"])
        assert torch.equal(shown, outputs(modules[survives > 0]))
    _ = convert(two, folder, overwrite=survives == 0 and over)
    assert torch.equal(outputs(probe.load(folder).recurrent["enc"]), outputs(modules[1]))


def test_another_folder_with_safetensors_is_read_by_its_names(folder: Path) -> None:
    """Without a configuration and metadata of ours the file is what it is, whoever wrote it."""
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    for text in ('{"model_type": "x"}', "[1]", None):
        (folder / "config.json").unlink()
        if text is not None:
            _ = (folder / "config.json").write_text(text)
        assert list(probe.load(folder).recurrent) == ["enc"]
        _ = (folder / "config.json").write_text("{}")
    _ = (folder / "config.json").write_text("{")
    with refused():
        _ = probe.load(folder)


def test_what_is_there_is_kept(tmp_path: Path, folder: Path) -> None:
    """Without --overwrite a folder is refused, and with it only a converted one is replaced."""
    one = checkpoint(tmp_path / "w.pt", recurrent={"enc": nn.GRU(2, 3)}, tensors={})
    before = (folder / "model.safetensors").read_bytes()
    mine = tmp_path / "mine" / "model.safetensors"
    mine.parent.mkdir()
    _ = mine.write_bytes(before)
    for there in (folder, mine.parent):
        with refused():
            _ = convert(one, there)
    save_file({"a": torch.zeros(2)}, mine)
    for there in (mine.parent, mine):
        with refused():
            _ = convert(one, there, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before
    _ = convert(one, folder, overwrite=True)
    assert isinstance(probe.load(folder).recurrent["enc"], nn.GRU)
