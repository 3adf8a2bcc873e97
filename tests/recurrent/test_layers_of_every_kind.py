"""Every form of torch's recurrent layers is recorded and edited: the oracle of reference.py gives the same values."""

from __future__ import annotations

from typing import Any

import pytest
import reference
import torch
from comparing import distance, farthest, flat, gates_swapped, padded, recorded, same
from drawn import LAYERS, Network
from refusing import refused
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import probe
from probe import ProbeError, Signal
from probe.hooks import memory
from probe.hooks.collector import mapped

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
    """Of all layers and directions, from given states, edited at each row's last step; with two gates swapped not."""
    network = Network.of(kind, **FORMS[form])
    module, call = network.module(), network.call()
    x, hx, lengths, given = call.x, call.hx, call.lengths, call.arguments(module)
    recording = probe.record(module, *given, signals=Signal)
    expected = reference.run(module, x, hx, lengths)
    found = recorded(recording)
    assert recording.layers == tuple(reference.layers_of(module))
    assert set(found) == set(expected.signals)
    assert farthest(found, expected.signals) < 1e-12
    assert same(recording.output, module(*given))
    told_apart = [swapped for swapped in gates_swapped(found) if farthest(swapped, found) > 1e-3]
    assert all(farthest(swapped, expected.signals) > 5e-4 for swapped in told_apart)
    assert told_apart or kind == "relu"  # all of whose pre-activations may be positive
    unchecked = probe.record(module, *given, signals=Signal, check=False)
    assert unchecked.max_error is None
    if lengths is None:
        assert same(list(recorded(unchecked).values()), list(found.values()))
        assert same(unchecked.output, recording.output)
    if hx is not None:
        assert farthest(found, reference.run(module, x, None, lengths).signals) > 1e-3

    layer, name, last = recording.layers[-1], reference.signals_of(module)[0], network.ends() - 1

    def edit(where: str, signal: str, t: int, value: Tensor) -> Tensor:
        return torch.where((last == t)[:, None], 0.25, value) if (where, signal) == (layer, name) else value

    run = probe.record(module, *given, edits=[probe.clamp(name, 0.25, layer=layer, steps=-1)], signals=Signal)
    wanted = reference.run(module, x, hx, lengths, edit)
    assert farthest(recorded(run), wanted.signals) < 1e-12
    whole = wanted.output if module.batch_first else wanted.output.transpose(0, 1)
    assert distance(padded(module, run.output), whole) < 1e-12
    assert all(distance(*pair) < 1e-12 for pair in zip(flat(run.output[1]), flat(wanted.final), strict=True))
    assert [part.shape for part in flat(run.output)] == [part.shape for part in flat(recording.output)]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_missing_batch_axis_is_a_batch_of_one(kind: str) -> None:
    """Unbatched inputs and states, by position or by name, give the numbers of that row, and an edit its shapes."""
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
        for arguments, named in (((), {"input": x, "hx": whole}), ((x,), {"hx": whole})):
            again = probe.record(module, *arguments, kwargs=named, edits=edits)
            assert same(list(recorded(again).values()), list(recorded(expected).values()))
            assert same(again.output, expected.output)


def test_few_units_over_many_rows_are_opened_as_any_layer() -> None:
    """What a narrow layer computes units first is the oracle's; other states at one step and row raise."""

    class Wrong(nn.LSTM):
        def forward(self, input: Any, hx: Any = None) -> Any:
            output = super().forward(input, hx)
            output[0][1, 7, 2] += 0.25
            return output

    rows = 300
    x, state = torch.randn(TIME, rows, INPUTS), (torch.randn(1, rows, UNITS), torch.randn(1, rows, UNITS))
    for bias in (True, False):
        module = nn.LSTM(INPUTS, UNITS, bias=bias)
        with torch.no_grad():
            found = probe.record(module, x, kwargs={"hx": state})
            wanted = reference.run(module.double(), x.double(), (state[0].double(), state[1].double())).signals
        for signal, value in found.parts[0].signals.items():
            assert distance(value, wanted["[0]", str(signal)].float()) < 1e-6
        assert (found.max_error or 0) < 1e-6
    with torch.no_grad(), refused():
        probe.record(Wrong(INPUTS, UNITS), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_dtype_is_recorded_within_its_tolerance(kind: str, dtype: torch.dtype) -> None:
    """Hidden states are the module's bits in its own type; the rest is as near as the type allows."""
    network = Network.of(kind, layers=2, batch_first=True)
    module, x = network.module(), network.call().x
    exact = recorded(probe.record(module, x, signals=Signal))
    recording = probe.record(module.to(dtype), x.to(dtype), signals=Signal)
    assert {value.dtype for value in recorded(recording).values()} == {dtype}
    assert torch.equal(recording["[1]", "hidden_state"], recording.output[0])
    near = {place: value.double() for place, value in recorded(recording).items()}
    assert farthest(near, exact) <= {torch.float32: 1e-6, torch.bfloat16: 5e-2}[dtype]
    assert recording.max_error is not None
    assert recording.max_error <= {torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    edited = probe.record(module, x.to(dtype), edits=[probe.clamp("hidden_state", 0.5, layer="[0]", steps=1)])
    assert bool((edited["[0]", "hidden_state"][:, 1] == 0.5).all())
    assert edited.output[0].dtype == dtype


def test_values_can_be_kept_elsewhere_and_otherwise() -> None:
    """`dtype=` and `device=` change what is kept and nothing of the run, its gradients included."""
    network = Network("gru", batch_first=True)
    module, x = network.module(), network.call().x
    usual = probe.record(module, x, gradient_of=lambda output: output[0].sum())
    kept = probe.record(module, x, dtype=torch.float16, device="cpu", gradient_of=lambda output: output[0].sum())
    for one, two in ((kept, usual), (kept.gradient, usual.gradient)):
        assert one["reset_gate"].dtype == torch.float16
        assert torch.equal(one["reset_gate"], two["reset_gate"].half())
    assert kept.output[0].dtype == torch.float64
    assert kept.max_error == usual.max_error


def test_what_nothing_compares_is_refused_without_the_check() -> None:
    """A forward that was replaced, and a hook that comes before it is seen; one of the layer itself comes after."""
    module, x = nn.LSTM(INPUTS, UNITS, 2, dropout=0.5), torch.randn(TIME, BATCH, INPUTS)
    assert module.training
    assert probe.record(module, x, check=False).layers == ("[0]", "[1]")
    module.forward = module.forward
    with refused():
        _ = probe.record(module, x, check=False)
    module = nn.LSTM(INPUTS, UNITS)
    own = probe.record(module, x)["hidden_state"]
    change = register_module_forward_hook(lambda *given: mapped(lambda value: 0.9 * value, given[-1]))
    try:
        with refused():
            _ = probe.record(module, x, check=False)
    finally:
        change.remove()
    module.register_forward_hook(lambda *given: mapped(lambda value: 0.9 * value, given[-1]))
    assert torch.equal(probe.record(module, x, check=False)["hidden_state"], own)


class _Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(INPUTS, UNITS)

    def forward(self, x: Tensor) -> Any:
        h = None
        for step in x:
            h = self.cell(step, h)
        return h


def test_a_run_that_would_not_fit_is_refused_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept decides: fewer signals fit where all do not; each call of a cell takes what others left."""
    lstm, loop, x = nn.LSTM(INPUTS, UNITS), _Loop(), torch.randn(TIME, BATCH, INPUTS)
    ran: list[int] = []
    handle = lstm.register_forward_hook(lambda *_: ran.append(1))
    monkeypatch.setattr(memory, "ASK_FROM", 0)  # so that so few bytes are asked about
    monkeypatch.setattr(memory, "free", lambda _device: 0)
    with refused():
        _ = probe.record(lstm, x)
    assert ran == []
    handle.remove()

    def fits(free: int, model: nn.Module = lstm, x: Tensor = x, **options: Any) -> bool:
        monkeypatch.setattr(memory, "free", lambda _device: free)
        try:
            return bool(probe.record(model, x, **options).layers)
        except ProbeError:
            return False

    one = next(size for size in range(0, 10_000, 10) if fits(size, signals=["cell_state"]))
    assert (fits(5 * one), fits(6 * one), fits(6 * one, edits=[probe.ablate("cell_state")])) == (False, True, True)
    assert not fits(11 * one, gradient_of=lambda output: output[0].sum())
    step = next(size for size in range(0, 10_000, 10) if fits(size, loop, x[:2]))
    assert not fits(step, loop)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_cuda_is_recorded_and_edited(kind: str) -> None:
    """On a GPU values stay there, agree with the CPU's, and can be kept on the CPU."""
    network = Network.of(kind, layers=2, batch_first=True)
    module, x = network.module(), network.call().x
    edits = [probe.clamp("hidden_state", 0.5, layer="[0]", steps=1, units=[0, 2], rows=[1])]
    for changed in ([], edits):
        on_cpu = recorded(probe.record(module.cpu(), x, edits=changed))
        on_gpu = probe.record(module.cuda(), x.cuda(), edits=changed)
        assert {value.device.type for value in recorded(on_gpu).values()} == {"cuda"}
        near = {place: value.cpu() for place, value in recorded(on_gpu).items()}
        assert farthest(near, on_cpu) < 1e-9
    swept, _ = probe.sweep(module, x.cuda(), edits=[*edits, *edits])
    assert torch.allclose(swept[1], probe.record(module, x.cuda(), edits=edits).output[0], rtol=0, atol=1e-9)
    kept = probe.record(module, x.cuda(), device="cpu")
    assert {value.device.type for value in recorded(kept).values()} == {"cpu"}


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell, nn.LSTM, nn.GRU, nn.RNN])
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


class _TwoParts(nn.Module):
    """Two layers, one of them in a part of another name."""

    def __init__(self, part: str) -> None:
        super().__init__()
        setattr(self, part, nn.ModuleDict({"lstm": nn.LSTM(INPUTS, UNITS)}))
        self.lstm, self.part = nn.LSTM(INPUTS, INPUTS), part

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self
        return getattr(model, self.part)["lstm"](model.lstm(x)[0])[0]


@pytest.mark.parametrize("part", ["module", "_orig_mod", "backbone"])
def test_each_layer_is_listed_once_by_its_full_path(part: str) -> None:
    """A part of a model that is called as torch's wrappers call theirs is no wrapper: both layers are there."""
    model, x = _TwoParts(part), torch.randn(TIME, BATCH, INPUTS)
    recording = probe.record(model, x)
    assert (
        set(recording.layers) == {f"{part}.lstm[0]", "lstm[0]"} == {one.name for one in probe.inspect(model).layers}
    )
    assert recording.not_called == ()
    assert torch.equal(recording[f"{part}.lstm[0]", "hidden_state"].transpose(0, 1), recording.output)
    moved = probe.record(model, x, edits=[probe.clamp("hidden_state", 0.0, layer="lstm[0]")])
    assert not torch.equal(moved.output, recording.output)


def test_layers_of_a_wrapper_have_full_names_and_no_two_one_name() -> None:
    """A subclass of DataParallel that adds a layer is a model; a name that ends as a layer's is refused."""
    wrapped = nn.DataParallel(nn.ModuleDict({"lstm": nn.LSTM(INPUTS, UNITS)}))
    wrapped.lstm = nn.LSTM(INPUTS, UNITS)
    assert {layer.name for layer in probe.inspect(wrapped).layers} == {"module.lstm[0]", "lstm[0]"}
    model = nn.ModuleDict({"rnn": nn.LSTM(INPUTS, UNITS, 2), "rnn[1]": nn.LSTMCell(INPUTS, UNITS)})
    with refused():
        _ = probe.inspect(model)
