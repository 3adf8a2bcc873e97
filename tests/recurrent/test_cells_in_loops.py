"""Cells in a loop, of torch and as people write them, unregistered: recorded and edited, against the loop itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import cells_by_hand
import pytest
import torch
from bodies import Model
from cells_by_hand import FEATURES, UNITS, Leaky, LikeTorch, Loop, OwnLSTM, WithOutput, Zoneout, parts
from refusing import refused, warned
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
            state = cells_by_hand.with_part(state, list(parts(state, model.cell)).index(name), value)
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


@pytest.mark.parametrize(
    ("kind", "between", "begin"),
    [(kind, "nothing", None) for kind in (Leaky, OwnLSTM, WithOutput, LikeTorch, Zoneout, nn.LSTMCell)]
    + [(Leaky, name, None) for name in BETWEEN if name != "nothing"]
    + [
        (kind, "reset", None)
        for kind in (cells_by_hand.TwoArguments, cells_by_hand.NormGRU, cells_by_hand.WithMemory, nn.RNNCell)
    ]
    + [(OwnLSTM if begin in ("a list", "none") else Leaky, "nothing", begin) for begin in FIRST]
    + [(LikeTorch, "nothing", "none"), (nn.LSTMCell, "clone", "none")]
    + [(nn.GRUCell, "detach", "none"), (nn.GRUCell, "norm", None)],
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
        own = [probe.patch(name, recording, layer="cell", steps=step) for step in (0, AT, TIME - 2)]
        assert torch.equal(probe.record(model, x, edits=own).output, plain)
        with refused():
            _ = probe.record(model, x, edits=[probe.clamp(name, 0.0, layer="cell", steps=TIME)])
    edited = probe.record(model, x, edits=[probe.clamp(next(iter(states)), 0.3, steps=0)])
    assert bool((edited[next(iter(states))][:, 0] == torch.tensor(0.3)).all())


class _NoGrad(OwnLSTM):
    def forward(self, x: Tensor, state: Any = None) -> Any:
        with torch.no_grad():
            return super().forward(x, state)


class _Janet(OwnLSTM):
    """Returns one tensor in both places of its state."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return (super().forward(x, state)[0],) * 2


@pytest.mark.parametrize(
    ("cell", "names"), [(Zoneout, ["state"]), (_NoGrad, ["state[1]"]), (_Janet, ["state[0]", "state[1]"])]
)
def test_what_a_cell_does_itself_is_done_in_its_own_run(cell: Any, names: list[str], x: Tensor) -> None:
    """Masks of training are not drawn again; a cell may set no_grad, and return one tensor in two places."""
    model = Loop(cell()).train()
    for name in names:
        torch.manual_seed(1)
        wanted, _ = by_hand(model, x, name, 0.3)
        torch.manual_seed(1)
        told = warned() if cell is Zoneout else nullcontext()
        with told, torch.no_grad(), probe.intervene(model, probe.clamp(name, 0.3, steps=AT)):
            assert far(model(x), wanted) < 1e-6


class _Counting(Leaky):
    """Hands on a whole number for each row beside its state: how many steps it has read."""

    def forward(self, x: Tensor, h: Tensor, count: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next state and the next count."""
        return super().forward(x, h), count + 1


def test_a_count_is_handed_on_beside_a_state_under_a_mask(x: Tensor) -> None:
    """Nothing follows whole numbers: those that a step hands on as they are do not cut the sequence."""
    cell = _Counting()

    def run(model: Any, x: Tensor) -> Tensor:
        h, count, outputs = x.new_zeros(ROWS, UNITS), torch.zeros(ROWS, 1, dtype=torch.long), []
        for now in x.unbind(1):
            h, count = model.cell(now, h, count)
            outputs.append(h)
            h = 0.9 * h
        return torch.stack(outputs, 1)

    model = Model(run, cell=cell)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 1}
    assert recording["state[1]"][0, :, 0].tolist() == [*range(1, TIME + 1)]
    edited = probe.record(model, x, edits=[probe.clamp("state[0]", 0.3, steps=AT)])
    assert (edited.output != recording.output).any(-1).any(0).tolist() == [step >= AT for step in range(TIME)]


def from_nowhere(state: Tensor, factor: float = 0.5) -> Tensor:
    """Return a part of a state, by way of numpy, where nobody sees it."""
    return torch.as_tensor(state.detach().numpy() * factor)


def two_at_once(m: Any, x: Tensor, first: Any, at: Any = None, hand_on: Any = lambda h: h) -> tuple[Tensor, Tensor]:
    """Run one cell over a sequence and over it turned round, or over its own states, from one tensor."""
    one = two = first(len(x), UNITS)
    below, found = x.flip(1).unbind(1), []
    for step, now in enumerate(x.unbind(1)):
        one = hand_on(m.cell(now, one))
        one = torch.ones_like(one) if at == (0, step) else one
        two = hand_on(m.cell(m.narrow(one) if m.stacked else below[step], two))
        two = torch.ones_like(two) if at == (1, step) else two
        found.append((one, two))
    first_states, second_states = (torch.stack(states, 1) for states in zip(*found, strict=True))
    return first_states, second_states


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("kind", [Leaky, nn.GRUCell])
def test_one_cell_for_two_sequences(kind: type[nn.Module], stacked: bool, x: Tensor) -> None:
    """Two directions, or two layers, of one cell are two calls, recorded and edited each on its own.

    From one state they are told apart by their memory alone: equal states from nowhere are nobody's.
    """
    state = "state" if kind is Leaky else "hidden_state"
    model = Model(two_at_once, cell=made(kind), stacked=stacked, narrow=nn.Linear(UNITS, FEATURES))
    recording = probe.record(model, x, torch.zeros)
    assert recording.calls == {"cell": 2}
    for number, states in enumerate(recording.output):
        assert far(recording.call(number)[state], states) < 1e-6
        edited = probe.record(model, x, torch.zeros, edits=[probe.clamp(state, 1.0, call=number, steps=AT)])
        with torch.no_grad():
            wanted = model(x, torch.zeros, (number, AT))
        assert all(far(one, two) < 1e-6 for one, two in zip(edited.output, wanted, strict=True))
    if kind is nn.GRUCell and not stacked:
        x = torch.cat([x[:, :2], -x[:, 2:3], x[:, :2].flip(1)], 1)  # which begins as it ends
        assert probe.record(model, x, torch.ones, None, torch.clone).calls == {"cell": 2}
        with refused():
            probe.record(model, x, torch.ones, None, lambda h: from_nowhere(h, 1.0))


class InPlace(nn.Module):
    """A cell that writes its next state into the one that it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.out = nn.Linear(FEATURES + UNITS, UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return an output and the next state."""
        h = x.new_zeros(len(x), UNITS) if h is None else h
        h.copy_(torch.tanh(self.both(torch.cat([x, h], 1))))
        return self.out(h), h


def test_the_trial_of_a_cell_writes_nothing_into_the_run(x: Tensor) -> None:
    """A copy of the cell gets copies of what the first call returned; its second call is then refused by name."""
    seen: list[Tensor] = []

    def forward(m: Any, x: Tensor) -> Tensor:
        _, h = m.cell(x[:, 0])
        seen.append(h.clone())
        return m.cell(x[:, 1], h)[0]

    model: Any = Model(forward, cell=InPlace())
    with refused():
        _ = probe.record(model, x)
    with torch.no_grad():
        assert torch.equal(seen[0], model.cell(x[:, 0])[1])


def test_a_state_that_nobody_can_follow_stands_alone(x: Tensor) -> None:
    """With a warning; an edit that counts steps is refused there: step 0 would be every step."""
    model = Loop(nn.GRUCell(FEATURES, UNITS), lambda x: x.new_ones(len(x), UNITS))
    model.between = lambda part, step: from_nowhere(part) if step else part
    with warned():
        recording = probe.record(model, x)
    assert recording.calls == {"cell": TIME}
    assert all(recording.call(number)["hidden_state"].shape == (ROWS, 1, UNITS) for number in range(TIME))
    with warned(), torch.no_grad(), probe.intervene(model, probe.clamp("update_gate", 1.0)):  # keeps the state
        assert far(model(x)[:, -1], torch.full((ROWS, UNITS), 0.5 ** (TIME - 1))) < 1e-6
    places: list[dict[str, Any]] = [{"steps": 0}, {"call": 0}, {"steps": [0, 2], "units": 1}]
    for where in places:
        edit = probe.clamp("hidden_state", 1.0, **where)
        with refused(), probe.intervene(model, edit):
            model(x)
        with refused():
            probe.record(model, x, edits=[edit])
        with refused():
            probe.sweep(model, x, edits=[edit, edit])


@pytest.mark.parametrize("hand_on", [lambda h: h, torch.detach, lambda h: h.view(-1).view(h.shape), torch.clone])
def test_zero_states_that_are_handed_on_make_one_sequence(hand_on: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """An edit of step 0 acts once, also where every state is zero; new zeros, or zeros in place, are refused."""
    model = Loop(nn.RNNCell(FEATURES, UNITS, nonlinearity="relu"), FIRST["none"])
    nn.init.constant_(model.cell.get_parameter("bias_ih"), -50.0)
    model.between = lambda part, step: hand_on(part)
    recording = probe.record(model, x)
    assert recording.calls == {"cell": 1}
    assert not recording["hidden_state"].any()
    seen = []
    edit = probe.edit("hidden_state", lambda value, _: seen.append(1) or value + 1, steps=0)
    probe.record(model, x, edits=[edit])
    assert len(seen) == 1
    for anew in (torch.zeros_like, lambda h: h.add_(1).zero_()):
        model.between = lambda part, step, anew=anew: anew(part)
        with refused():
            probe.record(model, x)


def translated(m: Any, x: Tensor) -> Tensor:
    """Begin a loop with the last state of an encoder."""
    m.loop.begin = lambda _: m.encoder(x)[1][0]
    return m.loop(x)


def test_a_state_from_elsewhere_begins_each_pass_without_a_warning(x: Tensor) -> None:
    """A decoder that starts from its encoder's state is one sequence a forward pass, under edits and nesting too."""
    loop = Loop(nn.GRUCell(FEATURES, UNITS))
    model = Model(translated, encoder=nn.GRU(FEATURES, UNITS, batch_first=True), loop=loop)
    with torch.no_grad(), probe.intervene(model, probe.clamp("update_gate", 0.5, layer="loop.cell", steps=1)):
        runs = [probe.record(model, x) for _ in range(2)]
        with probe.watch(model) as watched:
            _ = [model(x) for _ in range(2)]
    assert [run.calls for run in (*runs, *watched)] == [{"encoder[0]": 1, "loop.cell": 1}] * 4
    assert all(torch.equal(run.output, runs[0].output) for run in (*runs, *watched))
    assert not torch.equal(runs[0].output, model(x))
    # An edit inside the encoder reaches the decoder through the state that is handed over.
    deeper = probe.record(model, x, edits=[probe.ablate("hidden_state", layer="encoder[0]", steps=2)])
    assert not torch.isclose(deeper.output[:, 0], model(x)[:, 0], atol=1e-3).all()


def test_a_step_of_a_loop_that_never_comes_raises(x: Tensor) -> None:
    """Of a patch that holds fewer, and of what is kept; those that came are kept where asked for."""
    model = Loop(nn.GRUCell(FEATURES, UNITS))
    own, longer = probe.record(model, x), torch.cat([x, x], 1)
    with refused():
        _ = probe.record(model, longer, edits=[probe.patch("hidden_state", own)])
    with refused():
        _ = probe.record(model, x, steps=[TIME])
    some = probe.record(model, x, steps=[3, -1], check=False)
    assert torch.equal(some["hidden_state"], own["hidden_state"][:, [3, 4]])


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


@pytest.mark.parametrize(("kind", "state"), [(Leaky, "state"), (nn.GRUCell, "hidden_state")])
def test_a_sequence_without_a_batch(kind: type[nn.Module], state: str, x: Tensor) -> None:
    """Vectors go in and come out: a batch of one."""

    def body(m: Any, x: Tensor, at: int | None = None) -> Tensor:
        h, states = torch.zeros(UNITS), []
        for step, now in enumerate(x):
            h = torch.ones(UNITS) if step == at else m.cell(now, h)
            states.append(h)
        return torch.stack(states)

    model = Model(body, cell=made(kind))
    recording = probe.record(model, x[0])
    assert recording[state].shape == (1, TIME, UNITS)
    assert far(recording[state][0], recording.output) < 1e-6
    with torch.no_grad():
        edited = probe.record(model, x[0], edits=[probe.clamp(state, 1.0, steps=AT)])
        assert far(edited.output, model(x[0], AT)) < 1e-6
