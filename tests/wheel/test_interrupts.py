"""An interrupt at any moment: what is left of a context cannot act."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from called import BATCH, EDIT, INPUTS, TIME, Reader, edited
from torch import Tensor, nn
from torch.nn.modules import module as torchs

import probe
from probe import ProbeError
from probe.hooks import sessions


@pytest.fixture
def model() -> Reader:
    """Return the model."""
    return Reader().eval()


@pytest.fixture
def x() -> Tensor:
    """Return its input."""
    return torch.randn(BATCH, TIME, INPUTS)


def ours() -> list[Any]:
    """Return the hooks of this library that are installed."""
    hooks = [*torchs._global_forward_hooks.values(), *torchs._global_forward_pre_hooks.values()]
    return [hook for hook in hooks if hook.__module__.startswith("probe.")]


LOCKED = ("probe.hooks.sessions._add", "probe.hooks.sessions._remove_the_dead")


def interrupted(work: Callable[[], Any], at: int) -> bool:
    """Run work with a KeyboardInterrupt at an operation of this library's sessions, or return False at its end.

    Where Python is just closing a generator that nobody waits for, it drops the interrupt and goes on.
    """
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        place = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
        # Python takes an interrupt when a call ends, so never between a lock and the block under it.
        if not place.startswith(("probe.hooks.sessions", "probe.hooks.intervene", "contextlib")) or place in LOCKED:
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
@pytest.mark.parametrize("every", [31, pytest.param(7, marks=pytest.mark.exhaustive)])
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
            assert not torchs._has_any_global_hook()
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


class _Interrupting:
    """A context variable that an interrupt keeps from being set, once it is told so."""

    def __init__(self, variable: Any) -> None:
        self.get, self.reset, self._set, self.told = variable.get, variable.reset, variable.set, False

    def set(self, value: Any) -> Any:
        """Set it, or raise."""
        if self.told:
            raise KeyboardInterrupt
        return self._set(value)


def test_a_session_that_is_over_never_answers(model: Reader, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between the last two things that a context does leaves it among those that are open."""
    plain, variable = model(x), _Interrupting(sessions._open_here)
    monkeypatch.setattr(sessions, "_open_here", variable)
    held = list[sessions.Session]()
    with suppress(KeyboardInterrupt), probe.intervene(model, EDIT):
        held += sessions.sessions()
        assert not torch.equal(model(x), plain)
        variable.told = True
    variable.told = False
    assert len(held) == 1
    assert torch.equal(model(x), plain)
    assert torch.equal(edited(model, x), edited(model, x))
