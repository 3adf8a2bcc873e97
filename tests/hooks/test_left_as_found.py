"""Whatever is done to a model, it is left as it was found: mode, weights, hooks, random state, threads."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from bodies import Model, hidden, loop, lstm
from comparing import same
from refusing import refused, warned
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from probe.recurrent import global_state
from probe.recurrent.kept import Kept

TIME, BATCH = 7, 4


def decoded(m: Any, x: Tensor) -> Tensor:
    """Run a stack with dropout between its layers and around it, and a decoder that is a cell in a loop."""
    h = loop(m, m.drop(m.encoder(m.drop(x))[0]))
    if m.fail:
        raise m.fail
    return h


@pytest.fixture
def model() -> Any:
    """Return the model, half of it in training mode, a part of it frozen, with other people's hooks."""
    encoder = nn.LSTM(3, 4, 3, batch_first=True, dropout=0.4, bidirectional=True)
    model: Any = Model(decoded, encoder=encoder, drop=nn.Dropout(0.3).eval(), cell=nn.GRUCell(8, 4), fail=None)
    model.get_parameter("cell.weight_hh").requires_grad_(False)
    model.encoder.register_forward_hook(lambda *_: None)
    model.cell.register_forward_pre_hook(lambda *_: None)
    model.register_forward_hook(lambda *_: None)
    return model


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Check that a block leaves all of the model and of the process as it was, however it ends."""

    def state() -> dict[str, Any]:
        found: dict[str, Any] = {"threads": torch.get_num_threads(), "grad": torch.is_grad_enabled()}
        found["numpy"] = np.random.get_state()[1].tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]
        for path, module in model.named_modules():
            kept = {name: list(value.items()) for name, value in vars(module).items() if "_hooks" in name}
            found[path] = module.training, kept, sorted(vars(module))
        for name, parameter in model.named_parameters():
            found[f"{name}:"] = id(parameter), parameter.requires_grad, parameter.grad is None
        found["weights"] = {name: value.clone().tolist() for name, value in model.state_dict().items()}
        return found

    before = state()
    try:
        yield
    finally:
        assert state() == before


EDITS = [
    probe.clamp("forget_gate", 0.5, layer="encoder[0].reverse", steps=[1, -1]),
    probe.steer("cell_state", [1.0] * 4, layer="encoder[1]", steps=2),
    probe.ablate("update_gate", layer="cell", steps=3),
]


def watched(model: Any, x: Tensor) -> Tensor:
    """Return the output of a watched call."""
    with torch.no_grad(), probe.watch(model):
        return model(x)


def nested(model: Any, x: Tensor) -> Tensor:
    """Return the output of a recording inside two contexts inside a watch."""
    first, *rest = EDITS
    with torch.no_grad(), probe.watch(model), probe.intervene(model, first), probe.intervene(model.encoder, *[]):
        return probe.record(model, x, edits=rest).output


WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "recorded": lambda model, x: probe.record(model, x).output,
    "edited": lambda model, x: probe.record(model, x, edits=EDITS).output,
    "differentiated": lambda model, x: probe.record(model, x, gradient_of=lambda output: output.sum()).output,
    "watched": watched,
    "nested": nested,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_everything_is_left_as_found(way: str, training: bool, model: Any, x: Tensor) -> None:
    """Model and process are as before, and torch's generator is where the bare call would have left it.

    In training mode, where the model draws random numbers, it runs with a warning, and `record` refuses to edit it.
    """
    model.encoder.train(training)
    start = torch.get_rng_state()
    with torch.no_grad():
        bare, after = model(x), torch.get_rng_state()
    _ = torch.set_rng_state(start)
    edits = way in ("edited", "nested")
    with unchanged(model), warned() if training and not edits else nullcontext():
        if training and edits:
            with refused():
                _ = WAYS[way](model, x)
            return
        output = WAYS[way](model, x)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(after, start) is not training
    if way in ("recorded", "watched"):
        assert torch.equal(output, bare)
    else:
        assert torch.allclose(output, bare, atol=1e-6) == (way == "differentiated")


@pytest.mark.parametrize("way", WAYS)
def test_an_error_leaves_everything_too(way: str, model: Any, x: Tensor) -> None:
    """An error of the model, of torch or of the library passes through, and the next call works as ever."""
    model.eval()
    run = WAYS[way]
    alone = run(model, x)
    with unchanged(model), pytest.raises(RuntimeError, match=r"must be equal to input_size|Expected 2"):
        _ = run(model, x[:, :, :1])
    for kind in (RuntimeError, KeyboardInterrupt, StopIteration):
        model.fail = kind("the model's own")
        with unchanged(model), pytest.raises(kind, match="the model's own") as caught:
            _ = run(model, x)
        assert caught.value is model.fail
    model.fail = None
    if way in ("edited", "nested"):
        with unchanged(model), refused():
            _ = run(model, x[:, :2])
    assert torch.equal(run(model, x), alone)


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_a_compiled_caller_is_recorded_and_edited(tagger: Any) -> None:
    """A compiled graph calls no hooks, so the model is run as it was written, and compiled again afterwards."""
    compiled: Any = torch.compile(tagger, backend="eager")
    x = torch.randn(4, 7, 3)
    edit = probe.clamp("forget_gate", 0.0, steps=3)
    with torch.no_grad():
        bare = compiled(x)
        expected = probe.record(tagger, x, edits=[edit])
        times = tagger.times_called
        assert probe.record(compiled, x).layers == ("lstm[0]",)
        assert same(probe.record(compiled, x, edits=[edit]).output, expected.output)
        with probe.intervene(compiled, edit):
            assert same(compiled(x), expected.output)
        with probe.intervene(tagger, edit), probe.watch(tagger) as recordings:
            assert same(compiled(x), expected.output)
        assert torch.equal(recordings[0]["cell_state"], expected["cell_state"])
        assert tagger.times_called == times + 4
        assert not same(expected.output, bare)
        assert same(compiled(x), bare)


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_wrapped_models_keep_their_names() -> None:
    """What torch.compile and DataParallel put around a model is not part of its layers' names, in any order."""
    model, compiled = hidden(), cast("Callable[[Any], nn.Module]", torch.compile)
    wrapped = [nn.DataParallel(model), compiled(model), compiled(nn.DataParallel(model))]
    for one in (*wrapped, nn.DataParallel(compiled(model))):
        assert [layer.name for layer in probe.inspect(one).layers] == ["rnn[0]"]
    assert [layer.name for layer in probe.inspect(nn.DataParallel(lstm())).layers] == ["[0]"]


@pytest.mark.parametrize(
    ("form", "dropout"), [("time first", 0.5), ("batch first", 0.5), ("packed", 0.5), ("packed", 1.0)]
)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_masks_that_the_run_drew_are_the_ones_that_are_recorded(kind: Any, form: str, dropout: float) -> None:
    """In training mode each layer reads what dropout left of the one below; an edited run has the same masks."""
    module = kind(2, 4, 3, dropout=dropout, batch_first=form == "batch first", bidirectional=True).double()
    x: Any = torch.randn((BATCH, TIME, 2) if form == "batch first" else (TIME, BATCH, 2), dtype=torch.float64)
    if form == "packed":
        x = pack_padded_sequence(x, torch.tensor([2, 7, 4, 3]), enforce_sorted=False)
    start = torch.get_rng_state()
    with warned() if dropout < 1.0 else nullcontext():
        recording: Any = probe.record(module, x, signals=probe.Signal)
    assert recording.max_error < 1e-14
    after = torch.get_rng_state()
    assert torch.equal(after, start) == (dropout == 1.0)  # then torch draws nothing
    own = probe.patch("hidden_state", recording, layer="[0]", steps=[0, -1] if form == "packed" else None)
    _ = torch.set_rng_state(start)
    with warned() if dropout < 1.0 else nullcontext(), torch.no_grad(), probe.intervene(module, own):
        assert same(module(x), recording.output)
    assert torch.equal(torch.get_rng_state(), after)
    if dropout < 1.0:
        with warned():
            assert not same(probe.record(module, x).output, recording.output)  # they are drawn anew in each run


def test_the_masks_of_a_run_do_not_touch_the_generator_of_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """While masks are drawn again the process's generator is not set back: another thread draws on undisturbed."""
    states: list[Tensor] = []
    monkeypatch.setattr(torch, "set_rng_state", states.append)
    edit, module = probe.clamp("forget_gate", 0.5, layer="[0]"), nn.LSTM(2, 4, 2, dropout=0.5)
    with warned(), torch.no_grad(), probe.intervene(module, edit):
        _ = module(torch.randn(TIME, BATCH, 2))
    assert states == []


# What a model keeps on its modules from one call to the next: each run starts alike, and that is said.

ROWS, STEPS, UNITS = 4, 7, 6
EDIT = probe.clamp("hidden_state", 0.5, steps=5)


def keeps(get: Callable[[Any], Any], put: Callable[[Any, Tensor], Any], **attributes: Any) -> Model:
    """Return a GRU whose state is kept in one way or another: what `get` finds, and `put` leaves."""

    def body(m: Any, x: Tensor) -> Tensor:
        output, state = m.rnn(x, get(m))
        _ = put(m, state.detach())
        return output

    return Model(body, rnn=nn.GRU(3, UNITS, batch_first=True), **attributes)


def with_a_flag(m: Any, x: Tensor) -> Tensor:
    """Begin with zeros, and say with a flag that it has begun."""
    if not m.begun:
        m.hidden, m.begun = x.new_zeros(1, len(x), UNITS), True
    output, m.hidden = m.rnn(x, m.hidden)
    return output


def no_state() -> Tensor:
    """Return the state before the first step."""
    return torch.zeros(1, ROWS, UNITS)


#: Each by where it stands. The first few have a state of the batch's rows before the first run.
KINDS: dict[str, Callable[[], nn.Module]] = {
    "last": lambda: keeps(lambda m: m.last[0], lambda m, h: m.last.append(h), last=deque([no_state()], maxlen=1)),
    "in_place": lambda: keeps(lambda m: m.in_place, lambda m, h: m.in_place.copy_(h), in_place=no_state()),
    "in_tuple[0]": lambda: keeps(
        lambda m: m.in_tuple[0], lambda m, h: m.in_tuple[0].copy_(h), in_tuple=(no_state(),)
    ),
    "array": lambda: keeps(
        lambda m: torch.from_numpy(m.array.copy()),
        lambda m, h: m.array.__setitem__(..., h.numpy()),
        array=np.zeros((1, ROWS, UNITS), dtype=np.float32),
    ),
    "hidden": lambda: keeps(lambda m: m.hidden, lambda m, h: setattr(m, "hidden", h), hidden=None),
    "item": lambda: keeps(lambda m: m.item[0], lambda m, h: m.item.__setitem__(0, h), item=[None]),
    "listed": lambda: keeps(lambda m: [*m.listed, None][0], lambda m, h: setattr(m, "listed", [h]), listed=[]),
    "states.h": lambda: keeps(lambda m: m.states.get("h"), lambda m, h: m.states.update(h=h), states={}),
    "cache.state": lambda: keeps(
        lambda m: m.cache.state, lambda m, h: setattr(m.cache, "state", h), cache=SimpleNamespace(state=None)
    ),
    "drop.state": lambda: keeps(  # on torch's own module
        lambda m: getattr(m.drop, "state", None), lambda m, h: setattr(m.drop, "state", h), drop=nn.Dropout()
    ),
    "rnn.state": lambda: keeps(lambda m: getattr(m.rnn, "state", None), lambda m, h: setattr(m.rnn, "state", h)),
    "kept": lambda: keeps(  # in a buffer, as spiking networks have it
        lambda m: m.kept if m.kept.numel() else None,
        lambda m, h: setattr(m, "kept", h),
        kept=nn.Buffer(torch.zeros(0)),
    ),
    "with a flag": lambda: Model(with_a_flag, rnn=nn.GRU(3, UNITS, batch_first=True), begun=False),
}
OF_ROWS = [*KINDS][:4]


def made(kind: str) -> Any:
    """Return a model of a kind; the same at each call."""
    torch.manual_seed(0)
    return KINDS[kind]().eval()


@pytest.mark.usefixtures("no_grad")
@pytest.mark.filterwarnings("ignore:The run changed model")
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_starts_as_the_first_one(kind: str, x: Tensor) -> None:
    """Recordings, edited runs, contexts, a sweep, which may be unable to, and the plain run after them."""
    model, clean = made(kind), made(kind)(x)
    edits = [probe.clamp("hidden_state", 0.1 * step, steps=step) for step in range(STEPS)]
    edited = probe.record(model, x, edits=[EDIT]).output
    for _ in range(2):
        assert torch.equal(probe.record(model, x).output, clean)
        assert torch.equal(probe.record(model, x, edits=[EDIT]).output, edited)
        assert torch.equal(edited[:, :5], clean[:, :5])
        assert not torch.equal(edited[:, 5:], clean[:, 5:])
    alone = torch.stack([probe.record(model, x, edits=[edit]).output for edit in edits])
    if kind in OF_ROWS:
        with refused():
            _ = probe.sweep(model, x, edits=edits)
    else:
        assert torch.allclose(probe.sweep(model, x, edits=edits), alone, atol=1e-6)
    with probe.intervene(model, EDIT):
        assert torch.equal(model(x), edited)
    assert torch.equal(model(x), clean)


def test_what_was_put_back_is_named(x: Tensor) -> None:
    """By its module and attribute, at the caller's line, with a way that works: watch lets calls go on."""
    for kind in KINDS:
        model = made(kind)
        with warned() as told:
            _ = probe.record(model, x)
        assert {one.filename for one in told} == {__file__}
        with warned() as told, probe.intervene(model, EDIT):
            _ = model(x)
        assert {one.filename for one in told} == {__file__}
        with torch.no_grad(), probe.watch(model) as recordings:
            _ = [model(part) for part in (x[:, :4], x[:, 4:])]
        whole = made(kind)(x).detach()
        torch.testing.assert_close(torch.cat([one.output for one in recordings], 1), whole, rtol=0, atol=1e-6)


def harmless(m: Any, x: Tensor) -> Tensor:
    """Count, log, cache what is made once, and hand on nothing."""
    if not hasattr(m, "places"):
        m.places = torch.linspace(0, 1, STEPS)[:, None].expand(STEPS, 3).clone()
        m.masks[STEPS] = torch.ones(STEPS, STEPS).tril().bool()
    m.shape = x.shape
    output, _ = m.rnn(x + m.places)
    m.history.append(output.detach())
    return m.batches(m.norm(output).flatten(0, 1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()  # with autograd some processors round a product otherwise
def test_what_carries_nothing_on_stays_without_a_word(x: Tensor, training: bool) -> None:
    """A counter, a list that only grows, a mask, places and torch's own statistics, as the bare call leaves them."""
    parts = {"norm": nn.utils.parametrizations.spectral_norm(nn.Linear(UNITS, 2)), "batches": nn.BatchNorm1d(2)}
    model: Any = Model(harmless, rnn=nn.GRU(3, UNITS, batch_first=True), **parts, history=[], masks={})
    model.train(training)
    bare = copy.deepcopy(model)
    for _ in range(2):
        assert torch.equal(probe.record(model, x).output, bare(x))
    assert all(torch.equal(own, bare.state_dict()[name]) for name, own in model.state_dict().items())
    with probe.intervene(model, EDIT):
        _ = model(x)
    assert (model.times_called, len(model.history), list(model.masks)) == (3, 3, [STEPS])
    assert torch.equal(model.places, bare.places)


def test_a_call_that_fails_leaves_what_stood_there(x: Tensor) -> None:
    """Without a warning, which would hide the error."""
    model = made("hidden")
    _ = model.register_forward_hook(lambda *_: 1 / 0)

    def inside() -> None:
        with probe.intervene(model, EDIT):
            _ = model(x)

    for run in (lambda: probe.record(model, x), lambda: probe.sweep(model, x, edits=[EDIT]), inside):
        with pytest.raises(ZeroDivisionError):
            run()
        assert model.hidden is None


def test_a_tensor_that_is_too_large_for_a_copy_is_refused_where_it_is_changed(x: Tensor) -> None:
    """In place alone; a new tensor in its place can be put back, and data that nobody changes are not copied."""
    large = torch.zeros(ROWS, 3_000_000)
    model: Any = keeps(lambda _: None, lambda m, _: m.change(m), data=large, change=lambda m: m.data[0].add_(1))
    with refused():
        _ = probe.record(model, x)
    model.change = lambda m: setattr(m, "data", m.data + 1)
    with warned():
        _ = probe.record(model, x)
    assert not model.data[1].any()


def test_modules_that_hold_each_other_are_looked_into_once(x: Tensor) -> None:
    """A module, or an object, that holds the model or itself."""
    model = made("cache.state")
    model.parts = []
    model.cache.model, model.cache.own = model, model.cache
    model.parts.append(model.parts)
    assert Kept(model).put_back() == []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _ = probe.record(model, x)
    assert len(told) == 1
    assert model.cache.state is None


def test_threads_that_hold_a_network_up_are_named_once(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Where a small LSTM takes over three times as long on them as on one; afterwards there are as many as before."""
    set_to = list[int]()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    for seconds, told in ((2.0, 0), (4.0, 1)):
        global_state._compare_threads.cache_clear()
        monkeypatch.setattr(global_state, "_seconds_on", {1: 1.0, 2: seconds}.get)
        _ = [probe.record(nn.LSTM(1, 2), torch.zeros(3, 1)) for _ in range(2)]
        assert ["2 threads a small LSTM just took 4" in line for line in caplog.messages] == [True] * told
    assert set_to == [2, 2]
    monkeypatch.undo()
    assert global_state._seconds_on(torch.get_num_threads()) > 0


class KeepsItsState(nn.Module):
    """A cell whose state stands on the module alone."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.h = nn.Linear(3, 2), nn.Linear(2, 2), torch.zeros(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Set and return the next state."""
        self.h = torch.tanh(self.w(x) + self.u(self.h))
        return self.h


@pytest.mark.parametrize("called", [False, True])
def test_a_state_that_stands_on_a_module_alone_is_named(called: bool) -> None:
    """Where no layer is found, also after a call that left the same numbers; the model is as before."""

    def run(model: Any, x: Tensor) -> Tensor:
        model.cell.h = torch.zeros(len(x), 2)
        return torch.stack([model.norm(model.cell(step)) for step in x.unbind(1)], 1)

    model: Any = Model(run, cell=KeepsItsState(), norm=nn.BatchNorm1d(2))
    x = torch.randn(BATCH, TIME, 3)
    for _ in range(called):
        _ = model(x)
    before = model.cell.h.clone()
    with unchanged(model), refused() as told:
        _ = probe.record(model, x)
    assert "sets model.cell.h, " in str(told.value)
    assert torch.equal(model.cell.h, before)


def test_no_run_is_said_to_start_from_what_it_sets_first() -> None:
    """As snntorch sets its potentials: the warning says when a run would have started from it, and claims nothing."""

    def run(model: Any, x: Tensor) -> Tensor:
        model.potential = torch.zeros(len(x), 3)
        model.potential = model.rnn(x)[0][:, -1] + model.potential
        return model.potential

    model: Any = Model(run, rnn=nn.LSTM(2, 3, batch_first=True), potential=torch.ones(4, 3))
    x = torch.randn(4, 5, 2)
    with warned() as told:
        wanted = probe.record(model, x).output
    assert all("If the model reads it before it sets it" in str(one.message) for one in told)
    model.potential = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(probe.record(model, x).output, wanted)
