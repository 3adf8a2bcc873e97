"""Keras's files, of both generations, against what Keras itself computes: every option, or a refusal by name.

The files are written by tests/data/checkpoints/make_keras.py.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe import Checkpoint
from probe.loading.layouts.keras_config import described
from probe.loading.modules import Backwards, BothWays, Masked
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
#: By the number of the layer in its file: the module that it becomes.
WIDE = (
    ("lstm", nn.LSTM),
    ("lstm_hard", CustomLSTM),
    ("lstm_no_bias", CustomLSTM),
    ("lstm_backwards", Backwards),
    ("gru_after", nn.GRU),
    ("gru_before", CustomGRU),
    ("gru_hard", CustomGRU),
    ("rnn_tanh", nn.RNN),
    ("rnn_relu", nn.RNN),
    ("rnn_sigmoid", CustomRNN),
    ("both_lstm", nn.LSTM),
    ("both_gru_sum", BothWays),
    ("both_rnn_mul", BothWays),
    ("cell_lstm", nn.LSTM),
    ("inner/deep", nn.LSTM),
)
MASKED = (nn.GRU, nn.LSTM, Backwards, BothWays)


def reference(generation: str) -> dict[str, np.ndarray]:
    """Return the inputs, and what each layer of each model returned."""
    with np.load(DATA / f"keras{generation}.npz") as arrays:
        return dict(arrays)


def answers(generation: str, model: str) -> list[np.ndarray]:
    """Return what the layers of a model returned, in their order."""
    return [array for name, array in reference(generation).items() if name.startswith(f"{model}.")]


@pytest.mark.parametrize("generation", ["2", "3"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_every_option_is_keras(generation: str, ending: str) -> None:
    """Each layer returns at every step what it returned in Keras; hard sigmoids are those of its generation."""
    checkpoint = probe.load(DATA / f"keras{generation}_wide{ending}")
    x, expected = reference(generation)["x"], answers(generation, "wide")
    assert len(checkpoint.recurrent) == len(expected) == len(WIDE)
    assert checkpoint.tensors == {}
    assert checkpoint.source.assumed == ()
    for (name, module), output, (option, kind) in zip(checkpoint.recurrent.items(), expected, WIDE, strict=True):
        assert type(module) is kind, option
        assert checkpoint.check(x, output, name=name) < 1e-5, option


@pytest.mark.parametrize("generation", ["2", "3"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_hidden_steps_are_not_read(generation: str, ending: str) -> None:
    """A layer below a Masking computes what Keras does, wherever the hidden steps are, both ways and backwards."""
    checkpoint = probe.load(DATA / f"keras{generation}_masked{ending}")
    x, expected = reference(generation)["hidden"], answers(generation, "masked")
    mask = (x != -1).any(2)
    for (name, module), output, kind in zip(checkpoint.recurrent.items(), expected, MASKED, strict=True):
        assert isinstance(module, Masked)
        assert type(module.module) is kind
        assert checkpoint.check(x, output, name=name, mask=mask) < 1e-5, name
        assert checkpoint.check(x, output, name=name, mask=np.ones_like(mask)) > 1e-2, "the control: all steps read"


def test_a_masked_module_asks_for_its_mask() -> None:
    """Called with rows alone it would read the hidden steps; packed rows have none."""
    module = probe.load(DATA / "keras3_masked.keras").recurrent["gru"]
    x = torch.from_numpy(reference("3")["hidden"])
    with refused():
        _ = module(x)
    with refused():
        _ = module(x, mask=torch.ones(3, 2, dtype=torch.bool))
    with refused():
        _ = module(x, mask=torch.zeros(3, 6, dtype=torch.bool))
    packed = nn.utils.rnn.pack_padded_sequence(x[:1], torch.tensor([4]), batch_first=True)
    out, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
    mask = (x[:1] != -1).any(2)
    assert (module(x[:1], mask=mask)[0][:, :4] - out).abs().max() < 1e-6


def test_cudnn_layers_have_a_layout_of_their_own() -> None:
    """With a configuration and without one, they compute what Keras's own conversion of them does."""
    expected = reference("2")
    for kind, ending in product(("lstm", "gru"), (".h5", "_weights.h5")):
        checkpoint = probe.load(DATA / f"keras2_cudnn_{kind}{ending}")
        assert checkpoint.check(expected["x"], expected[f"cudnn.{kind}"]) < 1e-5


#: Files of weights alone: which layers are left out in each case, by the choices made for the others.
ALONE: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({"gate_activation": "sigmoid", "activation": "tanh"}, ("lstm", "gru_after", "gru_before", "both_lstm")),
    ({"gate_activation": "sigmoid", "activation": "linear"}, ("lstm_no_bias",)),
    ({"activation": "sigmoid"}, ("rnn_sigmoid",)),
)


@pytest.mark.parametrize(("file", "inner"), [("keras2_wide_weights.h5", "inner"), ("keras2_saved_model", "deep")])
@pytest.mark.parametrize(("choices", "options"), ALONE, ids=["tanh", "linear", "sigmoid"])
def test_weights_alone_and_what_the_caller_says(
    file: str, inner: str, choices: dict[str, Any], options: tuple[str, ...]
) -> None:
    """With the right choices each layer is Keras's, and without them the file is refused."""
    expected = dict(zip([name for name, _ in WIDE], answers("2", "wide"), strict=True))
    others: dict[str, str | None] = {f"{name.replace('inner/deep', inner)}/*": None for name in expected}
    others = {name: None for name in others if name.removesuffix("/*") not in options}
    checkpoint = probe.load(DATA / file, names=others, **choices)
    assert len(checkpoint.recurrent) == len(options)
    for name in checkpoint.recurrent:
        (option,) = (one for one in options if one == name.split("/")[0])
        assert checkpoint.check(reference("2")["x"], expected[option], name=name) < 1e-5, option
    with refused():
        _ = probe.load(DATA / file, names=others)


@pytest.mark.parametrize("other", ["input_gate_peephole_weights:0", "kernel_norm/gamma:0"])
def test_weights_of_another_cell_are_not_taken_for_an_lstms(other: str, tmp_path: Path) -> None:
    """A cell with peepholes or norms has an LSTM's arrays and more; without those it would be another network."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in (("kernel:0", (2, 12)), ("recurrent_kernel:0", (3, 12)), ("bias:0", (12,)), (other, (3,))):
            file[f"rnn/lstm_cell/{name}"] = np.ones(shape, "float32")
    with refused():
        _ = probe.load(tmp_path / "a.h5", gate_activation="sigmoid")


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
    x, expected = reference("3")["x"], answers("3", "wide")
    errors = {}
    for name in ("hard_sigmoid_keras2", "hard_sigmoid_keras3"):
        checkpoint: Checkpoint = probe.load(tmp_path / "a.h5", gate_activation=name)
        errors[name] = checkpoint.check(x, expected[1], name="lstm_1")
    assert (errors["hard_sigmoid_keras3"] < 1e-5, errors["hard_sigmoid_keras2"] > 1e-2) == (True, True)


def test_an_array_of_another_file_is_not_followed(tmp_path: Path) -> None:
    """Links and external storage lead out of the file, and are refused by name."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kernel"] = h5py.ExternalLink("/etc/hostname", "x")
    with refused():
        _ = probe.load(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        _ = file.create_dataset("kernel", (3,), "f4", external=[("/etc/hostname", 0, 12)])
    with refused():
        _ = probe.load(tmp_path / "b.h5")


def test_what_trained_a_layer_is_none() -> None:
    """Keras 2.11 and later keep the optimizer's arrays under the layers' own names; they stay arrays."""
    checkpoint = probe.load(DATA / "keras2_trained.h5")
    assert list(checkpoint.recurrent) == ["lstm"]
    assert checkpoint.check(reference("2")["x"], reference("2")["trained.lstm"]) < 1e-5
    assert "optimizer_weights/Adam/m/lstm/lstm_cell/kernel:0" in checkpoint.tensors


def test_a_layer_that_is_called_backwards_is_not_loaded_as_one_that_reads_forwards(tmp_path: Path) -> None:
    """Weights alone do not say the direction; the same arrays under a plain name are a layer that reads forwards."""
    arrays = {"kernel": np.ones((2, 12), "f4"), "recurrent_kernel": np.ones((3, 12), "f4"), "bias": np.ones(12, "f4")}
    for name in ("LSTM_1_backward", "lstm_reversed"):
        np.savez(tmp_path / "w.npz", allow_pickle=False, **{f"{name}/{role}": one for role, one in arrays.items()})
        with refused():
            _ = probe.load(tmp_path / "w.npz", gate_activation="sigmoid")
        renamed: dict[str, str | None] = {f"{name}/{role}": f"own/{role}" for role in arrays}
        found = probe.load(tmp_path / "w.npz", names=renamed, gate_activation="sigmoid")
        assert isinstance(found.recurrent["own"], nn.LSTM)
