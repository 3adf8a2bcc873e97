"""What a model keeps on its modules from one call to the next: each run starts alike, and that is said."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model
from refusing import refused, warned
from torch import Tensor, nn

import probe
from probe.recurrent.kept import Kept

ROWS, TIME, UNITS = 4, 7, 6
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


class InABuffer(Model):
    """Keeps it in a buffer, as spiking networks do."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__(self.read, rnn=nn.GRU(3, UNITS, batch_first=True))
        self.register_buffer("kept", torch.zeros(0))

    @staticmethod
    def read(m: Any, x: Tensor) -> Tensor:
        """Return the outputs."""
        output, m.kept = m.rnn(x, m.kept if m.kept.numel() else None)
        return output


def zeros() -> Tensor:
    """Return the state before the first step."""
    return torch.zeros(1, ROWS, UNITS)


#: Each by where it stands. The first few have a state of the batch's rows before the first run.
KINDS: dict[str, Callable[[], nn.Module]] = {
    "last": lambda: keeps(lambda m: m.last[0], lambda m, h: m.last.append(h), last=deque([zeros()], maxlen=1)),
    "in_place": lambda: keeps(lambda m: m.in_place, lambda m, h: m.in_place.copy_(h), in_place=zeros()),
    "in_tuple[0]": lambda: keeps(lambda m: m.in_tuple[0], lambda m, h: m.in_tuple[0].copy_(h), in_tuple=(zeros(),)),
    "array": lambda: keeps(
        lambda m: torch.from_numpy(m.array.copy()),
        lambda m, h: m.array.__setitem__(..., h.numpy()),
        array=np.zeros((1, ROWS, UNITS), dtype=np.float32),
    ),
    "hidden": lambda: keeps(lambda m: m.hidden, lambda m, h: setattr(m, "hidden", h), hidden=None),
    "pair": lambda: keeps(lambda m: (*m.pair, None)[0], lambda m, h: setattr(m, "pair", (h, h)), pair=()),
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
    "kept": InABuffer,
    "with a flag": lambda: Model(with_a_flag, rnn=nn.GRU(3, UNITS, batch_first=True), begun=False),
}
OF_ROWS = [*KINDS][:4]


@pytest.fixture
def x() -> Tensor:
    """Return sequences."""
    return torch.randn(ROWS, TIME, 3, generator=torch.Generator().manual_seed(1))


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
    edits = [probe.clamp("hidden_state", 0.1 * step, steps=step) for step in range(TIME)]
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_put_back_is_named(kind: str, x: Tensor) -> None:
    """By its module and attribute, with a way that works: watch lets calls go on from each other."""
    model = made(kind)
    with warned():
        _ = probe.record(model, x)
    with warned(), probe.intervene(model, EDIT):
        _ = model(x)
    with torch.no_grad(), probe.watch(model) as recordings:
        _ = [model(part) for part in (x[:, :4], x[:, 4:])]
    whole = made(kind)(x).detach()
    torch.testing.assert_close(torch.cat([one.output for one in recordings], 1), whole, rtol=0, atol=1e-6)


def harmless(m: Any, x: Tensor) -> Tensor:
    """Count, log, cache what is made once, and hand on nothing."""
    if not hasattr(m, "places"):
        m.places = torch.linspace(0, 1, TIME)[:, None].expand(TIME, 3).clone()
        m.masks[TIME] = torch.ones(TIME, TIME).tril().bool()
    m.shape = x.shape
    output, _ = m.rnn(x + m.places)
    m.history.append(output.detach())
    return m.batches(m.norm(output).flatten(0, 1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("training", [False, True])
def test_what_carries_nothing_on_stays_without_a_word(x: Tensor, training: bool) -> None:
    """A counter, a list that only grows, a mask, places and torch's own statistics, as the bare call leaves them."""
    parts = {"norm": nn.utils.parametrizations.spectral_norm(nn.Linear(UNITS, 2)), "batches": nn.BatchNorm1d(2)}
    gru = nn.GRU(3, UNITS, batch_first=True)
    model: Any = Model(harmless, rnn=gru, **parts, history=[], masks={}).train(training)
    bare = copy.deepcopy(model)
    for _ in range(2):
        assert torch.equal(probe.record(model, x).output, bare(x))
    assert all(torch.equal(own, bare.state_dict()[name]) for name, own in model.state_dict().items())
    with probe.intervene(model, EDIT), torch.no_grad():
        _ = model(x)
    assert (model.times_called, len(model.history), list(model.masks)) == (3, 3, [TIME])
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
