"""Cells as people write them, in a loop: recorded and edited without being registered, against the loop itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cells_by_hand import (
    FEATURES,
    UNITS,
    Leaky,
    LikeTorch,
    Loop,
    NormGRU,
    OwnLSTM,
    TwoArguments,
    WithMemory,
    WithOutput,
    Zoneout,
    parts,
    with_part,
)
from refusing import refused
from torch import Tensor, nn

import probe

ROWS, TIME, AT = 3, 5, 2
#: What a loop may do to a state between two steps.
BETWEEN: dict[str, Callable[[Tensor, int], Tensor]] = {
    "nothing": lambda part, step: part,
    "reset": lambda part, step: (
        part * (1 - (torch.arange(ROWS) == step - 1).float()).view(-1, *[1] * (part.dim() - 1))
    ),
    "detach": lambda part, step: part.detach(),
    "clone": lambda part, step: part.clone(),
    "norm": lambda part, step: nn.functional.layer_norm(part, part.shape[-1:]),
    "where": lambda part, step: torch.where(part > 0.4, torch.zeros_like(part), part),
    "clip": lambda part, step: part.clamp(-0.5, 0.5),
}
#: First states of another form than those that follow.
FIRST: dict[str, Callable[[Tensor], Any]] = {
    "one row": lambda x: x.new_zeros(1, UNITS),
    "no rows": lambda x: torch.linspace(-1, 1, UNITS),
    "a number": lambda x: 0.0,
    "a list": lambda x: [x.new_zeros(len(x), UNITS), x.new_ones(len(x), UNITS)],
    "none": lambda x: None,
}


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    return torch.randn(ROWS, TIME, FEATURES)


def made(kind: Any) -> nn.Module:
    """Return a cell."""
    return kind(*((FEATURES, UNITS) if issubclass(kind, nn.RNNCellBase) else ()))


@torch.no_grad()
def by_hand(model: Loop, x: Tensor, name: str = "", value: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the outputs and states of a loop in which a part of the state after step `AT` is set to a number."""
    kept: dict[str, list[Tensor]] = {}

    def change(step: int, state: Any) -> Any:
        if name and step == AT:
            state = with_part(state, list(parts(state, model.cell)).index(name), value)
        for path, part in parts(state, model.cell).items():
            kept.setdefault(path, []).append(part.clone())
        return state

    plain, model.changed = model.changed, change
    try:
        output = model(x)
    finally:
        model.changed = plain
    return output, {path: torch.stack(each, 1) for path, each in kept.items()}


def far(one: Tensor, two: Tensor) -> float:
    """Return the largest difference."""
    return float((one - two).abs().max())


@pytest.fixture(autouse=True)
def _no_warning(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [str(one.message) for one in recwarn]


@pytest.mark.parametrize(
    ("kind", "between", "begin"),
    [(kind, "nothing", None) for kind in (Leaky, OwnLSTM, TwoArguments, WithOutput, LikeTorch, NormGRU, Zoneout)]
    + [(WithMemory, "nothing", None), *((Leaky, name, None) for name in BETWEEN)]
    + [(kind, "reset", None) for kind in (OwnLSTM, TwoArguments, NormGRU, WithMemory)]
    + [(OwnLSTM if begin in ("a list", "none") else Leaky, "nothing", begin) for begin in FIRST]
    + [(LikeTorch, "nothing", "none"), (nn.LSTMCell, "nothing", None), (nn.LSTMCell, "clone", "none")]
    + [(nn.GRUCell, "detach", "none"), (nn.GRUCell, "norm", None), (nn.RNNCell, "reset", None)],
)
def test_a_cell_in_a_loop(kind: type[nn.Module], between: str, begin: str | None, x: Tensor) -> None:
    """Every part of the state is that of the loop, and an edit gives the loop with that part changed.

    Resets, detach, copies, norms and masks between two calls do not cut the sequence, and neither does a first state
    of another form, or none.
    """
    model = Loop(made(kind), None if begin is None else FIRST[begin]).eval()
    model.between = BETWEEN[between]
    plain, states = by_hand(model, x)
    recording = probe.record(model, x)
    assert set(recording.calls.values()) == {1}
    assert torch.equal(recording.output, plain)
    for name, value in states.items():
        assert far(recording["cell", name], value) < 1e-6
        assert recording.initial[name].shape == (ROWS, *value.shape[2:])
        edited = probe.record(model, x, edits=[probe.clamp(name, 0.3, layer="cell", steps=AT)])
        wanted, wanted_states = by_hand(model, x, name, 0.3)
        assert far(edited.output, wanted) < 1e-6
        assert all(far(edited["cell", one], wanted_states[one]) < 1e-6 for one in states)
        moved = (edited.output != plain).any(-1).any(0)
        assert not bool(moved[:AT].any())
        assert bool(moved[AT + 1 :].all())
        own = [probe.patch(name, recording, layer="cell", steps=step) for step in (0, AT, TIME - 1)]
        assert torch.equal(probe.record(model, x, edits=own).output, plain)
        with refused():
            _ = probe.record(model, x, edits=[probe.clamp(name, 0.0, layer="cell", steps=TIME)])
    edited = probe.record(model, x, edits=[probe.clamp(next(iter(states)), 0.3, steps=0)])
    assert bool((edited[next(iter(states))][:, 0] == torch.tensor(0.3)).all())


class _NoGrad(OwnLSTM):
    def forward(self, x: Tensor, state: Any = None) -> Any:
        with torch.no_grad():
            return super().forward(x, state)


def test_what_a_cell_does_itself_is_done_in_its_own_run(x: Tensor) -> None:
    """Random masks of training are not drawn again, and a cell under torch.no_grad() is followed as any other."""
    for model, name in ((Loop(Zoneout()).train(), "state"), (Loop(_NoGrad()), "state[1]")):
        torch.manual_seed(1)
        wanted, _ = by_hand(model, x, name, 0.3)
        torch.manual_seed(1)
        edit = probe.clamp(name, 0.3, layer="cell", steps=AT)
        assert far(probe.record(model, x, edits=[edit]).output, wanted) < 1e-6


class _BothWays(nn.Module):
    """One cell over a sequence and over the sequence turned round, or twice in a stack; a row is set `at` a step."""

    def __init__(self, cell: nn.Module, *, stacked: bool) -> None:
        super().__init__()
        self.cell, self.stacked, self.narrow = cell, stacked, nn.Linear(UNITS, FEATURES)

    def forward(self, x: Tensor, at: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        one, two, below = torch.zeros(len(x), UNITS), torch.zeros(len(x), UNITS), x.flip(1).unbind(1)
        first, second = [], []
        for step, now in enumerate(x.unbind(1)):
            one = self.cell(now, one)
            one = torch.ones_like(one) if at == (0, step) else one
            two = self.cell(self.narrow(one) if self.stacked else below[step], two)
            two = torch.ones_like(two) if at == (1, step) else two
            first.append(one)
            second.append(two)
        return torch.stack(first, 1), torch.stack(second, 1)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(("kind", "state"), [(Leaky, "state"), (nn.GRUCell, "hidden_state")])
def test_one_cell_for_two_sequences(kind: type[nn.Module], state: str, stacked: bool, x: Tensor) -> None:
    """Two directions, or two layers, of one cell are two calls, recorded and edited each on its own."""
    model = _BothWays(made(kind), stacked=stacked)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 2}
    for number, states in enumerate(recording.output):
        assert far(recording.call(number)[state], states) < 1e-6
        edited = probe.record(model, x, edits=[probe.clamp(state, 1.0, call=number, steps=AT)])
        with torch.no_grad():
            wanted = model(x, (number, AT))
        assert all(far(one, two) < 1e-6 for one, two in zip(edited.output, wanted, strict=True))


class _Janet(nn.Module):
    """Returns one tensor in both places of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES + UNITS, UNITS)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        new = 0.5 * state[1] + torch.tanh(self.inner(torch.cat([x, state[0]], -1)))
        return new, new


def test_a_tensor_that_stands_twice_in_a_state(x: Tensor) -> None:
    """Each place is edited on its own."""
    model = Loop(_Janet(), lambda x: (torch.zeros(len(x), UNITS), torch.zeros(len(x), UNITS)))
    for name in ("state[0]", "state[1]"):
        edited = probe.record(model, x, edits=[probe.clamp(name, 0.0, steps=AT)])
        assert far(edited.output, by_hand(model, x, name)[0]) < 1e-6


def test_an_output_is_the_states_or_stands_beside_it(x: Tensor) -> None:
    """An edit of the state itself is refused, and its gradient is the state's; another moves its own step alone."""
    model = Loop(Leaky())
    with refused():
        _ = probe.record(model, x, edits=[probe.clamp("output", 0.0, steps=AT)])
    gradient = probe.record(model, x, gradient_of=lambda output: output[:, -1].square().sum()).gradient
    assert far(gradient["output"], gradient["state"]) == 0
    kept: list[Tensor] = []
    model.changed = lambda step, state: (
        kept.append(state.detach().requires_grad_()) or kept[-1] if step == AT else state
    )
    model(x)[:, -1].square().sum().backward()
    assert far(gradient["state"][:, AT], kept[0].grad if kept[0].grad is not None else x) < 1e-6
    model = Loop(WithOutput())
    plain, edited = (probe.record(model, x, edits=edits) for edits in ([], [probe.clamp("output", 0.0, steps=AT)]))
    assert (edited.output != plain.output).any(-1).any(0).tolist() == [step == AT for step in range(TIME)]
    assert torch.equal(edited["state[1]"], plain["state[1]"])


class _Unbatched(Loop):
    def forward(self, x: Tensor) -> Tensor:
        h, states = torch.zeros(UNITS), []
        for step, now in enumerate(x):
            h = self.changed(step, self.cell(now, h))
            states.append(h)
        return torch.stack(states)


@pytest.mark.parametrize(("kind", "state"), [(Leaky, "state"), (nn.GRUCell, "hidden_state")])
def test_a_sequence_without_a_batch(kind: type[nn.Module], state: str, x: Tensor) -> None:
    """Vectors go in and come out: a batch of one."""
    model = _Unbatched(made(kind))
    recording = probe.record(model, x[0])
    assert recording[state].shape == (1, TIME, UNITS)
    assert far(recording[state][0], recording.output) < 1e-6
    edited = probe.record(model, x[0], edits=[probe.clamp(state, 1.0, steps=AT)])
    model.changed = lambda step, h: torch.ones_like(h) if step == AT else h
    with torch.no_grad():
        assert far(edited.output, model(x[0])) < 1e-6


class _Learned(Leaky):
    """Begins with a state that it has learned, and keeps count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.calls = nn.Parameter(torch.ones(UNITS)), 0

    def forward(self, x: Tensor, h: Any = None) -> Any:
        self.calls += 1
        return super().forward(x, self.first.expand(len(x), -1) if h is None else h)


def test_what_a_state_of_none_stands_for(x: Tensor) -> None:
    """Zeros where the cell computes what it computes from zeros, and NaN otherwise, with nothing left behind.

    Where the first call brings no state and cannot be tried, its step is not passed over in silence.
    """
    model = Loop(_Learned(), FIRST["none"]).eval()
    for learned in (False, True):
        nn.init.constant_(model.cell.get_parameter("first"), float(learned))
        vars(model.cell)["calls"], random = 0, torch.get_rng_state()
        initial = probe.record(model, x, layers=["cell"]).initial["state"]
        assert torch.equal(random, torch.get_rng_state())
        assert vars(model.cell)["calls"] == TIME
        assert bool(initial.isnan().all() if learned else (initial == 0).all())
    model = Loop(_Learned(), FIRST["none"]).eval()
    vars(model.cell)["busy"] = (step for step in range(TIME))  # nobody can copy a generator
    with refused():
        _ = probe.record(model, x, layers=["cell"])


class _Stack(nn.Module):
    """Cells of two layers in one loop, with their states in one tensor: torchrecurrent's layers are written so."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.narrow = nn.ModuleList([Leaky(), Leaky()]), nn.Linear(UNITS, FEATURES)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = x.new_zeros(2, len(x), UNITS) if state is None else state
        outputs = []
        for now in x.unbind(1):
            lower = self.cells[0](now, state[0])
            state = torch.stack([lower, self.cells[1](self.narrow(lower), state[1])])
            outputs.append(state[1])
        return torch.stack(outputs, 1), state


class _Holds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = _Stack()

    def forward(self, x: Tensor, given: bool) -> Tensor:
        return self.rnn(x, torch.rand(2, len(x), UNITS) if given else None)[0]


@pytest.mark.parametrize("given", [False, True])
def test_what_runs_cells_in_a_loop_is_no_cell(given: bool, x: Tensor) -> None:
    """A layer that takes and returns states, and loops over cells itself, leaves the recording to its cells."""
    recording = probe.record(_Holds(), x, given)
    assert recording.calls == {"rnn.cells.0": 1, "rnn.cells.1": 1}
    assert far(recording["rnn.cells.1", "state"], recording.output) < 1e-6
