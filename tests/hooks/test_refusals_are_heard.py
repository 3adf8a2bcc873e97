"""A refusal reaches whoever asked: through models that catch errors, from threads, of what a backward pass runs."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from bodies import Model
from called import BATCH, EDIT, INPUTS, TIME, in_a_thread
from cells_by_hand import FEATURES, WithOutput, zeros
from refusing import refused, warned
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from wrapped import Recomputed

import probe
from probe.recurrent.steps import forms

UNITS = 4
X = torch.randn(BATCH, TIME, INPUTS, generator=torch.Generator().manual_seed(0))
FAILS = probe.edit("hidden_state", lambda value, _: 1 // 0, steps=1)  # pyright: ignore[reportArgumentType]
ABLATE, clamp = probe.ablate("hidden_state"), partial(probe.clamp, "hidden_state", 1.0)


def gru() -> nn.GRU:
    """Return a layer."""
    return nn.GRU(INPUTS, UNITS, batch_first=True)


def careful(m: Any, x: Tensor) -> Tensor:
    """Return zeros where the layer fails, as servers do."""
    try:
        return m.rnn(x)[0]
    except Exception:  # noqa: BLE001
        return x.new_zeros(len(x), x.shape[1], UNITS)


@pytest.mark.parametrize("place", [{"rows": [BATCH]}, {"steps": TIME}, {"steps": [0, -TIME]}, None], ids=str)
def test_an_error_that_a_model_catches_is_raised(place: dict[str, Any] | None) -> None:
    """When the model returns, or when the context ends; the fallback's output goes to nobody."""
    edit, kind = (FAILS, ZeroDivisionError) if place is None else (clamp(**place), probe.ProbeError)
    model, returned = Model(careful, rnn=gru()), list[Tensor]()

    def inside(call: Callable[[Tensor], Tensor]) -> None:
        with probe.intervene(model, edit):
            returned.append(call(X))

    for ask in (
        lambda: probe.record(model, X, edits=[edit]),
        lambda: probe.sweep(model, X, edits=[edit]),
        lambda: inside(model),
        lambda: inside(lambda x: careful(model, x)),
    ):
        with refused(kind):
            ask()
    assert len(returned) == 1 + (edit.site.steps == (TIME,))  # another call could go on to that step
    assert model(X).any()


def test_an_error_in_recording_is_raised() -> None:
    """What the module computes is compared; a model that catches the refusal returns another output."""
    model = Model(careful, rnn=gru())
    own: Any = model.rnn
    own.forward = lambda x: (nn.GRU.forward(own, x)[0] + 0.1, x.new_zeros(1, BATCH, UNITS))
    with refused():
        probe.record(model, X)
    with refused(), probe.watch(model):
        _ = careful(model, X)


def test_an_error_that_nobody_caught_is_told_once() -> None:
    """The caller catches it outside of the model, and goes on with another batch in the same context."""
    model = nn.Sequential(gru())
    with probe.intervene(model, clamp(rows=[BATCH])):
        with refused():
            model(X)
        assert bool((model(torch.cat([X, X]))[0][BATCH] == 1.0).all())


def threaded(m: Any, x: Tensor) -> Tensor:
    """Call the layer here, and where `run` does; return the sum of both."""
    found: list[Tensor] = []
    m.run(lambda: found.append(m.rnn(x.flip(1))[0]))
    return m.rnn(x)[0] + found[0]


def as_a_task(function: Callable[[], None]) -> None:
    """Run a function in a task of this thread."""

    async def run() -> None:
        function()

    asyncio.run(run())


def in_the_pool(pool: ThreadPoolExecutor, function: Callable[[], None]) -> None:
    """Run a function in a thread that was there before, once the caller waits for it."""
    caller = threading.get_ident()

    def later() -> None:
        while sys._current_frames()[caller].f_code.co_filename != threading.__file__:
            time.sleep(0.001)
        function()

    pool.submit(later).result()


@pytest.mark.parametrize("way", ["thread", "pool", "asyncio"])
def test_a_thread_of_the_models_own_is_no_silent_gap(way: str) -> None:
    """One of two calls would be recorded and edited."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: None).result()  # a thread that is there already
        ways: dict[str, Any] = {
            "thread": in_a_thread,
            "pool": partial(in_the_pool, pool),
            "asyncio": lambda function: asyncio.run(asyncio.to_thread(function)),
        }
        model: Any = Model(threaded, rnn=gru(), run=ways[way])
        for ask in (
            lambda: probe.record(model, X),
            lambda: probe.record(model, X, edits=[ABLATE]),
            lambda: probe.sweep(model, X, edits=[ABLATE]),
        ):
            with refused():
                ask()
    model.run = as_a_task  # the way that the message names, and a task of this thread
    recording = probe.record(model, X, edits=[ABLATE])
    assert recording.calls == {"rnn[0]": 2}
    assert not recording.output.any()


def test_what_the_sentences_of_unknown_arguments_name_works() -> None:
    """Keywords of the model's own, and a container whose layers the caller calls."""
    model = Model(lambda m, x, *, mask: m.rnn(x)[0] * mask, rnn=gru())
    assert probe.record(model, X, kwargs={"mask": 1.0}).calls == {"rnn[0]": 1}
    assert not probe.sweep(model, X, edits=[ABLATE], kwargs={"mask": 1.0}).any()
    parts = nn.ModuleDict({"rnn": gru()})
    with probe.watch(parts) as recordings, probe.intervene(parts, ABLATE):
        assert not parts["rnn"](X)[0].any()
    assert [one.calls for one in recordings] == [{"rnn[0]": 1}]


def test_watching_a_bare_cell_says_what_to_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of nothing are an error; once the cell is registered there is one a call."""

    def played(cell: nn.Module) -> list[probe.Recording]:
        state = zeros(cell, BATCH)
        with torch.no_grad(), probe.watch(cell) as recordings:
            for x in torch.randn(TIME, BATCH, FEATURES):
                _, state = cell(x, state)
        return recordings

    with refused():
        played(WithOutput())
    monkeypatch.setattr(forms, "registered_cells", dict(forms.registered_cells))
    probe.register(WithOutput, state="state", returns=1)
    assert [one.calls for one in played(WithOutput())] == [{"[0]": 1}] * TIME


def test_a_state_that_is_changed_in_place_between_steps_is_said() -> None:
    """Step t did not read what the recording holds at t - 1; where nothing changes there is no warning."""

    def body(m: Any, x: Tensor) -> Tensor:
        h = m.cell(x[:, 0])
        for step in x[:, 1:].unbind(1):
            h = m.cell(step, h.mul_(0.5) if m.in_place else h)
        return h

    for in_place in (True, False):
        model = Model(body, cell=nn.GRUCell(INPUTS, UNITS), in_place=in_place)
        with warned() if in_place else nullcontext():
            assert probe.record(model, X).calls == {"cell": 1}


class SetUp(Recomputed):
    """The same, with a context that is set up after its forward."""

    forward: Any = staticmethod(lambda run, x: run(x.clone()))
    setup_context: Any = staticmethod(lambda ctx, inputs, output: Recomputed.forward(ctx, *inputs))


@pytest.mark.parametrize("way", ["reentrant", "not reentrant", "a function of somebody's own", "later context"])
def test_what_a_backward_pass_runs_again_is_refused(way: str) -> None:
    """There no edit would act, so derivatives would be another run's; drawn cases try what is answered."""

    def again(m: Any, x: Tensor) -> Any:
        run = lambda x: m.rnn(x)[0][:, -1]  # noqa: E731
        own = {"a": Recomputed, "l": SetUp}.get(way[0])
        return own.apply(run, x) if own else checkpoint(run, x, use_reentrant=way == "reentrant")

    model: Any = Model(again, rnn=gru())
    x = X.clone().requires_grad_()
    with refused():
        probe.record(model, x, gradient_of=lambda output: output.sum())
    with refused(), probe.intervene(model, EDIT):
        model(x)
    with refused(), probe.watch(model):
        model(x)
    _ = gc.collect()  # torch 2.6 goes on saving for a checkpoint that failed while something holds its frame
    # A context that is entered between a forward and its backward pass changes no gradient.
    model(x).sum().backward()
    gradient, output = model.rnn.weight_hh_l0.grad, model(x).sum()
    model.zero_grad()
    with probe.intervene(model, EDIT):
        with torch.no_grad():
            model(x)  # so that the edit acts
        output.backward()
    assert torch.equal(model.rnn.weight_hh_l0.grad, gradient)
