"""An interrupt at any moment: no edit acts afterwards, autograd is as it was, and no hook is left for long."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bodies import Model, loop
from called import EDIT, Reader, edited
from torch import Tensor, nn
from torch.nn.modules import module as torchs
from torch.overrides import _get_current_function_mode_stack

import probe
from probe import ProbeError
from probe.hooks import sessions


@pytest.fixture
def model() -> Reader:
    """Return a model that contexts are entered for."""
    return Reader().eval()


def ours() -> list[Any]:
    """Return the hooks of this library that are installed."""
    hooks = [*torchs._global_forward_hooks.values(), *torchs._global_forward_pre_hooks.values()]
    return [hook for hook in hooks if hook.__module__.startswith("probe.")]


HERE = "probe.recurrent.surroundings.contexts_here"
CONTEXTS = ("probe.hooks.sessions", "probe.hooks.intervene", HERE, "contextlib")
#: Python takes an interrupt when a call begins or ends, so never between a lock and the block under it.
LOCKED = ("probe.hooks.sessions._add", "probe.hooks.sessions._remove_the_dead")


def interrupted(work: Callable[[], Any], at: int, inside: tuple[str, ...] = CONTEXTS) -> bool:
    """Run work with a KeyboardInterrupt at an operation of some modules, or return False at its end.

    Where Python is just closing a generator that nobody waits for, it drops the interrupt and goes on.
    """
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        place = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
        if not place.startswith(inside) or place in LOCKED:
            return None
        frame.f_trace_opcodes = True
        count += 1
        if count == at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return count >= at


@pytest.fixture
def _uncovered() -> Iterator[None]:
    """Measure no coverage meanwhile: its tracer would be replaced."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


def _entered(model: nn.Module, x: Tensor) -> None:
    with suppress(ProbeError), probe.intervene(model, EDIT):
        pass  # the edit has not acted


WORK: dict[str, tuple[Callable[[Any, Tensor], Any], int]] = {
    "intervene": (_entered, 1),
    "record": (lambda model, x: probe.record(model, x, edits=[EDIT]), 11),
    "check=False": (lambda model, x: probe.record(model, x, check=False), 7),
    "sweep": (lambda model, x: probe.sweep(model, x, edits=[EDIT]), 13),
}


@pytest.mark.usefixtures("_uncovered")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt that Python dropped
@pytest.mark.parametrize("every", [61, pytest.param(7, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_at_any_moment_leaves_a_plain_model(name: str, every: int, model: Reader, x: Tensor) -> None:
    """Wherever it comes, no edit acts afterwards, on the model or a copy, and no hook is left for long."""
    work, stride = WORK[name]  # neither may be a multiple of 5, or no context would take what is left
    stride *= every
    plain, wanted, at = model(x), edited(model, x), 1
    while interrupted(lambda: work(model, x), at):
        assert torch.equal(model(x), plain), f"edited after an interrupt at operation {at}"
        assert torch.equal(copy.deepcopy(model)(x), plain)
        if at % 5 == 0:
            # The next context works, and takes what was left of the interrupted one.
            assert torch.equal(edited(model, x), wanted)
            gc.collect()
            assert not ours()
            assert not getattr(torchs, "_has_any_global_hook", bool)()  # torch 2.6 has none
            assert "forward" not in vars(model.rnn)
        at += stride
    assert at > 100


def test_nothing_is_left_when_the_last_context_ends(model: Reader, x: Tensor) -> None:
    """Torch calls modules without hooks again; the hooks of others stay."""
    handle = torchs.register_module_forward_hook(lambda *_: None)
    with probe.watch(model):
        assert len(ours()) == 3
        probe.record(model, x)
        assert len(ours()) == 3
    assert not ours()
    assert list(torchs._global_forward_hooks) == [handle.id]
    handle.remove()


def test_a_session_that_is_over_never_answers(model: Reader, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between the last two things that a context does leaves it among those that are open."""
    plain, own, told, held = model(x), sessions.open_here, set[str](), list[Any]()

    def put(value: Any) -> Any:
        if told:
            raise KeyboardInterrupt
        return own.set(value)

    monkeypatch.setattr(sessions, "open_here", SimpleNamespace(get=own.get, reset=own.reset, set=put))
    with suppress(KeyboardInterrupt), probe.intervene(model, EDIT):
        held += sessions.sessions()
        assert not torch.equal(model(x), plain)
        told.add("now")
    told.clear()
    assert len(held) == 1
    assert torch.equal(model(x), plain)
    assert torch.equal(edited(model, x), edited(model, x))


GRAD_MODE = ("torch.autograd.grad_mode", "torch.utils._contextlib")
UNDER_AUTOGRAD: dict[str, Callable[[Any, Tensor], Any]] = {
    **{name: work for name, (work, _) in WORK.items()},
    "an edited call": lambda model, x: _called(model, x, probe.intervene(model, EDIT)),
    "a watched call": lambda model, x: _called(model, x, probe.watch(model)),
    "memory": lambda model, x: probe.memory(model.rnn, x, times=[1]),
    "contributions": lambda model, x: probe.contributions(model, x, output=lambda output: output[:, 0]),
}


def _called(model: nn.Module, x: Tensor, context: Any) -> Tensor:
    with context:
        return model(x)


@pytest.mark.usefixtures("_uncovered")
@pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", UNDER_AUTOGRAD)
def test_an_interrupt_inside_no_grad_leaves_autograd_on(name: str, every: int, model: Reader, x: Tensor) -> None:
    """Torch writes `no_grad` in Python: an interrupt may come after it was entered and before it can leave."""
    work, at = UNDER_AUTOGRAD[name], 1
    while interrupted(lambda: work(model, x), at, GRAD_MODE):
        found = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        assert found, f"autograd is off after an interrupt at operation {at}"
        at += every
    assert at > 17


@pytest.mark.usefixtures("_uncovered")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:The run changed model.state")
def test_an_interrupt_leaves_no_state_on_a_module() -> None:
    """What a run kept for the next one is put back whole, a flag beside the state too; then the interrupt comes."""

    def body(m: Any, x: Tensor) -> Tensor:
        y, m.state = m.rnn(x, m.state)
        m.begun = True
        return y

    model = Model(body, rnn=nn.GRU(3, 5, batch_first=True), state=None, begun=False)
    x = torch.randn(2, 4, 3)
    edit, at = probe.clamp("hidden_state", 2.0, steps=1), 1
    while interrupted(lambda: _called(model, x, probe.intervene(model, edit)), at, ("probe.recurrent.kept",)):
        assert (model.state, model.begun) == (None, False), f"left after an interrupt at operation {at}"
        at += 19
    assert at > 50


def test_an_outer_context_acts_after_an_interrupt_of_an_inner_call(
    model: Reader, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a call is read no context answers; an interrupt that comes then leaves them open all the same."""
    own, told = sessions.open_here, set[str]()

    def put(value: Any) -> Any:
        before = own.set(value)
        if value == () and told:
            told.clear()
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(sessions, "open_here", SimpleNamespace(get=own.get, reset=own.reset, set=put))
    with probe.intervene(model, EDIT):
        wanted = model(x)
        told.add("now")
        with pytest.raises(KeyboardInterrupt):
            model(x)
        assert torch.equal(model(x), wanted)
    assert not torch.equal(model(x), wanted)


@pytest.mark.usefixtures("_uncovered")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_an_interrupt_left_of_following_is_taken_by_the_next_context(x: Tensor) -> None:
    """A loop over a cell is followed by a mode of torch's, which must not lie below all later contexts."""
    model, edit, at = Model(loop, cell=nn.GRUCell(3, 5)), probe.clamp("hidden_state", 2.0, steps=1), 1

    def called() -> Tensor:
        return _called(model, x, probe.intervene(model, edit))

    wanted = called()
    trails = "probe.recurrent.steps.trails."
    while interrupted(called, at, (f"{trails}follow", f"{trails}stop", f"{trails}_take_away")):
        assert torch.equal(called(), wanted)
        assert not _get_current_function_mode_stack(), f"a mode is left after an interrupt at operation {at}"
        at += 7
    assert at > 50
