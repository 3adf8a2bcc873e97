"""A refusal reaches whoever asked: through models that catch errors, from threads, of arguments that fit nothing."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from refusing import refused
from torch import Tensor, nn

import probe
from probe import ProbeError

INPUTS, UNITS, BATCH, TIME = 3, 4, 2, 5


class Careful(nn.Module):
    """A model that returns something else where its layer fails."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(INPUTS, UNITS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, or zeros."""
        return self.states(x)

    def states(self, x: Tensor) -> Tensor:
        """Return the same, where the caller does not call the model."""
        try:
            return self.rnn(x)[0]
        except Exception:  # noqa: BLE001 (as servers do)
            return x.new_zeros(len(x), x.shape[1], UNITS)


X = torch.randn(BATCH, TIME, INPUTS, generator=torch.Generator().manual_seed(0))
FAILS = probe.edit("hidden_state", lambda value, _: 1 // 0, steps=1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("edit", "kind", "message"),
    [
        (probe.clamp("hidden_state", 1.0, rows=[BATCH]), ProbeError, "rows=2 lies outside the batch"),
        (probe.clamp("hidden_state", 1.0, steps=TIME), ProbeError, "steps=5 lies outside the input"),
        (probe.clamp("hidden_state", 1.0, steps=[0, -TIME]), ProbeError, "names step 0 twice"),
        (FAILS, ZeroDivisionError, "division"),
    ],
)
def test_an_error_that_a_model_catches_is_raised(edit: probe.Edit, kind: type[Exception], message: str) -> None:
    """When the model returns, or when the context ends; the fallback's output goes to nobody."""
    model, returned = Careful(), list[Tensor]()
    with pytest.raises(kind, match=message):
        probe.record(model, X, edits=[edit])
    with pytest.raises(kind, match=message):
        probe.sweep(model, X, edits=[edit])
    with pytest.raises(kind, match=message), probe.intervene(model, edit):
        returned.append(model(X))
    with pytest.raises(kind, match=message), probe.intervene(model, edit):
        returned.append(model.states(X))
    late = "lies outside the input" in message  # another call could go on there
    assert len(returned) == 1 + late
    assert model(X).any()


def test_an_error_in_recording_is_raised() -> None:
    """What the module computes is compared; a model that catches the refusal returns another output."""
    model = Careful()
    model.rnn = nn.GRU(INPUTS, UNITS, batch_first=True)
    other: Any = lambda x: (nn.GRU.forward(model.rnn, x)[0] + 0.1, x.new_zeros(1, BATCH, UNITS))  # noqa: E731
    model.rnn.forward = other
    with refused():
        probe.record(model, X)
    with refused(), probe.watch(model):
        _ = model.states(X)


def test_an_error_that_nobody_caught_is_told_once() -> None:
    """The caller catches it outside of the model, and goes on with another batch in the same context."""
    model = nn.Sequential(nn.GRU(INPUTS, UNITS, batch_first=True))
    with probe.intervene(model, probe.clamp("hidden_state", 1.0, rows=[BATCH])):
        with refused():
            model(X)
        assert bool((model(torch.cat([X, X]))[0][BATCH] == 1.0).all())


class Threaded(nn.Module):
    """Calls its layer itself, and in a thread."""

    def __init__(self, run: Callable[[Callable[[], None]], Any]) -> None:
        super().__init__()
        self.rnn, self.run = nn.GRU(INPUTS, UNITS, batch_first=True), run

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both."""
        found: list[Tensor] = []
        self.run(lambda: found.append(self.rnn(x.flip(1))[0]))
        return self.rnn(x)[0] + found[0]


def in_a_thread(function: Callable[[], None]) -> None:
    """Start a thread, and wait for it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def in_a_pool(pool: ThreadPoolExecutor) -> Callable[[Callable[[], None]], Any]:
    """Return what runs a function in a thread that is there already."""
    pool.submit(lambda: None).result()
    return lambda function: pool.submit(function).result()


def in_asyncio(function: Callable[[], None]) -> None:
    """Run a function in another thread, from a loop of its own."""
    asyncio.run(asyncio.to_thread(function))


def as_a_task(function: Callable[[], None]) -> None:
    """Run a function in a task of this thread."""

    async def run() -> None:
        function()

    asyncio.run(run())


@pytest.mark.parametrize("way", ["thread", "pool", "asyncio"])
def test_a_thread_of_the_models_own_is_no_silent_gap(way: str) -> None:
    """One of two calls would be recorded and edited."""
    with ThreadPoolExecutor(1) as pool:
        model = Threaded({"thread": in_a_thread, "pool": in_a_pool(pool), "asyncio": in_asyncio}[way])
        with refused():
            probe.record(model, X)
        with refused():
            probe.record(model, X, edits=[probe.ablate("hidden_state")])
        with refused():
            probe.sweep(model, X, edits=[probe.ablate("hidden_state")])
    model.run = as_a_task  # the way that the message names, and a task of this thread
    recording = probe.record(model, X, edits=[probe.ablate("hidden_state")])
    assert recording.calls == {"rnn[0]": 2}
    assert not recording.output.any()


def test_threads_of_others_stay_alone() -> None:
    """One that began while a pass is under way, and calls the model by itself, is none of its business."""
    model, plain = Threaded(lambda function: function()), list[Tensor]()

    def hook(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            in_a_thread(lambda: plain.append(model(X)))

    expected = model(X)
    handle = model.rnn.register_forward_pre_hook(hook)
    recording = probe.record(model, X, edits=[probe.ablate("hidden_state")])
    handle.remove()
    assert recording.calls == {"rnn[0]": 2}
    assert all(torch.equal(one, expected) for one in plain)
    assert len(plain) == 2


class Masked(nn.Module):
    """A model with a keyword of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(INPUTS, UNITS, batch_first=True)

    def forward(self, x: Tensor, *, attention_mask: Tensor) -> Tensor:
        """Return masked states."""
        return self.rnn(x)[0] * attention_mask[:, :, None]


EDIT = probe.clamp("hidden_state", 0.0)
MASK = torch.ones(BATCH, TIME)
anything: Any = probe


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: anything.record(Masked(), X, attention_mask=MASK), r"kwargs=\{'attention_mask': ...\}"),
        (lambda: anything.sweep(Masked(), X, edits=[EDIT], attention_mask=MASK), r"kwargs=\{'attention_mask': ...\}"),
        (lambda: anything.record(Masked(), X, step=3), "record has no argument 'step'.*Did you mean 'steps'"),
        (lambda: anything.intervene(Masked(), EDIT, tolerence=1), "intervene has no argument.*'tolerance'"),
        (lambda: anything.watch(Masked(), signal=["hidden_state"]), "watch has no argument.*'signals'"),
        (lambda: anything.inspect(Masked(), layers=[]), "inspect has no argument 'layers'"),
        (lambda: anything.rollout(Masked(), None, 3, envs=2), "rollout has no argument 'envs'"),
        (lambda: anything.record(SimpleNamespace(model=Masked()), X), "It holds one as .model: give that"),
        (lambda: anything.inspect(SimpleNamespace(module_=Masked())), "It holds one as .module_: give that"),
        (lambda: anything.watch(SimpleNamespace(policy=Masked())).__enter__(), "It holds one as .policy: give that"),
        (lambda: anything.sweep(SimpleNamespace(module=Masked()), X, edits=[EDIT]), "as .module: give that"),
        (lambda: anything.intervene(SimpleNamespace(net=Masked()), EDIT).__enter__(), "as .net: give that"),
        (lambda: anything.inspect("weights.pt"), "this is a str.$"),
        (
            lambda: anything.record(nn.ModuleDict({"rnn": nn.GRU(3, 4)}), X),
            "ModuleDict has no forward, and probe.rec",
        ),
        (lambda: anything.sweep(nn.ModuleList([nn.GRU(3, 4)]), X, edits=[EDIT]), "ModuleList has no forward, and"),
    ],
)
def test_arguments_that_fit_nothing_are_named(call: Callable[[], Any], message: str) -> None:
    """The sentence says where they belong; where annotations are checked, that comes first."""
    with pytest.raises((ProbeError, TypeCheckError), match=f"{message}|Type-check error"):
        call()


def test_what_the_sentences_name_works() -> None:
    """Keywords of the model's own, and a container whose layers the caller calls."""
    kwargs = {"attention_mask": MASK}
    assert probe.record(Masked(), X, kwargs=kwargs).calls == {"rnn[0]": 1}
    assert not probe.sweep(Masked(), X, edits=[EDIT], kwargs=kwargs).any()
    parts = nn.ModuleDict({"rnn": nn.GRU(INPUTS, UNITS, batch_first=True)})
    with probe.watch(parts) as recordings, probe.intervene(parts, EDIT):
        assert not parts["rnn"](X)[0].any()
    assert [one.calls for one in recordings] == [{"rnn[0]": 1}]


class MyCell(nn.Module):
    """A cell written by hand, which the caller's loop calls."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(INPUTS + UNITS, UNITS)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state twice."""
        h = self.both(torch.cat([x, h], 1)).tanh()
        return 2 * h, h


def test_watching_a_bare_cell_says_what_to_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of nothing are an error; once the cell is registered there is one a call."""
    from probe.recurrent.steps import forms

    def played(cell: MyCell) -> list[probe.Recording]:
        h = torch.zeros(BATCH, UNITS)
        with torch.no_grad(), probe.watch(cell) as recordings:
            for x in X.unbind(1):
                _, h = cell(x, h)
        return recordings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with refused():
            played(MyCell())
    monkeypatch.setattr(forms, "registered_cells", dict(forms.registered_cells))
    probe.register(MyCell, state="h", returns=1)
    assert [one.calls for one in played(MyCell())] == [{"[0]": 1}] * TIME
