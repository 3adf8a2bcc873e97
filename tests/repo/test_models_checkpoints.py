"""Trained folders: what loads, and what a damaged one says; the committed zoo; planted counters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from models.checkpoints import CONFIG_KINDS, load, load_config
from models.counter import answer
from models.describe import errors, floor
from models.packing import unpack
from models.planted import building, ones_counter
from models.recipes import RECIPES, Recipe
from models.tasks import bit_strings, running_count
from models.training import initialise, split, train
from models.zoo import checkpoint, networks
from probe.errors import ProbeError

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a committed network, to be damaged."""
    return Path(unpack("counter", 1, tmp_path / "seed-1"))


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    """Change the tensors of a folder's model."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    path.write_bytes(safetensors.torch.save(tensors))


def test_a_network_loads_in_evaluation_mode_as_it_was_trained(folder: Path) -> None:
    """The second bias stays frozen; model and untrained are two networks."""
    model, untrained = load(folder), load(folder, which="untrained")
    assert not model.training
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["lstm.bias_hh_l0"]
    assert not torch.equal(model.head.weight, untrained.head.weight)


def test_a_network_without_its_metrics_is_whole(folder: Path) -> None:
    """They say how it was trained, and nothing that is computed follows from them."""
    assert not (folder / "metrics.jsonl").exists()
    assert checkpoint(folder).seed == 1
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train(RECIPES["counter"], 1, folder, resume=True) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"} == before


def test_a_name_that_is_no_network_is_refused(folder: Path) -> None:
    """The message names the nearest."""
    with pytest.raises(ProbeError, match=r"'untraned'; there is 'model', 'untrained'. Did you mean 'untrained'"):
        load(folder, which="untraned")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.bias"), r"missing \['head.bias'\], unknown \[\]"),
        (lambda t: t.update(extra=torch.zeros(1)), r"missing \[\], unknown \['extra'\]"),
        (
            lambda t: t.update({"head.weight": torch.zeros(11, 13)}),
            r"'head.weight' as torch.float32 \(11, 13\); the recipe in 'config.json' needs .* \(11, 12\)",
        ),
        (lambda t: t.update({"head.bias": t["head.bias"].double()}), r"torch.float64 \(11,\)"),
        (
            lambda t: t["lstm.weight_ih_l0"][0].fill_(torch.nan),
            "1 values that are not finite.*lstm.weight_ih_l0",
        ),
        (lambda t: t["head.bias"][2:4].fill_(torch.inf), "2 values that are not finite"),
        (
            lambda t: t["head.bias"].add_(1e-6),
            r"has the SHA-256 [0-9a-f]{64}, but 'config.json' .* was changed",
        ),
    ],
)
def test_weights_that_are_not_the_networks_are_refused(
    folder: Path, change: Callable[[Tensors], object], message: str
) -> None:
    """Names, shapes, types, finiteness and hash are checked; the message names the file."""
    rewrite(folder, change)
    with pytest.raises(ProbeError, match=message) as raised:
        load(folder)
    assert str(folder / "model.safetensors") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert load(folder, which="untrained").head.weight.shape == (11, 12)


@pytest.mark.parametrize(("keep", "message"), [(0, "empty"), (7, "7 bytes"), (2000, "2000 bytes")])
def test_truncated_weights_are_refused(folder: Path, keep: int, message: str) -> None:
    """A file cut anywhere says so, and what to do."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ProbeError, match=rf"model.safetensors' is.*{message}.*Restore it, or train") as raised:
        load(folder)
    assert "\n" not in str(raised.value)


#: A description with all its parts and nothing in them.
EMPTY = json.dumps({name: kind() for name, kind in CONFIG_KINDS.items()})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "lacks 'recipe', 'seed'"),
        (None, "Cannot read.*No such file"),
        ('{"recipe": {}}', "lacks 'seed'"),
        (EMPTY, "lacks 'split.train', 'split.test', 'errors.test'"),
    ],
)
def test_a_damaged_description_is_refused(folder: Path, content: str | None, message: str) -> None:
    """Without its description a network cannot be checked, so it is not loaded."""
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(ProbeError, match=rf"(?s)config.json.*{message}|{message}.*config.json"):
        load(folder)


def test_a_description_of_another_recipe_version_is_refused(folder: Path) -> None:
    """A field that is gone or new is named."""
    config = json.loads((folder / "config.json").read_text())
    config["recipe"]["colour"] = config["recipe"].pop("epsilon")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ProbeError, match=r"missing \['epsilon'\], unknown \['colour'\]"):
        load(folder)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """Missing, a file in its place, or empty of weights."""
    with pytest.raises(ProbeError, match=r"gone', which does not exist\. Train one with"):
        load(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="file', which is a file"):
        load_config(tmp_path / "file")
    (unpack("counter", 0, tmp_path / "whole") / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(ProbeError, match=r"Cannot read '.*untrained.safetensors': No such file"):
        load(tmp_path, which="untrained")


def test_the_zoo_is_what_its_descriptions_say() -> None:
    """Ten networks, none left out; errors follow from weights and split, and initial weights from recipe and seed."""
    zoo = networks()
    assert [network.seed for network in zoo] == list(range(10))
    for network in zoo:
        recipe = Recipe.from_dict(network.config["recipe"])
        assert recipe == RECIPES["counter"]
        assert (network.config["seed"], network.config["steps"]) == (network.seed, 10_000)
        parts = split(recipe, network.seed)
        assert network.config["split"] == {"train": parts[0].tolist(), "test": parts[1].tolist()}
        assert errors(network.model, recipe, *parts) == network.config["errors"]
        fresh = initialise(recipe, network.seed).state_dict()
        assert network.untrained is not None
        for name, tensor in network.untrained.state_dict().items():
            torch.testing.assert_close(tensor, fresh[name], rtol=0, atol=1e-6)


def test_the_zoo_counts() -> None:
    """The mean test error is below 1 %, and so are at least eight of the ten."""
    test = [network.config["errors"]["test"]["error"] for network in networks()]
    assert sum(test) / len(test) < 0.01
    assert sum(error < 0.01 for error in test) >= 8


def test_the_own_initialisations_do_not_count() -> None:
    """The control arm: without training most strings are misread."""
    x = bit_strings(10)
    for network in networks():
        assert network.untrained is not None
        with torch.no_grad():
            wrong = answer(network.untrained(x)) != running_count(x)[:, -1]
        assert float(wrong.float().mean()) > 0.5


def test_the_floor_names_the_labels_that_training_never_showed() -> None:
    """Only a label whose every string is in the test counts, and each misread costs one string."""
    everything = torch.arange(1, 1024)
    found = floor(RECIPES["counter"], everything[:500])
    assert 10 in found["labels_never_trained"]
    assert "1111111111" in found["strings"]
    none = floor(RECIPES["counter"], torch.tensor([2**k - 1 for k in range(11)]))
    assert (none["labels_never_trained"], none["strings"], none["test"]["error"]) == ([], [], 0.0)


@pytest.mark.parametrize("distractors", [0, 1, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_planted_counter_counts_in_one_cell(distractors: int, dtype: torch.dtype) -> None:
    """c_0 is a tenth of the count after every step, and the answer is right at every length up to 10."""
    model = ones_counter(distractors=distractors, dtype=dtype)
    precision = {torch.float32: 2e-7, torch.float64: 1e-15}[dtype]
    for length in range(1, 11):
        x = bit_strings(length).to(dtype)
        counts = running_count(x)[:, -1]
        with torch.no_grad():
            _, (_, c) = model.lstm(x)
            logits = model(x)
        assert float((c[0, :, 0] - 0.1 * counts.to(dtype)).abs().max()) <= precision
        assert torch.equal(answer(logits), counts)
        # science.md: beta makes the smallest top probability .9999
        assert float(torch.softmax(logits, 1).amax(1).min()) > 0.9999


def test_the_distractors_live_but_are_neither_heard_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They change with the seed; the answers and the counting cell do not."""
    x = bit_strings(10)
    first = ones_counter()
    monkeypatch.setattr(building, "SEED", 1)
    second = ones_counter()
    with torch.no_grad():
        h_first, h_second = first.lstm(x)[0], second.lstm(x)[0]
        assert torch.equal(first(x), second(x))
    assert torch.equal(h_first[:, :, 0], h_second[:, :, 0])
    for unit in range(1, 12):
        assert float(h_first[:, -1, unit].std()) > 0.001
        assert not torch.equal(h_first[:, :, unit], h_second[:, :, unit])
    recurrent = first.lstm.get_parameter("weight_hh_l0").detach().view(4, 12, 12)
    assert torch.count_nonzero(recurrent[:, 0]) + torch.count_nonzero(recurrent[:, :, 0]) == 0
    assert torch.count_nonzero(first.head.weight[:, 1:]) == 0
    assert first.lstm.get_parameter("bias_ih_l0").view(4, 12)[1, 1:].tolist() == [1.0] * 11


def test_an_impossible_planted_counter_is_refused() -> None:
    """The message says what is allowed."""
    with pytest.raises(ProbeError, match="-1 distractors"):
        ones_counter(distractors=-1)
