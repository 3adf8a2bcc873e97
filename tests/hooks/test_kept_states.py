"""What a model keeps on its modules from one call to the next: each run starts alike, and that is said."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe.recurrent.kept import Kept

ROWS, TIME, UNITS = 4, 7, 6
EDIT = probe.clamp("hidden_state", 0.5, steps=5)
SAID = "ignore:The run changed model"


class Holder:
    """An object that a module holds."""

    state: Any = None


class Keeps(nn.Module):
    """A GRU whose state is kept in one way or another.

    Args:
        get: returns the state from the module.
        put: keeps one, (layer, batch, unit).
    """

    def __init__(self, get: Callable[[Any], Any], put: Callable[[Any, Tensor], Any], **attributes: Any) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, UNITS, batch_first=True)
        self.get, self.put = get, put
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, time, unit)."""
        output, state = self.rnn(x, self.get(self))
        _ = self.put(self, state.detach())
        return output


class Zeros(nn.Module):
    """Keeps it in a buffer, as spiking networks do."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, UNITS, batch_first=True)
        self.register_buffer("kept", torch.zeros(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        output, self.kept = self.rnn(x, self.kept if self.kept.numel() else None)
        return output


class Streaming(nn.Module):
    """Begins with zeros, and says with a flag that it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, UNITS, batch_first=True)
        self.begun, self.times = False, 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        if not self.begun:
            self.hidden, self.begun = x.new_zeros(1, len(x), UNITS), True
        self.times += 1
        output, self.hidden = self.rnn(x, self.hidden)
        return output


def first(things: Any) -> Any:
    """Return the first thing, or None."""
    return things[0] if len(things) else None


KINDS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "attribute": (lambda: Keeps(lambda m: m.hidden, lambda m, h: setattr(m, "hidden", h), hidden=None), "hidden"),
    "tuple": (
        lambda: Keeps(lambda m: first(m.hidden), lambda m, h: setattr(m, "hidden", (h, h)), hidden=()),
        "hidden",
    ),
    "item of a list": (
        lambda: Keeps(lambda m: m.hidden[0], lambda m, h: m.hidden.__setitem__(0, h), hidden=[None]),
        "hidden",
    ),
    "new list": (
        lambda: Keeps(lambda m: first(m.hidden), lambda m, h: setattr(m, "hidden", [h]), hidden=[]),
        "hidden",
    ),
    "deque": (
        lambda: Keeps(
            lambda m: m.last[0], lambda m, h: m.last.append(h), last=deque([torch.zeros(1, ROWS, UNITS)], maxlen=1)
        ),
        "last",
    ),
    "dict": (lambda: Keeps(lambda m: m.states.get("h"), lambda m, h: m.states.update(h=h), states={}), "states.h"),
    "object": (
        lambda: Keeps(lambda m: m.cache.state, lambda m, h: setattr(m.cache, "state", h), cache=Holder()),
        "cache.state",
    ),
    "in place": (
        lambda: Keeps(lambda m: m.hidden, lambda m, h: m.hidden.copy_(h), hidden=torch.zeros(1, ROWS, UNITS)),
        "hidden",
    ),
    "in place in a tuple": (
        lambda: Keeps(
            lambda m: m.hidden[0], lambda m, h: m.hidden[0].copy_(h), hidden=(torch.zeros(1, ROWS, UNITS),)
        ),
        "hidden[0]",
    ),
    "array": (
        lambda: Keeps(
            lambda m: torch.from_numpy(m.hidden.copy()),
            lambda m, h: m.hidden.__setitem__(..., h.numpy()),
            hidden=np.zeros((1, ROWS, UNITS), dtype=np.float32),
        ),
        "hidden",
    ),
    "on torch's own module": (
        lambda: Keeps(
            lambda m: getattr(m.drop, "state", None), lambda m, h: setattr(m.drop, "state", h), drop=nn.Dropout()
        ),
        "drop.state",
    ),
    "on the layer itself": (
        lambda: Keeps(lambda m: getattr(m.rnn, "state", None), lambda m, h: setattr(m.rnn, "state", h)),
        "rnn.state",
    ),
    "buffer": (Zeros, "kept"),
    "with a flag": (Streaming, "hidden"),
}


@pytest.fixture
def x() -> Tensor:
    """Return sequences."""
    return torch.randn(ROWS, TIME, 3, generator=torch.Generator().manual_seed(1))


def made(kind: str) -> nn.Module:
    """Return a model of a kind."""
    torch.manual_seed(0)
    return KINDS[kind][0]().eval()


@torch.no_grad()
def by_hand(kind: str, x: Tensor) -> Tensor:
    """Return what a new model of the kind returns, with the last state that the edit would leave left out."""
    return made(kind)(x)


@pytest.mark.filterwarnings(SAID)
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_starts_as_the_first_one(kind: str, x: Tensor) -> None:
    """Recordings, edited runs, sweeps, contexts and the plain run after them."""
    model, clean = made(kind), by_hand(kind, x)
    for _ in range(2):
        assert torch.equal(probe.record(model, x).output, clean)
        edited = probe.record(model, x, edits=[EDIT])
        assert torch.equal(edited.output[:, :5], clean[:, :5])
        assert not torch.equal(edited.output[:, 5:], clean[:, 5:])
    edited = probe.record(model, x, edits=[EDIT])
    with torch.no_grad(), probe.intervene(model, EDIT):
        assert torch.equal(model(x), edited.output)
    with torch.no_grad():
        assert torch.equal(model(x), clean)


@pytest.mark.filterwarnings(SAID)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_starts_each_run_alike_or_says_why_it_cannot(kind: str, x: Tensor) -> None:
    """Where a state of the batch's rows stands there already, several batches side by side have none; record has."""
    model, edits = made(kind), [probe.clamp("hidden_state", 0.1 * step, steps=step) for step in range(TIME)] * 3
    alone = torch.stack([probe.record(model, x, edits=[edit]).output for edit in edits])
    if kind in ("deque", "in place", "in place in a tuple", "array"):
        with refused():
            _ = probe.sweep(model, x, edits=edits)
    else:
        assert torch.allclose(probe.sweep(model, x, edits=edits), alone, atol=1e-6)
    assert torch.equal(probe.record(model, x).output, by_hand(kind, x))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_put_back_is_named(kind: str, x: Tensor) -> None:
    """By its module and attribute, with a way that works: watch lets calls go on from each other."""
    model, name = made(kind), KINDS[kind][1]
    with warned() as told:
        _ = probe.record(model, x)
    assert f"The run changed model.{name} (" in str(told[0].message)
    with warned(), probe.intervene(model, EDIT):
        _ = model(x)
    once, others = made(kind), made(kind)
    with probe.watch(model) as recordings:
        _ = [model(part) for part in (x[:, :4], x[:, 4:])]
    with torch.no_grad():
        assert torch.equal(recordings[0].output, others(x[:, :4]))
        assert torch.equal(recordings[1].output, others(x[:, 4:]))
        assert torch.allclose(recordings[1].output, once(x)[:, 4:], atol=1e-6)


def test_a_state_that_a_run_started_from_is_told(x: Tensor) -> None:
    """What stood there before may be what training left."""
    model = made("attribute")
    _ = model(x)
    with warned():
        _ = probe.record(model, x)


class Harmless(nn.Module):
    """Counts, logs, caches what is made once, and hands on nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, UNITS, batch_first=True)
        self.norm = nn.utils.parametrizations.spectral_norm(nn.Linear(UNITS, 2))
        self.batches = nn.BatchNorm1d(2)
        self.times, self.shape = 0, torch.Size()
        self.history: list[Tensor] = []
        self.masks: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        if not hasattr(self, "places"):
            self.places = torch.linspace(0, 1, TIME)[:, None].expand(TIME, 3).clone()
            self.masks[TIME] = torch.ones(TIME, TIME).tril().bool()
        self.times, self.shape = self.times + 1, x.shape
        output, _ = self.rnn(x + self.places)
        self.history.append(output.detach())
        return self.batches(self.norm(output).flatten(0, 1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("training", [False, True])
def test_what_carries_nothing_on_stays_without_a_word(x: Tensor, training: bool) -> None:
    """A counter, a list that only grows, a mask, places and torch's own statistics, as the bare call leaves them."""
    torch.manual_seed(0)
    model, bare = Harmless().train(training), Harmless()
    _ = bare.load_state_dict(model.state_dict())
    _ = bare.train(training)
    for _ in range(2):
        assert torch.equal(probe.record(model, x).output, bare(x))
    assert all(torch.equal(own, bare.state_dict()[name]) for name, own in model.state_dict().items())
    with probe.intervene(model, EDIT), torch.no_grad():
        _ = model(x)
    assert (model.times, len(model.history), list(model.masks)) == (3, 3, [TIME])
    assert torch.equal(model.places, bare.places)


def test_a_call_that_fails_leaves_what_stood_there(x: Tensor) -> None:
    """Without a warning, which would hide the error."""
    model = made("attribute")
    _ = model.register_forward_hook(lambda *_: 1 / 0)
    for run in (lambda: probe.record(model, x), lambda: probe.sweep(model, x, edits=[EDIT])):
        with pytest.raises(ZeroDivisionError):
            run()
        assert model.hidden is None
    with pytest.raises(ZeroDivisionError), probe.intervene(model, EDIT):
        _ = model(x)
    assert model.hidden is None


def test_a_tensor_that_is_too_large_for_a_copy_is_refused_where_it_is_changed(x: Tensor) -> None:
    """In place alone; a new tensor in its place can be put back, and data that nobody changes are not copied."""
    model: Any = Keeps(lambda _: None, lambda m, _: m.data[0].add_(1), data=torch.zeros(ROWS, 3_000_000))
    with refused():
        _ = probe.record(model, x)
    model.put = lambda m, _: setattr(m, "data", m.data + 1)
    with warned():
        _ = probe.record(model, x)
    assert not model.data[1].any()


def test_modules_that_hold_each_other_are_looked_into_once(x: Tensor) -> None:
    """A module, or an object, that holds the model or itself."""
    model: Any = Keeps(lambda m: m.cache.state, lambda m, h: setattr(m.cache, "state", h), cache=Holder(), parts=[])
    model.cache.model, model.cache.own = model, model.cache
    model.parts.append(model.parts)
    assert Kept(model).put_back() == []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _ = probe.record(model, x)
    assert len(told) == 1
    assert model.cache.state is None
