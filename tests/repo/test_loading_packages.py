"""Networks in packages, loaded by `probe.load` alone, against the packages' own arithmetic.

`python -m pytest -m packages` downloads the packages; they are read, and not installed.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import probe
from probe.loading.modules import Masked
from tests.repo import packages_g2p as g2p
from tests.repo import packages_resemblyzer as resemblyzer
from tests.repo import packages_silero as silero
from tests.repo import packages_sleepecg as sleepecg
from tests.repo.packages_files import DATA, G2P, RESEMBLYZER, SILERO, SLEEPECG, own_class, read

pytestmark = pytest.mark.packages

TOLERANCE = 1e-5
G2PM = "g2pM==0.1.2.5"


def unpacked(requirement: str, path: str, folder: Path) -> Path:
    """Write a file of a package's wheel into a folder, and return where it lies."""
    file = folder / Path(path).name
    _ = file.write_bytes(read(requirement, path))
    return file


@pytest.mark.parametrize("half", ["enc", "dec"])
def test_g2p(half: str, tmp_path: Path) -> None:
    """Encoder and decoder compute the hidden states of the package's own numpy code."""
    checkpoint = probe.load(unpacked(G2P, "g2p_en/checkpoint20.npz", tmp_path))
    package = g2p.own()
    weights = [getattr(package, f"{half}_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    x = np.stack([package.enc_emb[:12], package.enc_emb[12:24]])
    assert checkpoint.check(x, package.gru(x, 12, *weights), name=half) < TOLERANCE
    assert set(checkpoint.tensors) == {"enc_emb", "dec_emb", "fc_w", "fc_b"}
    assert "arrays named w_ih, w_hh are in torch's layout" in checkpoint.source.assumed[0]


@torch.no_grad()
def test_resemblyzer(tmp_path: Path) -> None:
    """The layers, put into the package's own `forward`, give its embeddings."""
    checkpoint = probe.load(unpacked(RESEMBLYZER, "resemblyzer/pretrained.pt", tmp_path))
    mels = resemblyzer.frames(3, 40)
    expected = resemblyzer.own(resemblyzer.rebuild()).forward(mels)
    model = resemblyzer.VoiceEncoder()
    lstm = checkpoint.recurrent["lstm"]
    assert isinstance(lstm, nn.LSTM)
    model.lstm = lstm
    model.linear.weight = nn.Parameter(checkpoint.tensors["linear.weight"])
    model.linear.bias = nn.Parameter(checkpoint.tensors["linear.bias"])
    found = resemblyzer.own(model).forward(mels)
    assert (found - expected).abs().max() < TOLERANCE
    filled = resemblyzer.VoiceEncoder()
    names = {"similarity_*": None}
    _ = probe.load(tmp_path / "pretrained.pt", into=filled, names=names)
    assert (resemblyzer.own(filled).forward(mels) - expected).abs().max() < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("rate", ["16k", "8k"])
def test_silero_torchscript(rate: str, tmp_path: Path) -> None:
    """The archive's tensors and cell, read without its code, give the probabilities that its code gives."""
    file = unpacked(SILERO, silero.JIT, tmp_path)
    checkpoint = probe.load(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load: the archive is what it loads
        archive = torch.jit.load(file, map_location="cpu")
    start = {"16k": "_model.", "8k": "_model_8k."}[rate]
    model = silero.Silero(silero.RATES[rate]).eval()
    own = {name.removeprefix(start): value for name, value in checkpoint.tensors.items() if name.startswith(start)}
    missing, extra = model.load_state_dict(own, strict=False)
    assert {name.rpartition(".")[0] for name in missing} == {"decoder.rnn"}
    assert extra == []
    cell = checkpoint.recurrent[f"{start}decoder.rnn"]
    assert isinstance(cell, nn.LSTMCell)
    model.decoder.rnn = cell
    audio = silero.audio(silero.RATES[rate], 2, 20)
    expected = archive.audio_forward(audio, silero.RATES[rate].samples)
    assert (model(audio) - expected).abs().max() < TOLERANCE


def equal(module: nn.Module, other: nn.Module) -> bool:
    """Return whether a layer and a cell have the same weights; the halves of a bias may have been added."""
    one, two = (
        {name.removesuffix("_l0"): value for name, value in each.state_dict().items()} for each in (module, other)
    )
    biases = [each["bias_ih"] + each["bias_hh"] for each in (one, two)]
    weights = all(torch.equal(one[name], two[name]) for name in ("weight_ih", "weight_hh"))
    return weights and bool((biases[0] - biases[1]).abs().max() < TOLERANCE)


def test_silero_onnx(tmp_path: Path) -> None:
    """A node computes what onnxruntime does; those nested in the other model are the cells of the archive."""
    sequence = probe.load(unpacked(SILERO, "silero_vad/data/silero_vad_16k_sequence.onnx", tmp_path))
    with np.load(DATA / "silero.npz") as expected:
        assert sequence.check(expected["x"], expected["h"]) < TOLERANCE
    nested = probe.load(unpacked(SILERO, "silero_vad/data/silero_vad.onnx", tmp_path))
    archive = probe.load(unpacked(SILERO, silero.JIT, tmp_path))
    assert len(nested.recurrent) == 4
    for name, module in nested.recurrent.items():
        right, wrong = ("_model.", "_model_8k.") if name.startswith("If_0.then") else ("_model_8k.", "_model.")
        assert equal(module, archive.recurrent[f"{right}decoder.rnn"])
        assert not equal(module, archive.recurrent[f"{wrong}decoder.rnn"])


@torch.no_grad()
def test_silero_safetensors(tmp_path: Path) -> None:
    """The other snapshot gives the probabilities of a second opinion by hand, and not those of the archive."""
    checkpoint = probe.load(unpacked(SILERO, silero.SAFETENSORS, tmp_path))
    model = silero.rebuild("safetensors 16k")
    cell = checkpoint.recurrent["lstm_cell"]
    assert isinstance(cell, nn.LSTMCell)
    model.decoder.rnn = cell
    audio = silero.audio(silero.RATES["16k"], 2, 20)
    expected, _ = silero.by_hand("safetensors 16k", audio, silero.Plan())
    assert np.abs(model(audio).double().numpy() - expected).max() < TOLERANCE
    assert (model(audio) - silero.rebuild("jit 16k")(audio)).abs().max() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("classifier", sleepecg.CLASSIFIERS)
def test_sleepecg(classifier: str, tmp_path: Path) -> None:
    """With its masked layers, and the arrays of the others, the network gives Keras's probabilities."""
    bundle = zipfile.ZipFile(io.BytesIO(read(SLEEPECG, f"sleepecg/classifiers/{classifier}.zip")))
    _ = (tmp_path / "classifier.keras").write_bytes(bundle.read("classifier.keras"))
    checkpoint = probe.load(tmp_path / "classifier.keras")
    assert [type(module) for module in checkpoint.recurrent.values()] == [Masked, Masked]
    kept = json.loads((DATA / "sleepecg.json").read_text())
    lengths = kept["lengths"]
    features = sleepecg.features_of(classifier, sleepecg.waves(lengths), lengths)
    arrays = {name.removeprefix("layers/"): value for name, value in checkpoint.tensors.items()}
    gamma, beta, mean, variance = (arrays[f"batch_normalization/vars/{number}"] for number in range(4))
    x: Tensor = gamma * (features - mean) / torch.sqrt(variance + sleepecg.EPSILON) + beta
    x = torch.relu(x @ arrays["dense/vars/0"] + arrays["dense/vars/1"])
    mask = (features != sleepecg.MASKED).any(dim=2)
    for module in checkpoint.recurrent.values():
        x = module(x, mask=mask)[0]
    found = torch.softmax(x @ arrays["dense_1/vars/0"] + arrays["dense_1/vars/1"], dim=2)
    for row, expected in enumerate(kept["probabilities"][classifier]):
        assert (found[row, : lengths[row]] - torch.tensor(expected)).abs().max() < TOLERANCE


def test_g2pm(tmp_path: Path) -> None:
    """A pickle of numpy arrays, read without calling anything of it: both directions are the package's own code."""
    checkpoint = probe.load(unpacked(G2PM, "g2pM/np_ckpt.pkl", tmp_path))
    methods = ("sigmoid", "fw_lstm_cell", "bw_lstm_cell")
    package = own_class(read(G2PM, "g2pM/g2pM.py"), "G2pM", methods, {"np": np})()
    names = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    state = checkpoint.recurrent["lstm"].state_dict()
    vars(package).update({name: state[f"{name}_l0"].numpy() for name in names})
    vars(package).update({f"{name}_reverse": state[f"{name}_l0_reverse"].numpy() for name in names})
    x = checkpoint.tensors["embedding.weight"][:10].reshape(2, 5, 64).numpy()
    halves = []
    for cell, order in ((package.fw_lstm_cell, range(5)), (package.bw_lstm_cell, range(4, -1, -1))):
        states: Any = None
        found = {}
        for t in order:
            states = cell(x[:, t], states)
            found[t] = states[0]
        halves.append(np.stack([found[t] for t in range(5)], axis=1))
    assert checkpoint.check(x, np.concatenate(halves, axis=2)) < TOLERANCE
