"""Every form of torch's recurrent layers is recorded and edited: the oracle of reference.py gives the same values."""

from __future__ import annotations

from typing import Any

import pytest
import reference
import torch
from bodies import Model, loop
from comparing import distance, farthest, flat, padded, recorded, same
from drawn import LAYERS, Network
from refusing import refused, warned
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import probe
from probe import ProbeError, Signal
from probe.hooks import collector
from probe.hooks.collector import mapped
from probe.recurrent import CustomLSTM, memory

INPUTS, UNITS, BATCH, TIME = 3, 4, 3, 5
#: Torch's own, once a process, from the bare module too.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"layers": 3, "given": True},
    "everything": {"layers": 2, "bidirectional": True, "bias": False, "batch_first": True, "given": True},
    "packed": {"layers": 2, "bidirectional": True, "given": True, "lengths": (2, 5, 4)},
    "packed, batch first": {"bidirectional": True, "batch_first": True, "given": True, "lengths": (5, 4, 2)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_signal_of_every_form_is_the_oracles(kind: str, form: str) -> None:
    """Of all layers and directions, from given states, checked or not, and edited at each row's last step."""
    network = Network.of(kind, **FORMS[form])
    module, call = network.module(), network.call()
    given, name, last = call.arguments(module), reference.signals_of(module)[0], network.ends() - 1
    layers = reference.layers_of(module)

    def edit(layer: str, signal: str, t: int, value: Tensor) -> Tensor:
        return torch.where((last == t)[:, None], 0.25, value) if (layer, signal) == (layers[-1], name) else value

    for change in (None, edit):
        edits = [probe.clamp(name, 0.25, layer=layers[-1], steps=-1)] if change else []
        run = probe.record(module, *given, edits=edits, signals=Signal)
        wanted = reference.run(module, call.x, call.hx, call.lengths, change)
        assert (run.layers, set(recorded(run))) == (tuple(layers), set(wanted.signals))
        assert farthest(recorded(run), wanted.signals) < 1e-12
        whole = wanted.output if module.batch_first else wanted.output.transpose(0, 1)
        assert distance(padded(module, run.output), whole) < 1e-12
        assert all(distance(*pair) < 1e-12 for pair in zip(flat(run.output[1]), flat(wanted.final), strict=True))
        assert same(run.output, module(*given)) == (change is None)
        unchecked = probe.record(module, *given, edits=edits, signals=Signal, check=False)
        assert unchecked.max_error is None
        assert farthest(recorded(unchecked), recorded(run)) <= (1e-12 if call.lengths else 0)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_missing_batch_axis_is_a_batch_of_one(kind: str) -> None:
    """Unbatched inputs and states give the numbers of that row, edited too, and an output of the module's shapes."""
    network = Network.of(kind, **FORMS["everything"])
    module, x, whole = network.module(), network.call().x, network.call().hx
    hx: Any = tuple(part[:, 0] for part in flat(whole))
    hx = hx if len(hx) > 1 else hx[0]
    for edits in ([], [probe.clamp("hidden_state", 0.3, layer="[0]", steps=2, units=[1])]):
        one, expected = probe.record(module, x[0], hx, edits=edits), probe.record(module, x, whole, edits=edits)
        row = {place: value[:1] for place, value in recorded(expected).items()}
        assert farthest(recorded(one), row) < 1e-12
        assert [part.shape for part in flat(one.output)] == [part.shape for part in flat(module(x[0], hx))]
        assert distance(one.output[0], expected.output[0][0]) < 1e-12


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_dtype_is_recorded_within_its_tolerance(kind: str, dtype: torch.dtype, near: float) -> None:
    """Hidden states are the module's bits in its own type; the rest is as near as the type allows."""
    network = Network.of(kind, layers=2, batch_first=True)
    module, x = network.module(), network.call().x
    exact = recorded(probe.record(module, x, signals=Signal))
    recording = probe.record(module.to(dtype), x.to(dtype), signals=Signal)
    assert {value.dtype for value in recorded(recording).values()} == {dtype}
    assert torch.equal(recording["[1]", "hidden_state"], recording.output[0])
    assert farthest({place: value.double() for place, value in recorded(recording).items()}, exact) <= near
    assert (recording.max_error or 0) <= min(near, 2e-2)
    edited = probe.record(module, x.to(dtype), edits=[probe.clamp("hidden_state", 0.5, layer="[0]", steps=1)])
    assert bool((edited["[0]", "hidden_state"][:, 1] == 0.5).all())
    assert edited.output[0].dtype == dtype


def test_what_nothing_compares_is_refused_without_the_check() -> None:
    """A forward that was replaced, and a hook that comes before it is seen; dropout between layers is neither."""
    module, x = nn.LSTM(INPUTS, UNITS, 2, dropout=0.5), torch.randn(TIME, BATCH, INPUTS)
    with warned():
        assert probe.record(module, x, check=False).layers == ("[0]", "[1]")
    change = register_module_forward_hook(lambda *given: mapped(lambda value: 0.9 * value, given[-1]))
    try:
        with refused():
            _ = probe.record(module, x, check=False)
    finally:
        change.remove()
    module.forward = module.forward
    with refused():
        _ = probe.record(module, x, check=False)


def test_each_call_of_a_cell_takes_what_others_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that two steps fit into does not hold five; what does not fit is refused before it is kept."""
    model, x = Model(loop, cell=nn.RNNCell(INPUTS, UNITS)), torch.randn(BATCH, TIME, INPUTS)
    monkeypatch.setattr(collector, "ASK_FROM", 0)  # so that so few bytes are asked about

    def fits(free: int, steps: int) -> bool:
        monkeypatch.setattr(memory, "free", lambda _device: free)
        try:
            return bool(probe.record(model, x[:, :steps]).layers)
        except ProbeError:
            return False

    two = next(size for size in range(0, 10_000, 10) if fits(size, 2))
    assert not fits(two, TIME)
    with refused():
        _ = probe.record(model, x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_cuda_is_recorded_and_edited(kind: str) -> None:
    """On a GPU values stay there, agree with the CPU's, and can be kept on the CPU."""
    network = Network.of(kind, layers=2, batch_first=True)
    module, x = network.module(), network.call().x
    edits = [probe.clamp("hidden_state", 0.5, layer="[0]", steps=1, units=[0, 2], rows=[1])]
    for changed in ([], edits):
        on_cpu = recorded(probe.record(module.cpu(), x, edits=changed))
        on_gpu = recorded(probe.record(module.cuda(), x.cuda(), edits=changed))
        assert {value.device.type for value in on_gpu.values()} == {"cuda"}
        assert farthest({place: value.cpu() for place, value in on_gpu.items()}, on_cpu) < 1e-9
    swept, _ = probe.sweep(module, x.cuda(), edits=[*edits, *edits])
    assert torch.allclose(swept[1], probe.record(module, x.cuda(), edits=edits).output[0], rtol=0, atol=1e-9)
    assert {value.device.type for value in recorded(probe.record(module, x.cuda(), device="cpu")).values()} == {"cpu"}


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell, nn.LSTM, nn.GRU, nn.RNN, CustomLSTM])
@torch.no_grad()
def test_parametrized_weights_are_those_that_the_module_ran_with(kind: Any, wrap: str) -> None:
    """Values and edits follow from the computed weight; reading it leaves no trace in the module's own buffers."""
    cell = issubclass(kind, nn.RNNCellBase)
    module = kind(INPUTS, UNITS).double().train()
    name = "weight_hh" if cell else "weight_hh_l0"
    getattr(torch.nn.utils.parametrizations, wrap)(module, name)
    if wrap == "weight_norm":
        nn.init.constant_(module.get_parameter(f"parametrizations.{name}.original0"), 1.5)
    x = torch.randn(1 if cell else TIME, BATCH, INPUTS, dtype=torch.float64)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    bare = module(x[0] if cell else x)
    after = {name: value.clone() for name, value in module.state_dict().items()}
    assert all(map(torch.equal, start.values(), after.values())) == (wrap == "weight_norm")
    _ = module.load_state_dict(start)
    recording = probe.record(module, x[0] if cell else x)
    assert (recording.max_error or 0) < 1e-14
    assert same(recording.output, bare)
    assert all(torch.equal(value, after[name]) for name, value in module.state_dict().items())
    module.eval()
    edit = probe.steer("hidden_state", [1.0] * UNITS, layer="[0]", steps=0)
    run = probe.record(module, x[0] if cell else x, edits=[edit], signals=Signal)

    def shifted(_layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return value + 1 if (signal, step) == ("hidden_state", 0) else value

    assert farthest(recorded(run), reference.run(module, x, edit=shifted).signals) < 1e-12
    assert distance(run["hidden_state"], recording["hidden_state"]) > 1e-3


@pytest.mark.parametrize("part", ["module", "_orig_mod", "backbone"])
def test_each_layer_is_listed_once_by_its_full_path(part: str) -> None:
    """A part of a model that is called as torch's wrappers call theirs is no wrapper; a name twice is refused."""
    parts: dict[str, Any] = {part: nn.ModuleDict({"lstm": nn.LSTM(INPUTS, UNITS)}), "lstm": nn.LSTM(INPUTS, INPUTS)}
    model, x = Model(lambda m, x: getattr(m, part)["lstm"](m.lstm(x)[0])[0], **parts), torch.randn(TIME, 3, INPUTS)
    recording, names = probe.record(model, x), {f"{part}.lstm[0]", "lstm[0]"}
    assert set(recording.layers) == names == {one.name for one in probe.inspect(model).layers}
    assert torch.equal(recording[f"{part}.lstm[0]", "hidden_state"].transpose(0, 1), recording.output)
    moved = probe.record(model, x, edits=[probe.clamp("hidden_state", 0.0, layer="lstm[0]")])
    assert not torch.equal(moved.output, recording.output)
    wrapped = nn.DataParallel(parts[part])
    wrapped.lstm = nn.LSTM(INPUTS, UNITS)  # a subclass that adds a layer is a model
    assert {layer.name for layer in probe.inspect(wrapped).layers} == {"module.lstm[0]", "lstm[0]"}
    model = nn.ModuleDict({"rnn": nn.LSTM(INPUTS, UNITS, 2), "rnn[1]": nn.LSTMCell(INPUTS, UNITS)})
    with refused():
        _ = probe.inspect(model)
