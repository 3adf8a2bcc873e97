"""Keras's configurations: layers that no cell expresses are refused by name, and masks reach what is below them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe.loading.layouts.keras_config import described
from probe.recurrent import CustomGRU

DATA = Path(__file__).parents[1] / "data" / "checkpoints"


def reference() -> dict[str, np.ndarray]:
    """Return Keras 3's inputs, and what each layer of each model returned."""
    with np.load(DATA / "keras3.npz") as arrays:
        return dict(arrays)


def test_a_masked_module_asks_for_its_mask() -> None:
    """Called with rows alone it would read the hidden steps; packed rows have none."""
    module = probe.load(DATA / "keras3_masked.keras").recurrent["gru"]
    x = torch.from_numpy(reference()["hidden"])
    for mask in (None, torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, 6, dtype=torch.bool)):
        with refused():
            _ = module(x, mask=mask)
    packed = nn.utils.rnn.pack_padded_sequence(x[:1], torch.tensor([4]), batch_first=True)
    out, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
    mask = (x[:1] != -1).any(2)
    assert (module(x[:1], mask=mask)[0][:, :4] - out).abs().max() < 1e-6


def rewritten(path: Path, change: Callable[[Any], Any], to: Path, without: str = "") -> Path:
    """Write a .keras file anew with another configuration, and without an array."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            elif without and name.endswith(".h5"):
                stream = io.BytesIO(content)
                with h5py.File(stream, "r+") as file:
                    del file[without]
                content = stream.getvalue()
            new.writestr(name, content)
    return to


def layer_of(config: Any, place: int) -> Any:
    """Return a layer of a configuration; the input comes first."""
    return config["config"]["layers"][place]


def _options(place: int, **options: Any) -> Callable[[Any], None]:
    return lambda config: layer_of(config, place)["config"].update(options)


#: How Keras writes a class of somebody's own, whatever its name is.
OWN = {"module": "mine.rnn", "registered_name": "Mine>LSTM"}


@pytest.mark.parametrize(
    "change",
    [
        _options(1, activation="gelu"),
        _options(1, recurrent_activation="softsign"),
        _options(1, units=4),
        _options(5, reset_after=False),
        lambda c: layer_of(c, 1).update(class_name="CuDNNLSTM"),
        lambda c: layer_of(c, 1).update(class_name="GRU"),
        _options(11, merge_mode="max"),
        lambda c: layer_of(c, 1).update(OWN),
        lambda c: layer_of(c, 11)["config"]["layer"].update(OWN),
        lambda c: layer_of(c, 1).pop("class_name"),
    ],
)
def test_layers_that_no_cell_expresses_are_refused(change: Callable[[Any], Any], tmp_path: Path) -> None:
    """Another function, class or merge, and a configuration that the arrays contradict, by the layer's name."""
    path = rewritten(DATA / "keras3_wide.keras", change, tmp_path / "a.keras")
    with refused():
        _ = probe.load(path)


def test_a_gru_that_says_no_reset_must_be_told(tmp_path: Path) -> None:
    """Its biases would say it; without them and without the word, the two cells have the same arrays."""

    def change(config: Any) -> None:
        options = layer_of(config, 6)["config"]
        del options["reset_after"]
        options["use_bias"] = False

    path = rewritten(DATA / "keras3_wide.keras", change, tmp_path / "a.keras", without="layers/gru_1/cell/vars/2")
    with refused():
        _ = probe.load(path)
    for reset, kind in (("before", CustomGRU), ("after", nn.GRU)):
        assert type(probe.load(path, reset=reset).recurrent["gru_1"]) is kind


def one(kind: str, name: str, *, inbound: list[str] | None = None, **config: Any) -> dict[str, Any]:
    """Return a layer's configuration; of a functional model, with the names of the layers that it reads."""
    layer: dict[str, Any] = {"class_name": kind, "config": {"name": name, **config}}
    return layer if inbound is None else layer | {"name": name, "inbound_nodes": [[[of, 0, 0, {}] for of in inbound]]}


def hidden(*layers: Any, kind: str = "Sequential") -> dict[str, str]:
    """Return what hides steps from each LSTM of a model."""
    found = described({"class_name": kind, "config": {"layers": list(layers)}})
    return {layer.name: layer.hidden_by for layer in found if layer.kind == "LSTM"}


def test_a_mask_reaches_the_layers_below_it() -> None:
    """Through layers that keep it, into nested models, and no further than a layer that returns one step."""
    mask, embedding = one("Masking", "m", mask_value=0.0), one("Embedding", "e", mask_zero=True)
    many, last = one("LSTM", "a", return_sequences=True), one("LSTM", "b", return_sequences=False)
    seen = hidden(mask, one("Dense", "d"), many, last, one("RepeatVector", "r"), one("LSTM", "c"))
    assert [bool(by) for by in seen.values()] == [True, True, False]
    assert seen["a"] == "Masking 'm' (steps where all features are 0.0)"
    assert hidden(embedding, many) == {"a": "Embedding 'e' (steps where its input is 0)"}
    inner = {"class_name": "Sequential", "config": {"name": "i", "layers": [one("InputLayer", "x"), many]}}
    assert hidden(mask, inner) == {"i/a": "Masking 'm' (steps where all features are 0.0)"}
    assert hidden({"class_name": "Sequential", "config": {"name": "i", "layers": [mask]}}, last)["b"] != ""
    ends = {"x": [], "m": ["x"]}
    branches = [one(kind, name, inbound=ends[name]) for kind, name in (("InputLayer", "x"), ("Masking", "m"))]
    branches += [one("LSTM", "below", inbound=["m"]), one("LSTM", "beside", inbound=["x"])]
    assert [bool(by) for by in hidden(*branches, kind="Functional").values()] == [True, False]


def test_a_hard_sigmoid_of_no_version_is_asked_for(tmp_path: Path) -> None:
    """The two generations mean two functions by one name."""
    _ = (tmp_path / "a.h5").write_bytes((DATA / "keras3_wide.h5").read_bytes())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for group in (file, file["model_weights"]):
            if "keras_version" in group.attrs:
                del group.attrs["keras_version"]
    with refused():
        _ = probe.load(tmp_path / "a.h5")
    expected = reference()
    for generation in (2, 3):
        checkpoint = probe.load(tmp_path / "a.h5", gate_activation=f"hard_sigmoid_keras{generation}")
        assert (checkpoint.check(expected["x"], expected["wide.lstm_1"], name="lstm_1") < 1e-5) == (generation == 3)


def test_an_array_of_another_file_is_not_followed(tmp_path: Path) -> None:
    """Links and external storage lead out of the file, and are refused by name."""
    with h5py.File(tmp_path / "a.h5", "w") as link, h5py.File(tmp_path / "b.h5", "w") as external:
        link["kernel"] = h5py.ExternalLink("/etc/hostname", "x")
        _ = external.create_dataset("kernel", (3,), "f4", external=[("/etc/hostname", 0, 12)])
    for name in ("a.h5", "b.h5"):
        with refused():
            _ = probe.load(tmp_path / name)
