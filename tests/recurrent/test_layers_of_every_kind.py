"""Every form of torch's recurrent layers is recorded and edited: the oracle of reference.py gives the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from comparing import distance, farthest, flat, gates_swapped, same
from refusing import refused
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import probe
from probe import ProbeError, Signal
from probe.hooks import memory
from probe.hooks.collector import mapped

INPUTS, UNITS, BATCH, TIME = 3, 4, 2, 5
KINDS = ("LSTM", "projected", "GRU", "tanh", "relu")
#: Torch's own, once a process, from the bare module too.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def made(kind: str, **options: Any) -> nn.RNNBase:
    """Return a module of a kind in double precision."""
    if kind == "projected":
        return nn.LSTM(INPUTS, UNITS, proj_size=2, **options).double()
    if kind in ("tanh", "relu"):
        return nn.RNN(INPUTS, UNITS, nonlinearity=kind, **options).double()
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[kind](INPUTS, UNITS, **options).double()


def inputs(module: nn.RNNBase, seed: int = 1) -> Tensor:
    """Return inputs as the module takes them."""
    shape = (BATCH, TIME, INPUTS) if module.batch_first else (TIME, BATCH, INPUTS)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def states(module: nn.RNNBase) -> Any:
    """Return initial states that are not zero."""
    number = module.num_layers * (1 + module.bidirectional)
    h = torch.randn(number, BATCH, module.proj_size or UNITS, dtype=torch.float64)
    return (h, torch.randn(number, BATCH, UNITS, dtype=torch.float64)) if isinstance(module, nn.LSTM) else h


def recorded(module: nn.Module, recording: probe.Recording) -> dict[tuple[str, str], Tensor]:
    """Return every signal of every layer."""
    return {(part.layer, str(name)): value for part in recording.parts for name, value in part.signals.items()}


@pytest.mark.parametrize("bias", [True, False])
def test_few_units_over_many_rows_are_opened_as_any_layer(bias: bool) -> None:
    """What a narrow layer computes units first, from given states, is what the oracle computes."""
    module, rows = nn.LSTM(INPUTS, UNITS, bias=bias), 300
    x = torch.randn(TIME, rows, INPUTS)
    state = (torch.randn(1, rows, UNITS), torch.randn(1, rows, UNITS))
    with torch.no_grad():
        found = probe.record(module, x, kwargs={"hx": state})
        module.double()
        wanted = reference.run(module, x.double(), (state[0].double(), state[1].double())).signals
    for signal in found.parts[0].signals:
        assert distance(found[signal], wanted["[0]", str(signal)].float()) < 1e-6
    assert found.max_error is not None
    assert found.max_error < 1e-6


def test_few_units_over_many_rows_are_compared_at_every_step() -> None:
    """A narrow layer that computes something else at one step and row raises, with that step in the message."""

    class Wrong(nn.LSTM):
        def forward(self, input: Any, hx: Any = None) -> Any:
            """Return other hidden states."""
            output = super().forward(input, hx)
            output[0][1, 7, 2] += 0.25
            return output

    with torch.no_grad(), refused():
        probe.record(Wrong(INPUTS, UNITS), torch.randn(TIME, 300, INPUTS))


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"num_layers": 3},
    "both ways": {"bidirectional": True, "batch_first": True},
    "everything": {"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True},
}


@pytest.mark.parametrize(
    ("form", "given"), [("plain", False), ("stacked", True), ("both ways", False), ("everything", True)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_signal_of_every_form_is_the_oracles(kind: str, form: str, given: bool) -> None:
    """Gates, candidates and states of all layers and directions; with two gates exchanged they would differ."""
    module = made(kind, **FORMS[form])
    x, hx = inputs(module), states(module) if given else None
    recording = probe.record(module, *((x, hx) if given else (x,)), signals=Signal)
    expected = reference.run(module, x, hx)
    found = recorded(module, recording)
    assert recording.layers == tuple(reference.layers_of(module))
    assert set(found) == set(expected.signals)
    assert farthest(found, expected.signals) < 1e-12
    assert same(recording.output, module(x, hx))
    told_apart = [swapped for swapped in gates_swapped(found) if farthest(swapped, found) > 1e-3]
    assert all(farthest(swapped, expected.signals) > 5e-4 for swapped in told_apart)
    assert told_apart or kind == "relu"  # all of whose pre-activations may be positive
    if given:
        assert farthest(found, reference.run(module, x).signals) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_batch_axis_is_a_batch_of_one(kind: str) -> None:
    """An unbatched input with unbatched states gives the numbers of that row, and an edit returns its shapes."""
    module = made(kind, **FORMS["everything"])
    x = inputs(module)[0] if module.batch_first else inputs(module)[:, 0]
    hx: Any = [part[:, 0] for part in flat(states(module))]
    hx = tuple(hx) if len(hx) > 1 else hx[0]
    batched = x.unsqueeze(0) if module.batch_first else x.unsqueeze(1)
    whole: Any = [part.unsqueeze(1) for part in flat(hx)]
    whole = tuple(whole) if len(whole) > 1 else whole[0]
    edit = probe.clamp("hidden_state", 0.3, layer="[0]", steps=2, units=[1])
    for edits in ([], [edit]):
        one = probe.record(module, x, hx, edits=edits)
        expected = probe.record(module, batched, whole, edits=edits)
        assert farthest(recorded(module, one), recorded(module, expected)) < 1e-12
        assert [part.shape for part in flat(one.output)] == [part.shape for part in flat(module(x, hx))]
        axis = 0 if module.batch_first else 1
        assert distance(one.output[0], expected.output[0].squeeze(axis)) < 1e-12
    assert not same(probe.record(module, x, hx, edits=[edit]).output, module(x, hx))


@pytest.mark.parametrize("kind", KINDS)
def test_keyword_calls_are_followed(kind: str) -> None:
    """`module(input=x, hx=state)` is recorded and edited as the same call by position."""
    module = made(kind, num_layers=2)
    x, hx = inputs(module), states(module)
    edits = [probe.ablate("hidden_state", layer="[1]", steps=1)]
    choices: list[dict[str, Any]] = [{}, {"edits": edits}]
    for options in choices:
        named = probe.record(module, kwargs={"input": x, "hx": hx}, **options)
        mixed = probe.record(module, x, kwargs={"hx": hx}, **options)
        placed = probe.record(module, x, hx, **options)
        assert same(list(recorded(module, named).values()), list(recorded(module, placed).values()))
        assert same(named.output, placed.output)
        assert same(mixed.output, placed.output)
    assert not same(probe.record(module, kwargs={"input": x, "hx": hx}, edits=edits).output, module(x, hx))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_is_recorded_within_its_tolerance(kind: str, dtype: torch.dtype) -> None:
    """Hidden states are the module's bits in its own type; the rest is as near as the type allows."""
    module = made(kind, num_layers=2, batch_first=True)
    x = inputs(module)
    exact = recorded(module, probe.record(module, x, signals=Signal))
    recording = probe.record(module.to(dtype), x.to(dtype), signals=Signal)
    near = {place: value.double() for place, value in recorded(module, recording).items()}
    assert {value.dtype for value in recorded(module, recording).values()} == {dtype}
    assert torch.equal(recording["[1]", "hidden_state"], recording.output[0])
    limit = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 5e-2}[dtype]
    assert farthest(near, exact) <= limit
    assert recording.max_error is not None
    assert recording.max_error <= {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    edited = probe.record(module, x.to(dtype), edits=[probe.clamp("hidden_state", 0.5, layer="[0]", steps=1)])
    assert bool((edited["[0]", "hidden_state"][:, 1] == 0.5).all())
    assert edited.output[0].dtype == dtype


def test_values_can_be_kept_elsewhere_and_otherwise() -> None:
    """`dtype=` and `device=` change what is kept and nothing of the run, its gradients included."""
    module = made("GRU", batch_first=True)
    x = inputs(module)
    usual = probe.record(module, x, gradient_of=lambda output: output[0].sum())
    kept = probe.record(module, x, dtype=torch.float16, device="cpu", gradient_of=lambda output: output[0].sum())
    for signal in ("reset_gate", "hidden_state"):
        for one, two in ((kept, usual), (kept.gradient, usual.gradient)):
            assert one[signal].dtype == torch.float16
            assert torch.equal(one[signal], two[signal].half())
    assert kept.output[0].dtype == torch.float64
    assert kept.max_error == usual.max_error


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_check_the_values_are_the_same(kind: str) -> None:
    """With check=False nothing is compared and nothing claimed; no bit of values and output is another."""
    module = made(kind, num_layers=2, bidirectional=True)
    x = inputs(module)
    checked, unchecked = (probe.record(module, x, signals=Signal, check=check) for check in (True, False))
    values = recorded(module, checked)
    assert all(torch.equal(value, values[site]) for site, value in recorded(module, unchecked).items())
    assert same(unchecked.output, checked.output)
    assert unchecked.max_error is None
    assert checked.max_error is not None


def test_a_forward_of_its_own_is_refused_without_the_check() -> None:
    """Nothing would say that the values are those of the module; dropout between layers is drawn again."""
    module = made("LSTM", num_layers=2, dropout=0.5)
    assert module.training
    assert probe.record(module, inputs(module), check=False).layers == ("[0]", "[1]")
    module.forward = module.forward
    with refused():
        _ = probe.record(module, inputs(module), check=False)


def test_a_hook_that_comes_first_is_refused_without_the_check() -> None:
    """It changes what the layer returns before it is seen; one of the layer itself comes after."""
    module = made("LSTM")
    x = inputs(module)
    own = probe.record(module, x)["hidden_state"]
    change = register_module_forward_hook(lambda *given: mapped(lambda value: 0.9 * value, given[-1]))
    try:
        with refused():
            _ = probe.record(module, x, check=False)
    finally:
        change.remove()
    handle = module.register_forward_hook(lambda *given: mapped(lambda value: 0.9 * value, given[-1]))
    assert torch.equal(probe.record(module, x, check=False)["hidden_state"], own)
    handle.remove()


def test_a_run_that_would_not_fit_is_refused_before_it(
    tagger: Any, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept decides: with fewer signals the same call fits, with derivatives it takes more."""
    ran: list[int] = []
    tagger.lstm.register_forward_hook(lambda *_: ran.append(1))
    monkeypatch.setattr(memory, "ASK_FROM", 0)  # so that so few bytes are asked about
    monkeypatch.setattr(memory, "free", lambda _device: 0)
    with refused():
        _ = probe.record(tagger, x)
    assert ran == []
    least = _least_that_fits(monkeypatch, lambda: probe.record(tagger, x))
    fewer = _least_that_fits(monkeypatch, lambda: probe.record(tagger, x, signals=["cell_state"]))
    more = _least_that_fits(monkeypatch, lambda: probe.record(tagger, x, gradient_of=lambda scores: scores.sum()))
    edited = _least_that_fits(monkeypatch, lambda: probe.record(tagger, x, edits=[probe.ablate("cell_state")]))
    assert 12 * fewer == 2 * least == 2 * edited == more
    monkeypatch.setattr(memory, "free", lambda _device: None)
    assert probe.record(tagger, x).layers == ("lstm[0]",)


def _least_that_fits(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> int:
    """Return with how many free bytes a recording is made, and with one fewer is refused."""
    few, enough = 0, 10**9
    while enough - few > 1:
        middle = (few + enough) // 2
        monkeypatch.setattr(memory, "free", lambda _device, size=middle: size)
        try:
            run()
        except ProbeError:
            few = middle
        else:
            enough = middle
    return enough


def test_a_loop_of_cells_is_estimated_call_by_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell's call keeps one step, and what earlier calls took is no longer free: a longer loop takes more."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(INPUTS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            h = self.cell(x[0])
            for step in x[1:]:
                h = self.cell(step, h)
            return h

    monkeypatch.setattr(memory, "ASK_FROM", 0)
    model, x = Loop(), torch.randn(TIME, BATCH, INPUTS)
    short, long = (_least_that_fits(monkeypatch, lambda y=y: probe.record(model, y)) for y in (x[:2], x))
    assert short < long


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "tanh"])
def test_cuda_is_recorded_and_edited(kind: str) -> None:
    """On a GPU values stay there, agree with the CPU's, and can be kept on the CPU."""
    module = made(kind, num_layers=2, batch_first=True)
    x = inputs(module)
    edits = [probe.clamp("hidden_state", 0.5, layer="[0]", steps=1, units=[0, 2], rows=[1])]
    for changed in ([], edits):
        on_cpu = recorded(module, probe.record(module.cpu(), x, edits=changed))
        on_gpu = probe.record(module.cuda(), x.cuda(), edits=changed)
        assert {value.device.type for value in recorded(module, on_gpu).values()} == {"cuda"}
        near = {place: value.cpu() for place, value in recorded(module, on_gpu).items()}
        assert farthest(near, on_cpu) < 1e-9
    swept, _ = probe.sweep(module, x.cuda(), edits=[*edits, *edits])
    assert torch.allclose(swept[1], probe.record(module, x.cuda(), edits=edits).output[0], rtol=0, atol=1e-9)
    kept = probe.record(module, x.cuda(), device="cpu")
    assert {value.device.type for value in recorded(module, kept).values()} == {"cpu"}


def weight_norm(module: nn.Module, name: str) -> nn.Module:
    """Split a weight into length and direction, and stretch it."""
    torch.nn.utils.parametrizations.weight_norm(module, name)
    with torch.no_grad():
        _ = module.get_parameter(f"parametrizations.{name}.original0").mul_(1.5)
    return module


def spectral_norm(module: nn.Module, name: str) -> nn.Module:
    """Divide a weight by its largest singular value, found one iteration a call."""
    return torch.nn.utils.parametrizations.spectral_norm(module, name)


@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_parametrized_cells_are_recorded_with_the_weights_that_they_ran_with(
    kind: Callable[..., nn.Module], wrap: Callable[..., nn.Module]
) -> None:
    """Values follow from the computed weight, and reading it leaves no trace in the module's own buffers."""
    module = wrap(kind(INPUTS, UNITS), "weight_hh").double().train()
    x = inputs(made("tanh"))
    states = torch.randn(BATCH, UNITS, dtype=torch.float64)
    hx = (states, states.flip(1)) if kind is nn.LSTMCell else states
    start = {name: value.clone() for name, value in module.state_dict().items()}
    bare, after = module(x[0], hx), {name: value.clone() for name, value in module.state_dict().items()}
    _ = module.load_state_dict(start)
    assert probe.inspect(module).layers[0].name == "[0]"
    recording = probe.record(module, x[0], hx)
    assert recording.max_error is not None
    assert recording.max_error < 1e-14
    assert same(recording.output, bare)
    assert all(torch.equal(value, after[name]) for name, value in module.state_dict().items())
    if wrap is spectral_norm:
        assert any(not torch.equal(value, start[name]) for name, value in after.items())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_parametrized_modules_are_recorded(kind: Callable[..., nn.RNNBase]) -> None:
    """A weight-normed module runs with the computed weight, in the module and in edits alike."""
    module = weight_norm(kind(INPUTS, UNITS, 2, batch_first=True), "weight_hh_l0").double()
    x = inputs(made("tanh", batch_first=True))
    recording = probe.record(module, x, signals=Signal)
    assert recording.max_error is not None
    assert recording.max_error < 1e-14
    edit = probe.steer("hidden_state", [1.0] * UNITS, layer="[0]", steps=0)
    run = probe.record(module, x, edits=[edit], signals=Signal)

    def shifted(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        return value + 1 if (layer, signal, step) == ("[0]", "hidden_state", 0) else value

    assert isinstance(module, nn.RNNBase)
    assert farthest(recorded(module, run), reference.run(module, x, edit=shifted).signals) < 1e-12
    assert farthest(recorded(module, run), recorded(module, recording)) > 1e-3


class _TwoParts(nn.Module):
    """Two layers, one of them in a part of another name; the parts are registered in the order given."""

    def __init__(self, part: str, *, first: bool) -> None:
        super().__init__()
        parts = {part: nn.ModuleDict({"lstm": nn.LSTM(INPUTS, UNITS)}), "lstm": nn.LSTM(INPUTS, INPUTS)}
        for name in (part, "lstm") if first else ("lstm", part):
            setattr(self, name, parts[name])
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        model: Any = self
        return getattr(model, self.part)["lstm"](model.lstm(x)[0])[0]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("part", ["module", "_orig_mod", "backbone"])
def test_each_layer_is_listed_once_by_its_full_path(part: str, first: bool) -> None:
    """A part of a model that is called as torch's wrappers call theirs is no wrapper: both layers are there."""
    model, x = _TwoParts(part, first=first), torch.randn(TIME, BATCH, INPUTS)
    names = {f"{part}.lstm[0]", "lstm[0]"}
    recording = probe.record(model, x)
    assert set(recording.layers) == names == {layer.name for layer in probe.inspect(model).layers}
    assert recording.not_called == ()
    assert torch.equal(recording[f"{part}.lstm[0]", "hidden_state"].transpose(0, 1), recording.output)
    moved = probe.record(model, x, edits=[probe.clamp("hidden_state", 0.0, layer="lstm[0]")])
    assert not torch.equal(moved.output, recording.output)


def test_a_wrapper_with_a_layer_of_its_own_is_a_model() -> None:
    """A subclass of DataParallel that adds a layer keeps full names, so that neither layer hides the other."""
    wrapped = nn.DataParallel(nn.ModuleDict({"lstm": nn.LSTM(INPUTS, UNITS)}))
    wrapped.lstm = nn.LSTM(INPUTS, UNITS)
    assert {layer.name for layer in probe.inspect(wrapped).layers} == {"module.lstm[0]", "lstm[0]"}


def test_two_layers_of_one_name_are_refused() -> None:
    """A module whose own name ends as a layer's would be mistaken for one: renaming it is asked for."""
    model = nn.Module()
    model.add_module("rnn", nn.LSTM(INPUTS, UNITS, 2))
    model.add_module("rnn[1]", nn.LSTMCell(INPUTS, UNITS))
    with refused():
        _ = probe.inspect(model)
